"""Batch k trains with the rate f(k).

The expected rates are the schedules' formulas. The reference set each rate one batch late: its
recorded sequences, one batch on, must be ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError
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
)
from tests.trainer._runs import classifier, loader, make_trainer, sgd

BATCHES_PER_EPOCH = 4


class Rates(Callback):
    """Keeps the learning rate of each batch."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def batch_start(self, state: State, logger: Logger) -> None:
        self.values.append(state.optimizers[0].param_groups[0]["lr"])


def rates(schedulers: Any, ssr: float = 1.0, every_batch: bool | None = None) -> list[float]:
    """Train two epochs of four batches, stretched by ssr, with a base rate of 1."""
    model, seen = classifier(), Rates()
    make_trainer(
        model=model,
        train_dataloader=loader(BATCHES_PER_EPOCH * 4, 4),
        max_duration="2ep",
        optimizers=sgd(model, lr=1.0),
        schedulers=schedulers,
        scale_schedule_ratio=ssr,
        step_schedulers_every_batch=every_batch,
        callbacks=seen,
    ).fit()
    return seen.values


def half_cosine(x: float) -> float:
    return (1 + math.cos(math.pi * min(x, 1.0))) / 2


def warm(ramp: int, after: Callable[[float, float], float]) -> Callable[[float, float], float]:
    """Return a formula that is t / W first and then the given one, of t and T."""
    return lambda t, end: t / ramp if t < ramp else after(t, end)


def beyond(ramp: int, t: float, end: float) -> float:
    return 1.0 if end <= ramp else min((t - ramp) / (end - ramp), 1.0)


# Schedule, its multiplier at batch t of a run of T batches stretched by s, and what the reference
# was seen to use for the eight batches of the plain run.
Formula = Callable[[float, float, float], float]
CASES: dict[str, tuple[Callable[[], Any], Formula, list[float]]] = {
    "linear": (
        LinearScheduler,
        lambda t, T, s: 1 - t / T,
        [1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25],
    ),
    "linear, warm": (
        lambda: LinearWithWarmupScheduler("2ba"),
        lambda t, T, s: warm(2, lambda t, T: 1 - beyond(2, t, T))(t, T),
        [0.0, 0.0, 0.5, 1.0, 0.833333, 0.666667, 0.5, 0.333333],
    ),
    "cosine": (
        CosineAnnealingScheduler,
        lambda t, T, s: half_cosine(t / T),
        [1.0, 1.0, 0.96194, 0.853553, 0.691342, 0.5, 0.308658, 0.146447],
    ),
    "cosine, warm": (
        lambda: CosineAnnealingWithWarmupScheduler("2ba"),
        lambda t, T, s: warm(2, lambda t, T: half_cosine(beyond(2, t, T)))(t, T),
        [0.0, 0.0, 0.5, 1.0, 0.933013, 0.75, 0.5, 0.25],
    ),
    "step": (
        lambda: StepScheduler("1ep"),
        lambda t, T, s: 0.1 ** (t // int(4 * s)),
        [1.0, 1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.1],
    ),
    "several steps": (
        lambda: MultiStepScheduler(["1ep", "5ba"]),
        lambda t, T, s: 0.1 ** ((t >= int(4 * s)) + (t >= int(5 * s))),
        [1.0, 1.0, 1.0, 1.0, 1.0, 0.1, 0.01, 0.01],
    ),
    "several steps, warm": (
        lambda: MultiStepWithWarmupScheduler("2ba", ["5ba"]),
        lambda t, T, s: t / 2 if t < 2 else 0.1 ** (t >= int(5 * s)),
        [0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 0.1, 0.1],
    ),
    "exponential": (
        lambda: ExponentialScheduler(0.5),
        lambda t, T, s: 0.5 ** (t / (4 * s)),
        [1.0, 1.0, 0.840896, 0.707107, 0.594604, 0.5, 0.420448, 0.353553],
    ),
    "polynomial": (
        lambda: PolynomialScheduler(2),
        lambda t, T, s: (1 - t / T) ** 2,
        [1.0, 1.0, 0.765625, 0.5625, 0.390625, 0.25, 0.140625, 0.0625],
    ),
    "polynomial, warm": (
        lambda: PolynomialWithWarmupScheduler("2ba"),
        lambda t, T, s: warm(2, lambda t, T: (1 - beyond(2, t, T)) ** 2)(t, T),
        [0.0, 0.0, 0.5, 1.0, 0.694444, 0.444444, 0.25, 0.111111],
    ),
    "constant": (
        lambda: ConstantScheduler(0.5, "3ba"),
        lambda t, T, s: 0.5 if t < int(3 * s) else 1.0,
        [0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0],
    ),
    "constant, warm": (
        lambda: ConstantWithWarmupScheduler("2ba"),
        lambda t, T, s: warm(2, lambda t, T: 1.0)(t, T),
        [0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0],
    ),
    "cosine with restarts": (
        lambda: CosineAnnealingWarmRestartsScheduler("3ba"),
        lambda t, T, s: half_cosine((t % int(3 * s)) / int(3 * s)),
        [1.0, 1.0, 0.75, 0.25, 1.0, 0.75, 0.25, 1.0],
    ),
}


@pytest.mark.parametrize("ssr", [1.0, 0.5])
@pytest.mark.parametrize("name", CASES)
def test_each_batch_trains_with_the_rate_of_its_own_time(name: str, ssr: float) -> None:
    make, formula, _ = CASES[name]
    length = int(2 * ssr) * BATCHES_PER_EPOCH
    expected = [formula(t, length, ssr) for t in range(length)]
    assert rates(make(), ssr) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("ssr", [1.0, 0.5])
@pytest.mark.parametrize("name", CASES)
def test_stepped_by_epoch_a_rate_stays_for_the_epoch(name: str, ssr: float) -> None:
    make, formula, _ = CASES[name]
    length = int(2 * ssr) * BATCHES_PER_EPOCH
    starts = [t - t % BATCHES_PER_EPOCH for t in range(length)]
    expected = [formula(t, length, ssr) for t in starts]
    assert rates(make(), ssr, every_batch=False) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_the_references_rates_are_ours_one_batch_later(name: str) -> None:
    make, _, recorded = CASES[name]
    assert rates(make())[:-1] == pytest.approx(recorded[1:], abs=1e-6)


def test_several_schedules_multiply() -> None:
    both = rates([LinearScheduler(), StepScheduler("1ep")])
    alone = rates(LinearScheduler())
    steps = rates(StepScheduler("1ep"))
    assert both == pytest.approx([a * b for a, b in zip(alone, steps, strict=True)])


def test_a_function_of_the_state_is_a_schedule() -> None:
    seen = rates(lambda state: 1 / (1 + state.timestamp.batch.value))
    assert seen == pytest.approx([1 / (1 + t) for t in range(8)])


def test_a_torch_schedule_steps_by_epoch_unless_told_otherwise() -> None:
    def train(every_batch: bool | None) -> list[float]:
        model, seen = classifier(), Rates()
        optimizer = sgd(model, lr=1.0)
        make_trainer(
            model=model,
            max_duration="2ep",
            optimizers=optimizer,
            schedulers=torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5),
            step_schedulers_every_batch=every_batch,
            callbacks=seen,
        ).fit()
        return seen.values

    assert train(None) == [1.0] * 4 + [0.5] * 4
    assert train(True) == [0.5**t for t in range(8)]


