import math
from collections import Counter

import pytest
import torch

from composer.algorithms.cutmix import CutMix, cutmix_batch
from composer.algorithms.label_smoothing import LabelSmoothing
from composer.algorithms.mixup import MixUp
from composer.core.event import Event
from composer.errors import ConfigError, DataError
from tests.algorithms._runs import HandRun, image_batch

SWAP = torch.tensor([1, 0])


def two_images(height: int = 10, width: int = 10) -> torch.Tensor:
    """One black and one white image."""
    return torch.stack([torch.zeros(1, height, width), torch.ones(1, height, width)])


def test_a_given_box_is_pasted_and_weighs_by_its_area() -> None:
    # Yun et al. 2019, (1): x~ = M * x_A + (1 - M) * x_B, y~ = l * y_A + (1 - l) * y_B.
    x = two_images(4, 5)
    mixed, partners, share, box = cutmix_batch(
        x, torch.tensor([7, 8]), bbox=(1, 2, 3, 5), indices=SWAP
    )
    expected = torch.tensor(
        [[0, 0, 0, 0, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0]], dtype=torch.float32
    )
    assert torch.equal(mixed[0, 0], expected)
    assert torch.equal(mixed[1, 0], 1 - expected)
    assert torch.equal(partners, torch.tensor([8, 7]))
    assert share == 1 - 6 / 20
    assert box == (1, 2, 3, 5)


def test_an_explicit_length_cuts_that_length() -> None:
    # A side of 0.3 cuts 9 of 100 pixels and keeps 91, wherever the box is not clipped.
    sizes = set()
    for _ in range(100):
        mixed, _, share, (top, left, bottom, right) = cutmix_batch(
            two_images(), torch.arange(2), length=0.3, indices=SWAP
        )
        assert share == pytest.approx(1 - mixed[0].sum().tolist() / 100)
        sizes.add((bottom - top, right - left))
    assert max(sizes) == (3, 3)
    assert all(height <= 3 and width <= 3 for height, width in sizes)


@pytest.mark.parametrize(("length", "kept"), [(0.0, 1.0), (1.0, 0.0)])
def test_the_ends_of_length_cut_nothing_and_everything(length: float, kept: float) -> None:
    shares = [
        cutmix_batch(two_images(), torch.arange(2), length=length, indices=SWAP)[2]
        for _ in range(3000)
    ]
    # Everything, where the centre lies in the middle; clipped elsewhere.
    assert min(shares) == kept
    if length == 0:
        assert max(shares) == kept


def test_the_share_is_that_of_the_pixels_after_clipping() -> None:
    for uniform in (False, True):
        for _ in range(50):
            mixed, _, share, _ = cutmix_batch(
                two_images(9, 7), torch.arange(2), indices=SWAP, uniform_sampling=uniform
            )
            assert share == pytest.approx(1 - mixed[0].mean().tolist(), abs=1e-6)


def test_box_sides_follow_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    # (2): r_w = W * sqrt(1 - l), r_h = H * sqrt(1 - l); l = 0.75 halves both sides.
    monkeypatch.setattr("composer.algorithms.cutmix.draw_beta", lambda alpha: 0.75)
    boxes = [cutmix_batch(two_images(20, 12), torch.arange(2), indices=SWAP)[3] for _ in range(50)]
    assert max(bottom - top for top, _, bottom, _ in boxes) == 10
    assert max(right - left for _, left, _, right in boxes) == 6


def test_uniform_sampling_replaces_every_pixel_alike() -> None:
    counts = Counter()
    for _ in range(3000):
        _, _, _, (top, _, bottom, _) = cutmix_batch(
            two_images(6, 6), torch.arange(2), length=0.5, uniform_sampling=True
        )
        counts.update(range(top, bottom))
    # 8 places of a 3-pixel box meet the 6 pixels; each pixel lies in 3: expected 3000 * 3 / 8.
    expected = 3000 * 3 / 8
    spread = math.sqrt(3000 * 3 / 8 * 5 / 8)
    assert all(abs(counts[pixel] - expected) < 5 * spread for pixel in range(6))


def test_centres_are_uniform_by_default() -> None:
    counts = Counter()
    for _ in range(3000):
        _, _, _, (top, _, bottom, _) = cutmix_batch(two_images(6, 6), torch.arange(2), length=0.5)
        counts.update(range(top, bottom))
    # Centres 0..5, boxes centre - 1 .. centre + 1: pixel 0 lies in 2 of 6, pixel 2 in 3 of 6.
    spread = math.sqrt(3000 * 0.25)
    assert abs(counts[0] - 1000) < 5 * spread
    assert abs(counts[2] - 1500) < 5 * spread


def test_alpha_zero_cuts_nothing() -> None:
    mixed, _, share, _ = cutmix_batch(two_images(), torch.arange(2), alpha=0, indices=SWAP)
    assert share == 1
    assert torch.equal(mixed, two_images())


def test_the_inputs_are_not_written_into() -> None:
    x = two_images()
    cutmix_batch(x, torch.arange(2), length=0.5, indices=SWAP)
    assert torch.equal(x, two_images())


