"""A compiled schedule sets learning rates for the time the state is at."""

import logging
import math

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from composer.core.time import Timestamp
from composer.optim.scheduler import (
    ConstantScheduler,
    ConstantWithWarmupScheduler,
    CosineAnnealingScheduler,
    CosineAnnealingWarmRestartsScheduler,
    CosineAnnealingWithWarmupScheduler,
    ExponentialScheduler,
    LinearScheduler,
    LinearWithWarmupScheduler,
    MultiStepScheduler,
    MultiStepWithWarmupScheduler,
    PolynomialScheduler,
    PolynomialWithWarmupScheduler,
    StepScheduler,
    compile_composer_scheduler,
)
from tests.optim._runs import at, batches, make_state


def half_wave(x):
    return (1 + math.cos(math.pi * min(1, x))) / 2


# Recorded from Composer 0.33 at the start of each batch of 2 epochs of 4 batches, base rate 1, with
# the ratio 1 and the ratio 0.5. Composer steps before it moves the clock, so its batches 0 and 1
# share a value; here batch k uses f(k), which is the recorded sequence without its first value and
# with one more at the end. The functions are the formulas, written anew: t batch, s ratio.
RECORDED = {
    LinearScheduler(): (
        [1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25],
        [1.0, 1.0, 0.75, 0.5],
        lambda t, s: 1 - t / (8 * s),
    ),
    LinearWithWarmupScheduler("2ba"): (
        [0.0, 0.0, 0.5, 1.0, 0.833333, 0.666667, 0.5, 0.333333],
        [0.0, 0.0, 0.5, 1.0],
        lambda t, s: t / 2 if t < 2 else 1 - (t - 2) / (8 * s - 2),
    ),
    CosineAnnealingScheduler(): (
        [1.0, 1.0, 0.96194, 0.853553, 0.691342, 0.5, 0.308658, 0.146447],
        [1.0, 1.0, 0.853553, 0.5],
        lambda t, s: half_wave(t / (8 * s)),
    ),
    CosineAnnealingWithWarmupScheduler("2ba"): (
        [0.0, 0.0, 0.5, 1.0, 0.933013, 0.75, 0.5, 0.25],
        [0.0, 0.0, 0.5, 1.0],
        lambda t, s: t / 2 if t < 2 else half_wave((t - 2) / (8 * s - 2)),
    ),
    StepScheduler("1ep"): (
        [1.0, 1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.1],
        [1.0, 1.0, 1.0, 0.1],
        lambda t, s: 0.1 ** (t // (4 * s)),
    ),
    MultiStepScheduler(["1ep", "5ba"]): (
        [1.0, 1.0, 1.0, 1.0, 1.0, 0.1, 0.01, 0.01],
        [1.0, 1.0, 1.0, 0.01],
        lambda t, s: 0.1 ** ((t >= int(4 * s)) + (t >= int(5 * s))),
    ),
    ExponentialScheduler(0.5): (
        [1.0, 1.0, 0.840896, 0.707107, 0.594604, 0.5, 0.420448, 0.353553],
        [1.0, 1.0, 0.707107, 0.5],
        lambda t, s: 0.5 ** (t / (4 * s)),
    ),
    PolynomialScheduler(2): (
        [1.0, 1.0, 0.765625, 0.5625, 0.390625, 0.25, 0.140625, 0.0625],
        [1.0, 1.0, 0.5625, 0.25],
        lambda t, s: (1 - t / (8 * s)) ** 2,
    ),
    PolynomialWithWarmupScheduler("2ba"): (
        [0.0, 0.0, 0.5, 1.0, 0.694444, 0.444444, 0.25, 0.111111],
        [0.0, 0.0, 0.5, 1.0],
        lambda t, s: t / 2 if t < 2 else (1 - (t - 2) / (8 * s - 2)) ** 2,
    ),
    ConstantScheduler(0.5, "3ba"): (
        [0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0],
        [0.5, 0.5, 1.0, 1.0],
        lambda t, s: 0.5 if t < int(3 * s) else 1,
    ),
    ConstantWithWarmupScheduler("2ba"): (
        [0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0],
        [0.0, 0.0, 0.5, 1.0],
        lambda t, _: min(1, t / 2),
    ),
    CosineAnnealingWarmRestartsScheduler("3ba"): (
        [1.0, 1.0, 0.75, 0.25, 1.0, 0.75, 0.25, 1.0],
        [1.0, 1.0, 1.0, 1.0],
        lambda t, s: half_wave(t % int(3 * s) / int(3 * s)),
    ),
    MultiStepWithWarmupScheduler("2ba", ["5ba"]): (
        [0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 0.1, 0.1],
        [0.0, 0.0, 0.5, 0.1],
        lambda t, s: t / 2 if t < 2 else 0.1 ** (t >= int(5 * s)),
    ),
}


def train(scheduler, max_duration, ssr=1.0):
    """Return the learning rate of every batch."""
    state = make_state(max_duration, num_batches=4)
    compiled = compile_composer_scheduler(scheduler, state, ssr)
    rates = []
    for batch in batches(state):
        if batch:
            compiled.step()
        rates.append(state.optimizers[0].param_groups[0]["lr"])
        state.optimizers[0].step()
    return rates


@pytest.mark.parametrize("ssr", [1.0, 0.5])
@pytest.mark.parametrize("scheduler", RECORDED, ids=repr)
def test_batch_k_uses_the_multiplier_of_time_k(scheduler, ssr):
    recorded_whole, recorded_half, formula = RECORDED[scheduler]
    recorded = recorded_whole if ssr == 1 else recorded_half
    rates = train(scheduler, "2ep" if ssr == 1 else "1ep", ssr)
    assert rates == pytest.approx([formula(t, ssr) for t in range(int(8 * ssr))])
    assert rates[:-1] == pytest.approx(recorded[1:], abs=1e-6)


@pytest.mark.parametrize(
    ("scheduler", "second_epoch"),
    [
        (LinearScheduler(), 0.5),
        (CosineAnnealingWithWarmupScheduler("2ba"), 0.75),
        (MultiStepScheduler(["1ep", "5ba"]), 0.1),
    ],
    ids=repr,
)
def test_stepping_at_epoch_ends_gives_the_recorded_rates(scheduler, second_epoch):
    state = make_state()
    compiled = compile_composer_scheduler(scheduler, state)
    state.optimizers[0].step()
    at(state, epoch=1, batch=4)
    compiled.step()
    assert compiled.get_last_lr() == [pytest.approx(second_epoch)]


def test_compiling_sets_the_rate_for_the_time_the_state_is_at():
    state = at(make_state(lr=0.4), batch=4)
    compile_composer_scheduler(LinearScheduler(), state)
    assert state.optimizers[0].param_groups[0]["lr"] == 0.2


def test_the_result_is_a_torch_scheduler():
    state = make_state(lr=0.4)
    compiled = compile_composer_scheduler(LinearScheduler(), state)
    assert isinstance(compiled, LambdaLR)
    assert (compiled.base_lrs, compiled.last_epoch, compiled.get_last_lr()) == ([0.4], 0, [0.4])


def test_refreshing_follows_the_state_without_counting_a_step():
    state = make_state()
    compiled = compile_composer_scheduler(LinearScheduler(), state)
    at(state, batch=4)
    state.max_duration = "4ep"
    compiled.refresh()
    assert (compiled.last_epoch, compiled.get_last_lr(), compiled.get_lr()) == (0, [0.75], [0.75])


def test_a_step_with_an_epoch_is_refused():
    with pytest.raises(ValueError, match=r"follows state.timestamp"):
        compile_composer_scheduler(LinearScheduler(), make_state()).step(3)


def test_each_group_keeps_its_own_base_rate():
    state, weight = make_state(), torch.nn.Parameter(torch.ones(1))
    state.optimizers[0].add_param_group({"params": [weight], "lr": 0.1})
    compile_composer_scheduler(LinearScheduler(), at(state, batch=4))
    assert [g["lr"] for g in state.optimizers[0].param_groups] == [0.5, 0.05]


def test_groups_added_later_are_scheduled_too():
    state, weight = make_state(), torch.nn.Parameter(torch.ones(1))
    compiled = compile_composer_scheduler(LinearScheduler(), state)
    state.optimizers[0].add_param_group({"params": [weight], "lr": 0.1})
    state.optimizers[0].step()
    at(state, batch=4)
    compiled.step()
    assert compiled.get_last_lr() == [0.5, 0.05]


def test_a_tensor_rate_is_changed_in_place():
    state, weight = make_state(), torch.nn.Parameter(torch.ones(1))
    rate = torch.tensor(0.5)
    state.optimizers = SGD([weight], lr=rate)
    compiled = compile_composer_scheduler(LinearScheduler(), state)
    state.optimizers[0].step()
    at(state, batch=4)
    compiled.step()
    assert state.optimizers[0].param_groups[0]["lr"] is rate
    assert rate == 0.25


def test_a_function_of_state_and_ratio_is_a_schedule():
    state = at(make_state(), batch=3)
    compiled = compile_composer_scheduler(lambda state, ssr=1.0: 2 * ssr, state, 0.5)
    assert compiled.get_last_lr() == [1.0]


def test_a_function_of_the_state_alone_is_a_schedule():
    state = at(make_state(), batch=3)
    compiled = compile_composer_scheduler(lambda state: 1 / int(state.timestamp.batch), state)
    assert compiled.get_last_lr() == [pytest.approx(1 / 3)]


def test_a_function_of_the_state_alone_cannot_be_scaled():
    with pytest.raises(ValueError, match=r"cannot be scaled by 0\.5"):
        compile_composer_scheduler(lambda state: 1.0, make_state(), 0.5)


def test_what_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="'cosine' is no schedule"):
        compile_composer_scheduler("cosine", make_state())  # pyright: ignore


