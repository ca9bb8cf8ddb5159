import copy

import pytest
import torch
from torch import nn

from composer.algorithms.gyro_dropout import (
    GyroDropout,
    GyroDropoutLayer,
    apply_gyro_dropout,
)
from composer.core.event import Event
from composer.errors import ConfigError
from composer.utils.warnings import NoEffectWarning
from tests.algorithms._runs import HandRun


def masks_of(layer: GyroDropoutLayer, num_samples: int, width: int) -> list[tuple[float, ...]]:
    return [tuple(row) for row in layer(torch.ones(num_samples, width)).tolist()]


def test_tau_masks_take_turns_over_the_samples() -> None:
    # 6 samples, 3 masks: samples 0 and 3 have the same, 0 and 1 do not.
    rows = masks_of(GyroDropoutLayer(10, 10, 0.5, 8, 3), 6, 32)
    assert rows[:3] == rows[3:]
    assert len(set(rows)) == 3


def test_what_is_kept_is_scaled_to_keep_the_mean() -> None:
    # Srivastava et al. 2014: kept units are multiplied by 1 / (1 - p).
    rows = torch.tensor(masks_of(GyroDropoutLayer(10, 10, 0.75, 64, 64), 64, 400))
    assert set(rows.flatten().tolist()) == {0.0, 4.0}
    # 64 * 400 draws: standard error of the share kept 0.0027.
    assert rows.bool().float().mean().item() == pytest.approx(0.25, abs=0.015)


def test_masks_are_kept_for_their_turn_and_come_from_sigma_of_them() -> None:
    # Lee et al. 2022, section 3: of sigma masks tau are picked, and kept for their turn.
    # int(20 batches / 4 masks) * 2 in use = 10 batches a turn.
    layer = GyroDropoutLayer(5, 4, 0.5, 4, 2)
    turns = [masks_of(layer, 2, 64) for _ in range(100)]
    for begin in range(0, 100, 10):
        assert all(turn == turns[begin] for turn in turns[begin : begin + 10])
    assert len({mask for turn in turns for mask in turn}) <= 4
    assert len({tuple(turn) for turn in turns}) > 1


def test_a_run_shorter_than_sigma_changes_masks_each_batch() -> None:
    layer = GyroDropoutLayer(1, 1, 0.5, 64, 2)
    assert masks_of(layer, 2, 64) != masks_of(layer, 2, 64)


@pytest.mark.parametrize(
    ("shape", "same"),
    [((2, 8, 5, 5), (0, 0, slice(None), slice(None))), ((2, 5, 64), (0, slice(None), 0))],
)
def test_a_unit_is_a_channel_or_a_feature(shape: tuple[int, ...], same: tuple) -> None:
    out = GyroDropoutLayer(10, 10, 0.5, 8, 2)(torch.ones(shape))
    assert len(set(out[same].flatten().tolist())) == 1
    assert len(set(out.flatten().tolist())) == 2


def test_in_evaluation_nothing_is_dropped() -> None:
    x = torch.rand(3, 4)
    assert torch.equal(GyroDropoutLayer(1, 1, 0.5, 4, 2).eval()(x), x)


def test_it_draws_nothing_from_the_global_generator() -> None:
    state = torch.get_rng_state()
    GyroDropoutLayer(1, 1, 0.5, 4, 2)(torch.rand(3, 4, generator=torch.Generator()))
    assert torch.equal(torch.get_rng_state(), state)


def test_every_dropout_of_a_model_is_replaced_with_masks_of_its_own() -> None:
    model = nn.Sequential(nn.Dropout(0.1), nn.Linear(64, 64), nn.Dropout(0.3))
    apply_gyro_dropout(model, 10, 2, p=0.5, sigma=8, tau=2)
    first, second = model[0], model[2]
    assert isinstance(first, GyroDropoutLayer)
    assert isinstance(second, GyroDropoutLayer)
    assert masks_of(first, 2, 64) != masks_of(second, 2, 64)


def test_nothing_to_replace_is_said() -> None:
    with pytest.warns(NoEffectWarning, match="looked for Dropout"):
        apply_gyro_dropout(nn.Sequential(nn.Linear(1, 1)), 1, 1)


@pytest.mark.parametrize("arguments", [{"p": -0.1}, {"p": 1.0}, {"sigma": 0}, {"tau": 300}])
def test_arguments_out_of_range_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        GyroDropout(**arguments)


# The method.


def dropping() -> nn.Sequential:
    return nn.Sequential(nn.Dropout(0.1), nn.Linear(1, 1))


def run_with(method: GyroDropout, max_duration: str = "20ba") -> HandRun:
    run = HandRun(method, dropping(), max_duration=max_duration)
    run.begin()
    run.run(Event.BATCH_START)
    return run


def test_microbatches_of_one_batch_share_its_masks_and_step() -> None:
    run = run_with(GyroDropout(sigma=4, tau=1))
    layer = run.state.model[0]
    seen = {tuple(masks_of(layer, 2, 64)) for _ in range(30)}
    assert len(seen) == 1
    assert layer.training_step == 0


def test_masks_follow_from_seed_and_batch_alone() -> None:
    run, again = run_with(GyroDropout(sigma=8, tau=2)), run_with(GyroDropout(sigma=8, tau=2))
    for _ in range(12):
        run.end_batch()
    run.run(Event.BATCH_START)
    # A run that goes on at batch 12.
    again.state.timestamp = run.state.timestamp
    again.run(Event.FIT_START, Event.BATCH_START)
    assert masks_of(run.state.model[0], 4, 64) == masks_of(again.state.model[0], 4, 64)


def test_a_second_fit_plans_for_its_own_length() -> None:
    run = run_with(GyroDropout(sigma=4, tau=2), "20ba")
    assert run.state.model[0]._period == 10
    run.state.max_duration = "40ba"
    run.run(Event.FIT_START)
    assert run.state.model[0]._period == 20


def test_epochs_are_counted_by_the_loader() -> None:
    # The loader by hand has 10 batches.
    assert run_with(GyroDropout(sigma=4, tau=2), "2ep").state.model[0]._period == 10


@pytest.mark.parametrize("max_duration", ["100sp", "100tok"])
def test_a_length_that_is_not_known_in_batches_is_refused(max_duration: str) -> None:
    with pytest.raises(ConfigError, match="GyroDropout needs max_duration in 'ep' or 'ba'"):
        run_with(GyroDropout(), max_duration)


def test_a_loader_without_length_is_refused() -> None:
    run = HandRun(GyroDropout(), dropping(), max_duration="2ep")
    run.state.set_dataloader(iter([]), "train")
    with pytest.raises(ConfigError, match="the dataloader has no length"):
        run.begin()


def test_a_copied_layer_goes_on_by_itself() -> None:
    layer = GyroDropoutLayer(4, 1, 0.5, 4, 1)
    masks_of(layer, 1, 64)
    again = copy.deepcopy(layer)
    assert masks_of(again, 1, 64) == masks_of(layer, 1, 64)
