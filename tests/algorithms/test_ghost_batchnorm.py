import pytest
import torch
from torch import Tensor, nn

from composer.algorithms.ghost_batchnorm import (
    GhostBatchNorm,
    GhostBatchNorm1d,
    GhostBatchNorm2d,
    GhostBatchNorm3d,
    apply_ghost_batchnorm,
)
from composer.core.event import Event
from composer.errors import ConfigError, DataError
from composer.utils.warnings import NoEffectWarning
from tests.algorithms._runs import HandRun, classifier, conv_net


def normalized(values: Tensor) -> Tensor:
    """Batch normalisation over samples (and pixels) by its definition, without weights."""
    dims = [dim for dim in range(values.ndim) if dim != 1]
    variance, mean = torch.var_mean(values, dims, correction=0, keepdim=True)
    return (values - mean) / torch.sqrt(variance + 1e-5)


@pytest.mark.parametrize(
    ("norm", "ghost", "shape"),
    [
        (nn.BatchNorm1d(3), GhostBatchNorm1d, (8, 3)),
        (nn.BatchNorm2d(3), GhostBatchNorm2d, (8, 3, 4, 4)),
        (nn.BatchNorm3d(3), GhostBatchNorm3d, (8, 3, 2, 2, 2)),
    ],
)
def test_each_part_of_a_batch_is_normalised_by_itself(
    norm: nn.Module, ghost: type[GhostBatchNorm2d], shape: tuple[int, ...]
) -> None:
    # Hoffer et al. 2017, algorithm 1: mean and variance of each ghost batch.
    batch = torch.rand(shape) * torch.arange(1, 9).reshape(8, *[1] * (len(shape) - 1))
    layer = ghost(norm, 4)
    expected = torch.cat([normalized(batch[:4]), normalized(batch[4:])])
    torch.testing.assert_close(layer(batch), expected)


def test_running_statistics_move_by_all_parts() -> None:
    # Two parts of equal size, momentum 0.1 / 2 each: r <- 0.95 (0.95 r + 0.05 m1) + 0.05 m2.
    layer = GhostBatchNorm1d(nn.BatchNorm1d(1), 2)
    layer(torch.tensor([[1.0], [3.0], [10.0], [30.0]]))
    expected = 0.95 * 0.05 * 2.0 + 0.05 * 20.0
    torch.testing.assert_close(layer.batchnorm.running_mean, torch.tensor([expected]))
    assert layer.batchnorm.num_batches_tracked == 1


def test_parts_of_unequal_size_weigh_by_their_samples() -> None:
    # 5 samples make parts of 3 and 2: momenta 0.1 * 3/5 and 0.1 * 2/5.
    layer = GhostBatchNorm1d(nn.BatchNorm1d(1), 3)
    layer(torch.tensor([[1.0], [2.0], [3.0], [10.0], [20.0]]))
    expected = (1 - 0.04) * 0.06 * 2.0 + 0.04 * 15.0
    torch.testing.assert_close(layer.batchnorm.running_mean, torch.tensor([expected]))


def test_no_part_is_left_with_a_single_sample() -> None:
    # 9 samples by 4: 3 + 3 + 3 and not 4 + 4 + 1, which has no variance.
    layer = GhostBatchNorm1d(nn.BatchNorm1d(2), 4)
    batch = torch.rand(9, 2)
    expected = torch.cat([normalized(part) for part in batch.split(3)])
    torch.testing.assert_close(layer(batch), expected)


def test_a_plain_average_of_statistics_takes_each_part() -> None:
    layer = GhostBatchNorm1d(nn.BatchNorm1d(1, momentum=None), 2)
    layer(torch.tensor([[1.0], [3.0], [10.0], [30.0]]))
    torch.testing.assert_close(layer.batchnorm.running_mean, torch.tensor([11.0]))


def test_evaluation_uses_the_running_statistics_for_any_number_of_samples() -> None:
    norm = nn.BatchNorm1d(2)
    layer = GhostBatchNorm1d(norm, 32).eval()
    batch = torch.rand(3, 2)
    torch.testing.assert_close(layer(batch), batch / (1 + 1e-5) ** 0.5)


def test_a_batch_smaller_than_a_part_is_refused() -> None:
    layer = GhostBatchNorm1d(nn.BatchNorm1d(2), 4)
    with pytest.raises(DataError, match="3 samples, fewer than ghost_batch_size=4"):
        layer(torch.rand(3, 2))


def test_layers_keep_their_weights_and_a_second_call_changes_nothing() -> None:
    model = conv_net()
    norm = model[1]
    for _ in range(2):
        assert apply_ghost_batchnorm(model, 4) is model
    assert isinstance(model[1], GhostBatchNorm2d)
    assert model[1].batchnorm is norm


def test_a_model_without_batch_normalisation_is_named() -> None:
    with pytest.warns(NoEffectWarning, match="looked for BatchNorm1d, BatchNorm2d"):
        apply_ghost_batchnorm(nn.Sequential(nn.LayerNorm(2)))


def test_a_size_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="ghost_batch_size=0"):
        GhostBatchNorm(0)


def test_the_number_of_layers_is_logged() -> None:
    run = HandRun(GhostBatchNorm(2), classifier())
    run.run(Event.INIT)
    assert run.memory.hyperparameters == {"ghost_batchnorm/num_layers": 1}