@pytest.mark.parametrize("ssr", [0, -1, float("nan")])
def test_a_ratio_that_is_not_positive_is_refused(ssr):
    with pytest.raises(ValueError, match="more than 0"):
        compile_composer_scheduler(LinearScheduler(), make_state(), ssr)


def test_a_schedule_that_does_not_fit_is_refused_when_compiled():
    with pytest.raises(ValueError, match="before the run does"):
        compile_composer_scheduler(LinearWithWarmupScheduler("1ba", t_max="5ba"), make_state())


def test_a_state_without_an_optimizer_is_refused():
    state = make_state()
    state.optimizers = None
    with pytest.raises(RuntimeError, match="the state has none yet"):
        compile_composer_scheduler(LinearScheduler(), state)


def two_optimizers():
    state = make_state()
    state.optimizers = {
        "body": SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0),
        "head": SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1),
    }
    return state


def test_with_several_optimizers_one_must_be_named():
    with pytest.raises(ValueError, match="has 2 optimizers; say which one"):
        compile_composer_scheduler(LinearScheduler(), two_optimizers())


def test_each_optimizer_follows_its_own_schedule():
    state = two_optimizers()
    body, head = state.optimizers
    compiled = [
        compile_composer_scheduler(LinearScheduler(), state, optimizer=body),
        compile_composer_scheduler(ConstantScheduler(0.5), state, optimizer=head),
    ]
    body.step(), head.step()
    at(state, batch=6)
    for each in compiled:
        each.step()
    assert (body.param_groups[0]["lr"], head.param_groups[0]["lr"]) == (0.25, 0.05)


