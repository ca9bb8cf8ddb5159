import pytest
import torch

from composer.algorithms.cutmix import CutMix
from composer.algorithms.label_smoothing import LabelSmoothing, smooth_labels
from composer.algorithms.mixup import MixUp, mixup_batch
from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.errors import ConfigError, DataError
from tests.algorithms._runs import HandRun, classifier, image_batch

SWAP = torch.tensor([1, 0])


def test_samples_are_blended_as_in_the_paper() -> None:
    # Zhang et al. 2017, (2): x~ = l * x_i + (1 - l) * x_j, here l = 0.75 for the own sample.
    x = torch.tensor([[0.0, 4.0], [8.0, 0.0]])
    mixed, partners, weight = mixup_batch(x, torch.tensor([5, 6]), mixing=0.25, indices=SWAP)
    assert torch.equal(mixed, torch.tensor([[2.0, 3.0], [6.0, 1.0]]))
    assert torch.equal(partners, torch.tensor([6, 5]))
    assert weight == 0.25


def test_the_drawn_weight_is_folded_to_at_most_half() -> None:
    x = torch.zeros(2, 1)
    weights = [mixup_batch(x, x, alpha=1.0)[2] for _ in range(200)]
    assert all(0 <= w <= 0.5 for w in weights)
    # Beta(1, 1) folded is uniform on [0, 0.5]: mean 1/4, standard error 0.144 / sqrt(200) = 0.01.
    assert abs(sum(weights) / 200 - 0.25) < 0.05


def test_small_alpha_mixes_little() -> None:
    x = torch.zeros(2, 1)
    weights = [mixup_batch(x, x, alpha=0.01)[2] for _ in range(100)]
    # Beta(0.01, 0.01) is almost a coin: nearly all its mass lies at 0 and 1, folded at 0.
    assert sum(w < 0.01 for w in weights) > 80


def test_alpha_zero_blends_nothing() -> None:
    x = torch.rand(3, 2)
    mixed, _, weight = mixup_batch(x, x, alpha=0)
    assert weight == 0
    assert torch.equal(mixed, x)


def test_the_weight_comes_from_torchs_cpu_generator() -> None:
    x = torch.rand(4, 2)
    torch.manual_seed(7)
    first = mixup_batch(x, x)
    torch.manual_seed(7)
    second = mixup_batch(x, x)
    assert first[2] == second[2]
    assert torch.equal(first[0], second[0])


def test_partners_are_a_permutation() -> None:
    _, partners, _ = mixup_batch(torch.zeros(16, 1), torch.arange(16))
    assert torch.equal(partners.sort().values, torch.arange(16))