def test_a_schedule_goes_on_over_a_second_fit() -> None:
    model, seen = classifier(), Rates()
    trainer = make_trainer(
        model=model,
        max_duration="1ep",
        optimizers=sgd(model, lr=1.0),
        schedulers=StepScheduler("5ba"),
        callbacks=seen,
    )
    trainer.fit()
    trainer.fit(duration="1ep")
    assert seen.values == pytest.approx([1.0] * 5 + [0.1] * 3)


def test_a_schedule_over_the_whole_run_follows_a_longer_duration() -> None:
    model, seen = classifier(), Rates()
    trainer = make_trainer(
        model=model,
        max_duration="1ep",
        optimizers=sgd(model, lr=1.0),
        schedulers=LinearScheduler(),
        callbacks=seen,
    )
    trainer.fit()
    trainer.fit(duration="1ep")
    assert seen.values == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.5, 0.375, 0.25, 0.125])


def test_a_schedule_given_to_fit_replaces_the_first() -> None:
    model, seen = classifier(), Rates()
    trainer = make_trainer(
        model=model,
        max_duration="1ep",
        optimizers=sgd(model, lr=1.0),
        schedulers=ConstantScheduler(0.5),
        callbacks=seen,
    )
    trainer.fit(schedulers=LinearScheduler())
    assert seen.values == pytest.approx([1.0, 0.75, 0.5, 0.25])


def test_a_stretched_run_lasts_as_long_as_its_schedule() -> None:
    assert len(rates(LinearScheduler(), 1.5)) == 3 * BATCHES_PER_EPOCH


def test_a_duration_given_to_fit_is_stretched_with_its_schedule() -> None:
    model, seen = classifier(), Rates()
    trainer = make_trainer(
        model=model, max_duration=None, optimizers=sgd(model, lr=1.0), callbacks=seen
    )
    trainer.fit(duration="4ep", schedulers=StepScheduler("4ba"), scale_schedule_ratio=0.5)
    assert seen.values == pytest.approx([0.1 ** (t // 2) for t in range(8)])


@pytest.mark.parametrize("ratio", [0.5, 0.0, float("nan")])
def test_a_ratio_given_to_fit_without_a_schedule_is_refused(ratio: float) -> None:
    with pytest.raises(ConfigError, match="scale_schedule_ratio="):
        make_trainer(max_duration=None).fit(duration="2ep", scale_schedule_ratio=ratio)


def test_optimizers_by_name_follow_schedules_of_their_own() -> None:
    model = classifier()
    body, head = model.module[0], model.module[2]
    seen: dict[str, list[float]] = {"body": [], "head": []}

    class Both(Callback):
        def batch_start(self, state: State, logger: Logger) -> None:
            for name, optimizer in state.named_optimizers.items():
                seen[name].append(optimizer.param_groups[0]["lr"])

    make_trainer(
        model=model,
        optimizers={"body": sgd(body, lr=1.0), "head": sgd(head, lr=2.0)},
        schedulers={"head": LinearScheduler()},
        callbacks=Both(),
    ).fit()
    assert seen["body"] == [1.0] * 4
    assert seen["head"] == pytest.approx([2.0, 1.5, 1.0, 0.5])


def test_a_schedule_for_an_optimizer_there_is_not_is_refused_with_the_nearest() -> None:
    model = classifier()
    with pytest.raises(ConfigError, match=r"'haed'.*'head'"):
        make_trainer(
            model=model, optimizers={"head": sgd(model)}, schedulers={"haed": LinearScheduler()}
        )