def test_random_numbers_come_from_torchs_cpu_generator() -> None:
    results = []
    for _ in range(2):
        torch.manual_seed(5)
        results.append(cutmix_batch(torch.rand(4, 3, 8, 8), torch.arange(4)))
    assert results[0][2:] == results[1][2:]
    assert torch.equal(results[0][0], results[1][0])


def test_channels_last_images_stay_channels_last() -> None:
    x = torch.rand(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    assert cutmix_batch(x, x)[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "arguments",
    [{"length": 1.2}, {"alpha": -1}, {"bbox": (0, 0, 11, 5)}, {"bbox": (4, 0, 2, 5)}],
)
def test_bad_arguments_are_refused(arguments: dict) -> None:
    with pytest.raises(ConfigError, match="="):
        cutmix_batch(two_images(), torch.arange(2), **arguments)


def test_a_bad_alpha_is_refused_when_made() -> None:
    with pytest.raises(ConfigError, match="alpha=-1"):
        CutMix(alpha=-1)


def test_flat_inputs_are_refused() -> None:
    with pytest.raises(DataError, match="images"):
        cutmix_batch(torch.zeros(2, 3), torch.arange(2))


def run_of(*algorithms) -> HandRun:
    run = HandRun(list(algorithms))
    run.begin()
    return run


def test_targets_are_mixed_by_area_and_come_back() -> None:
    method = CutMix()
    run, (images, labels) = run_of(method), image_batch()
    torch.manual_seed(2)
    run.loss((images, labels))
    torch.manual_seed(2)
    pairing = torch.randperm(4)
    mixed, _, share, _ = cutmix_batch(images, labels, indices=pairing)
    one_hot = torch.eye(4)[labels]
    assert torch.equal(run.batch_at_loss[0], mixed)
    torch.testing.assert_close(
        run.batch_at_loss[1], share * one_hot + (1 - share) * one_hot[pairing]
    )
    assert run.state.batch[1] is labels


def test_targets_as_large_as_the_image_get_the_box_pasted() -> None:
    run = run_of(CutMix())
    images = torch.rand(2, 3, 8, 8)
    masks = torch.stack([torch.zeros(8, 8, dtype=torch.int64), torch.ones(8, 8, dtype=torch.int64)])
    torch.manual_seed(4)
    run.state.batch = images, masks
    run.run(Event.BEFORE_FORWARD)
    method = run.state.algorithms[0]
    run.state.outputs = torch.zeros(2, 2, 8, 8)
    top, left, bottom, right = method._box
    expected = masks.clone()
    expected[:, top:bottom, left:right] = masks[method._pairing][:, top:bottom, left:right]
    run.run(Event.BEFORE_LOSS)
    assert torch.equal(run.state.batch[1], expected)
    run.run(Event.AFTER_LOSS)
    assert run.state.batch[1] is masks


def test_two_losses_cannot_stand_for_a_pasted_mask() -> None:
    run = run_of(CutMix(interpolate_loss=True))
    run.state.batch = torch.rand(2, 3, 8, 8), torch.zeros(2, 8, 8)
    with pytest.raises(DataError, match="interpolate_loss=False"):
        run.run(Event.BEFORE_FORWARD)


def test_interpolated_losses_add_up_by_area() -> None:
    run, (images, labels) = run_of(CutMix(interpolate_loss=True)), image_batch()
    run.state.model.eval()
    torch.manual_seed(2)
    loss = run.loss((images, labels))
    torch.manual_seed(2)
    pairing = torch.randperm(4)
    mixed, partners, share, _ = cutmix_batch(images, labels, indices=pairing)
    scores = run.state.model((mixed, labels))
    cross_entropy = torch.nn.functional.cross_entropy
    expected = share * cross_entropy(scores, labels) + (1 - share) * cross_entropy(scores, partners)
    torch.testing.assert_close(loss, expected)


def test_label_smoothing_in_either_order_gives_the_same_targets() -> None:
    targets = []
    for algorithms in ([LabelSmoothing(), CutMix()], [CutMix(), LabelSmoothing()]):
        run = run_of(*algorithms)
        torch.manual_seed(2)
        run.loss(image_batch())
        targets.append(run.batch_at_loss[1])
    assert torch.equal(targets[0], targets[1])


def test_after_mixup_the_targets_are_those_of_the_pixels() -> None:
    # A network that returns the image's mean colour, one channel per class: with one-hot colours
    # the right target is the mean colour itself.
    run = run_of(MixUp(alpha=1.0), CutMix())
    labels = torch.tensor([0, 1, 2, 0])
    images = torch.eye(3)[labels][:, :, None, None].expand(4, 3, 6, 6).contiguous()
    run.state.batch = images, labels
    run.run(Event.BEFORE_FORWARD)
    run.state.outputs = run.state.batch[0].mean((2, 3))
    run.run(Event.BEFORE_LOSS)
    torch.testing.assert_close(run.state.batch[1], run.state.outputs)
    run.run(Event.AFTER_LOSS)
    assert run.state.batch[1] is labels
