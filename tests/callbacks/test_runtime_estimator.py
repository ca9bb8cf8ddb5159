"""How much time is thought to be left."""

from __future__ import annotations

from typing import Any

import pytest

from composer.callbacks import runtime_estimator
from composer.callbacks.runtime_estimator import RuntimeEstimator
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError
from tests.core._doubles import Memory, make_state

REMAINING = "time/remaining_estimate"


class Run:
    """Batches that take a second each on a clock of their own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> None:
        self.now = 100.0
        monkeypatch.setattr(runtime_estimator.time, "perf_counter", lambda: self.now)
        self.estimator = RuntimeEstimator(**{"time_unit": "seconds", **arguments})
        self.state: State = make_state(max_duration="5ep")
        self.memory = Memory()
        self.logger = Logger(self.state, self.memory)
        self.estimator.fit_start(self.state, self.logger)

    def batches(self, count: int, seconds: float = 1.0) -> None:
        for _ in range(count):
            self.estimator.batch_start(self.state, self.logger)
            self.now += seconds
            self.state.timestamp = self.state.timestamp.to_next_batch(1)
            self.estimator.batch_end(self.state, self.logger)
        self.logger.flush()

    def evaluate(self, seconds: float, label: str = "eval") -> None:
        train = self.state.dataloader
        self.state.set_dataloader(range(3), label)
        self.estimator.eval_start(self.state, self.logger)
        self.now += seconds
        self.estimator.eval_end(self.state, self.logger)
        self.state.set_dataloader(train, "train")


def test_it_is_the_batches_left_at_the_speed_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    run.batches(1, seconds=50.0)  # a slow start that does not count
    run.batches(4)
    assert run.memory.series(REMAINING) == pytest.approx([18.0, 17.0, 16.0, 15.0])


def test_evaluations_to_come_are_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, skip_batches=0)
    run.batches(4)
    run.evaluate(10.0)
    run.batches(4)
    run.evaluate(30.0)
    run.batches(2)
    # Two in 10 of 20 batches, so two more of 20 seconds each are to come.
    assert run.memory.series(REMAINING)[-1] == pytest.approx(10.0 + 2 * 20.0)


def test_evaluators_are_counted_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, skip_batches=0)
    run.batches(9)
    run.evaluate(10.0, "small")
    run.evaluate(100.0, "large")
    run.batches(1)
    assert run.memory.series(REMAINING)[-1] == pytest.approx(10.0 + 10.0 + 100.0)
    again = RuntimeEstimator()
    again.load_state_dict(run.estimator.state_dict())
    assert again.evaluations == run.estimator.evaluations


def test_durations_in_batches_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, skip_batches=0, time_unit="minutes")
    run.state.max_duration = "120ba"
    run.batches(60)
    assert run.memory.series(REMAINING)[-1] == pytest.approx(1.0)


def test_without_a_length_there_is_no_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    run.state.set_dataloader(iter([]), "train")
    run.batches(3)
    assert run.memory.series(REMAINING) == []


def test_the_unit_is_a_hyperparameter() -> None:
    state, memory = make_state(), Memory()
    RuntimeEstimator(time_unit="days").init(state, Logger(state, memory))
    assert memory.hyperparameters == {"time/remaining_estimate_unit": "days"}


@pytest.mark.parametrize("arguments", [{"skip_batches": -1}, {"time_unit": "weeks"}])
def test_arguments_that_cannot_work_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        RuntimeEstimator(**arguments)