def test_the_state_dict_has_torch_keys_and_plain_values():
    compiled = compile_composer_scheduler(LinearScheduler(), make_state())
    torchs = LambdaLR(SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0), lambda _: 1.0)
    kept = torchs.state_dict()
    del kept["_get_lr_called_within_step"]  # a flag that is only set inside torch's own step
    assert compiled.state_dict() == kept


def test_a_state_dict_restores_base_rates_and_counts():
    state = make_state(lr=0.4)
    compiled = compile_composer_scheduler(LinearScheduler(), state)
    state.optimizers[0].step()
    at(state, batch=2)
    compiled.step()
    restored = compile_composer_scheduler(LinearScheduler(), make_state(lr=3.0))
    restored.load_state_dict(compiled.state_dict())
    assert restored.state_dict() == compiled.state_dict()
    restored.refresh()
    assert restored.get_last_lr() == [0.4]


def test_a_resumed_run_has_the_rates_of_an_unbroken_one():
    unbroken = train(CosineAnnealingWithWarmupScheduler("2ba"), "2ep")
    state = at(make_state(), epoch=1, batch=4)
    resumed = compile_composer_scheduler(CosineAnnealingWithWarmupScheduler("2ba"), state)
    rates = []
    for batch in range(4, 8):
        state.timestamp = Timestamp(epoch=1, batch=batch)
        resumed.refresh()
        rates += resumed.get_last_lr()
    assert rates == unbroken[4:]


@pytest.mark.parametrize(
    ("scheduler", "level", "text"),
    [
        (LinearScheduler(t_max="5ba"), "WARNING", "ends at 5ba; until the run ends at 8ba"),
        (LinearScheduler(t_max="5ba", alpha_f=0.1), "INFO", "is multiplied by 0.1"),
        (CosineAnnealingScheduler("3ep"), "INFO", "ends at 12ba; the run stops before, at 8ba"),
    ],
    ids=repr,
)
def test_the_log_explains_where_schedule_and_run_do_not_end_together(
    scheduler, level, text, caplog
):
    caplog.set_level(logging.INFO)
    compile_composer_scheduler(scheduler, make_state())
    assert [(r.levelname, text in r.getMessage()) for r in caplog.records] == [(level, True)]


@pytest.mark.parametrize(
    "scheduler", [LinearScheduler(), LinearScheduler(t_max="5sp"), StepScheduler("3ba")], ids=repr
)
def test_the_log_is_silent_where_there_is_nothing_to_explain(scheduler, caplog):
    caplog.set_level(logging.INFO)
    compile_composer_scheduler(scheduler, make_state())
    assert not caplog.records
