from typing import Any

import pytest
import torch

from composer.algorithms import augmix
from composer.algorithms.augmix import AugmentAndMixTransform, AugMix, augmix_image
from composer.core.event import Event
from composer.errors import ConfigError
from tests.algorithms._runs import HandRun, image_batch

Image = pytest.importorskip("PIL.Image")


def fix_weights(monkeypatch: pytest.MonkeyPatch, chains: list[float], blend: float) -> None:
    def weights(num_images: int, width: int, alpha: float) -> tuple[torch.Tensor, torch.Tensor]:
        rows = torch.tensor(chains).expand(num_images, len(chains))
        return rows, torch.full((num_images,), blend)

    monkeypatch.setattr(augmix, "_draw_weights", weights)


def white(image: Any, level: float) -> Any:
    return Image.new("RGB", image.size, (255, 255, 255))


def test_the_image_is_blended_with_the_mixture_of_its_chains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Hendrycks et al. 2019, algorithm 1: m x + (1 - m) x_augmix, x_augmix = sum_i w_i chain_i(x);
    # here the mixture's weight is m. Every chain ends in white: 0.75 * 100 + 0.25 * 255 = 138.75.
    fix_weights(monkeypatch, [0.3, 0.7], 0.25)
    image = Image.new("RGB", (4, 4), (100, 100, 100))
    mixed = augmix_image(image, width=2, augmentation_set=[white])
    assert mixed.getpixel((0, 0)) == (139, 139, 139)


def test_batches_are_blended_by_the_same_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    fix_weights(monkeypatch, [0.3, 0.7], 0.25)
    images = torch.rand(6, 3, 4, 4)
    mixed = augmix._on_batch(images, [lambda x, severity: torch.ones_like(x)], 3, 2, 2, 1.0)
    torch.testing.assert_close(mixed, 0.75 * images + 0.25)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_chain_has_as_many_operations_as_its_depth(depth: int) -> None:
    images = torch.zeros(5, 1, 2, 2)
    chain = augmix._chain(images, [lambda x, severity: x + 1], 3, depth)
    assert torch.equal(chain, torch.full_like(images, depth))


def test_without_a_depth_each_image_draws_one_to_three() -> None:
    torch.manual_seed(0)
    images = torch.zeros(3000, 1, 1, 1)
    depths = augmix._chain(images, [lambda x, severity: x + 1], 3, -1).flatten().long()
    frequency = torch.bincount(depths, minlength=4) / 3000
    assert frequency[0] == 0
    assert (frequency[1:] - 1 / 3).abs().max() < 0.05


def test_weights_are_drawn_from_dirichlet_and_beta() -> None:
    torch.manual_seed(0)
    chains, blend = augmix._draw_weights(4000, 3, 1.0)
    torch.testing.assert_close(chains.sum(1), torch.ones(4000))
    # Dirichlet(1, 1, 1): mean 1/3, variance 2/36; Beta(1, 1): mean 1/2, variance 1/12.
    assert (chains.mean(0) - 1 / 3).abs().max() < 0.02
    assert (chains.var(0) - 2 / 36).abs().max() < 0.01
    assert abs(blend.mean() - 1 / 2) < 0.02
    assert abs(blend.var() - 1 / 12) < 0.01


def test_images_of_all_kinds_keep_kind_and_range() -> None:
    torch.manual_seed(0)
    image = Image.new("L", (8, 6), 77)
    assert augmix_image(image).size == (8, 6)
    tensor = augmix_image(torch.rand(3, 8, 8), depth=2)
    assert tensor.shape == (3, 8, 8)
    assert 0 <= tensor.min() <= tensor.max() <= 1 + 1e-6
    assert augmix_image(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)).dtype is torch.uint8
    assert AugmentAndMixTransform()(image).size == (8, 6)


def test_the_batch_is_changed_in_the_loop() -> None:
    run = HandRun(AugMix(batch=True))
    images, labels = image_batch(8)
    run.state.batch = (images, labels)
    run.run(Event.AFTER_DATALOADER)
    assert run.state.batch[0].shape == images.shape
    assert not torch.equal(run.state.batch[0], images)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="width=0 is out of range"):
        AugMix(width=0)
    with pytest.raises(ConfigError, match="alpha=0 is out of range"):
        AugmentAndMixTransform(alpha=0)
    with pytest.raises(ConfigError, match="severity=-1"):
        augmix_image(torch.rand(3, 4, 4), severity=-1)