def test_integer_images_become_floats() -> None:
    x = torch.tensor([[0], [10]], dtype=torch.uint8)
    mixed, _, _ = mixup_batch(x, x, mixing=0.25, indices=SWAP)
    assert torch.equal(mixed, torch.tensor([[2.5], [7.5]]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_number_format_stays(dtype: torch.dtype) -> None:
    x = torch.zeros(2, 3, dtype=dtype)
    assert mixup_batch(x, x, mixing=0.5)[0].dtype is dtype


def test_channels_last_images_stay_channels_last() -> None:
    x = torch.rand(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    assert mixup_batch(x, x)[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("arguments", [{"alpha": -1}, {"alpha": "0.2"}, {"alpha": float("nan")}])
def test_bad_arguments_are_refused_when_made(arguments: dict) -> None:
    with pytest.raises((ConfigError, TypeError), match="alpha"):
        MixUp(**arguments)


def test_a_weight_outside_zero_and_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="mixing="):
        mixup_batch(torch.zeros(2, 1), torch.zeros(2), mixing=1.5)


def run_of(*algorithms) -> HandRun:
    run = HandRun(list(algorithms))
    run.begin()
    return run


def test_inputs_and_targets_are_mixed_with_one_pairing() -> None:
    run, (images, labels) = run_of(MixUp(alpha=1.0)), image_batch()
    torch.manual_seed(0)
    run.loss((images, labels))
    torch.manual_seed(0)
    pairing = torch.randperm(4)
    weight = mixup_batch(images, labels, alpha=1.0, indices=pairing)[2]
    mixed_images, targets = run.batch_at_loss
    torch.testing.assert_close(mixed_images, torch.lerp(images, images[pairing], weight))
    one_hot = torch.eye(4)[labels]
    torch.testing.assert_close(targets, (1 - weight) * one_hot + weight * one_hot[pairing])


def test_targets_come_back_after_the_loss() -> None:
    run, (images, labels) = run_of(MixUp()), image_batch()
    run.loss((images, labels))
    assert run.state.batch[1] is labels


def test_dense_targets_are_mixed_too() -> None:
    run, (images, labels) = run_of(MixUp(alpha=1.0)), image_batch()
    torch.manual_seed(0)
    run.loss((images, labels))
    from_indices = run.batch_at_loss[1]
    torch.manual_seed(0)
    run.loss((images, torch.eye(4)[labels]))
    torch.testing.assert_close(run.batch_at_loss[1], from_indices)


def test_each_microbatch_has_a_weight_of_its_own() -> None:
    method = MixUp(alpha=1.0)
    run, (images, labels) = run_of(method), image_batch()
    shares = []
    for part in (slice(0, 2), slice(2, 4)):
        run.state.batch = images[part], labels[part]
        run.run(Event.BEFORE_FORWARD)
        shares.append(method._share)
    assert shares[0] != shares[1]


def test_interpolated_losses_add_up_by_share() -> None:
    method = MixUp(alpha=1.0, interpolate_loss=True)
    run, (images, labels) = run_of(method), image_batch()
    run.state.model.eval()
    torch.manual_seed(0)
    loss = run.loss((images, labels))
    torch.manual_seed(0)
    pairing = torch.randperm(4)
    mixed, partners, weight = mixup_batch(images, labels, alpha=1.0, indices=pairing)
    scores = run.state.model((mixed, labels))
    cross_entropy = torch.nn.functional.cross_entropy
    expected = (1 - weight) * cross_entropy(scores, labels) + weight * cross_entropy(
        scores, partners
    )
    torch.testing.assert_close(loss, expected)
    assert run.state.batch[1] is labels


class NamedLosses:
    def __init__(self, model, kind) -> None:
        self.model, self.kind = model, kind

    def __call__(self, outputs, batch):
        loss = torch.nn.functional.cross_entropy(outputs, batch[1])
        return {"a": loss, "b": 2 * loss} if self.kind is dict else [loss, 2 * loss]


@pytest.mark.parametrize("kind", [dict, list])
def test_several_losses_are_interpolated_one_by_one(kind: type, monkeypatch) -> None:
    run, batch = run_of(MixUp(alpha=1.0, interpolate_loss=True)), image_batch()
    monkeypatch.setattr(run.state.model, "loss", NamedLosses(run.state.model, kind))
    loss = run.loss(batch)
    first, second = loss.values() if kind is dict else loss
    torch.testing.assert_close(second, 2 * first)
    assert first.requires_grad


def orders(make_mixing):
    return [LabelSmoothing(0.2), make_mixing()], [make_mixing(), LabelSmoothing(0.2)]


@pytest.mark.parametrize("interpolate", [False, True])
def test_label_smoothing_in_either_order_gives_the_same_loss(interpolate: bool) -> None:
    # Smoothing is linear, so smoothing mixed targets is mixing smoothed ones.
    losses = []
    torch.manual_seed(1)
    model = classifier().eval()
    for algorithms in orders(lambda: MixUp(1.0, interpolate_loss=interpolate)):
        run, batch = HandRun(algorithms, model), image_batch()
        run.begin()
        torch.manual_seed(0)
        losses.append(run.loss(batch))
        assert run.state.batch[1] is batch[1]
    assert torch.equal(losses[0], losses[1])


def test_smoothed_and_mixed_targets_are_the_smoothed_mixture() -> None:
    run, (images, labels) = run_of(LabelSmoothing(0.2), MixUp(1.0)), image_batch()
    plain = run_of(MixUp(1.0))
    for each in (run, plain):
        torch.manual_seed(0)
        each.loss((images, labels))
    expected = smooth_labels(torch.zeros(4, 4), plain.batch_at_loss[1], 0.2)
    torch.testing.assert_close(run.batch_at_loss[1], expected)


def test_inputs_that_are_no_tensor_are_refused() -> None:
    run = run_of(MixUp())
    run.state.batch = ["text"], torch.tensor([0])
    with pytest.raises(DataError, match="inputs that are one tensor"):
        run.run(Event.BEFORE_FORWARD)


@pytest.mark.parametrize("interpolate", [False, True])
def test_a_batch_changed_in_place_is_whole_again_after_the_step(interpolate: bool) -> None:
    run = HandRun(MixUp(1.0, interpolate, "x", "y"), _ByName())
    run.begin()
    images, labels = image_batch()
    batch = {"x": images, "y": labels}
    run.step(batch)
    assert batch["x"] is images
    assert batch["y"] is labels


class _ByName(torch.nn.Module):
    """Takes batches by name."""

    def __init__(self) -> None:
        super().__init__()
        self.line = torch.nn.Linear(768, 4)

    def forward(self, batch: dict) -> torch.Tensor:
        return self.line(batch["x"].flatten(1))

    def loss(self, outputs: torch.Tensor, batch: dict) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(outputs, batch["y"])


def test_losses_of_samples_mixed_before_are_those_of_their_mixed_targets() -> None:
    # Cross-entropy is linear in its targets, so both ways are the same loss.
    losses = []
    for interpolate in (False, True):
        torch.manual_seed(1)
        run = run_of(CutMix(), MixUp(1.0, interpolate_loss=interpolate))
        run.state.model.eval()
        torch.manual_seed(0)
        losses.append(run.loss(image_batch()))
    torch.testing.assert_close(*losses)


@pytest.mark.filterwarnings("ignore::composer.utils.warnings.NotIntendedUseWarning")
@pytest.mark.parametrize("second", [CutMix(), MixUp(interpolate_loss=True)], ids=repr)
def test_losses_of_samples_mixed_afterwards_are_refused(second: Algorithm) -> None:
    with pytest.raises(ConfigError, match=r"must be the last.*interpolate_loss=False"):
        run_of(MixUp(interpolate_loss=True), second)
