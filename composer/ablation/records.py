"""What is measured in one run, and the file it is kept in.

The clock stands still while the run evaluates, so that what is compared is training alone.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError, CorruptCheckpointError, unknown_name
from composer.utils.atomic import write_text

__all__ = ["CLOCKS", "Point", "Record", "Recorder", "read_record", "write_record"]

CLOCKS: dict[str, Callable[[], float]] = {
    "wall": time.perf_counter,
    "cpu": time.process_time,
}
"""``'cpu'`` counts the time of all this process's cores, and nothing else that the machine does."""


@dataclass(frozen=True, slots=True)
class Point:
    """One evaluation.

    Attributes:
        batch: batches trained so far.
        epoch: epochs completed.
        seconds: time spent training so far.
        value: the metric.
    """

    batch: int
    epoch: int
    seconds: float
    value: float


@dataclass(slots=True)
class Record:
    """One run of an ablation.

    Attributes:
        arm: name of its arm.
        seed: its seed.
        conditions: what must be equal for runs to be compared: budget, metric, clock, methods.
        points: its evaluations, in order.
        batches: how many batches it trained.
        seconds: how long training took, evaluation left out.
        ended: why it ended: ``'budget'``, ``'target'``, or ``'max_duration'`` where that came
            before a budget of time.
        error: what it failed with; empty if it did not.
    """

    arm: str
    seed: int
    conditions: dict[str, Any]
    points: list[Point] = field(default_factory=list)
    batches: int = 0
    seconds: float = 0.0
    ended: str = ""
    error: str = ""

    @property
    def final(self) -> float:
        """The metric at the end; NaN where the run failed."""
        return self.points[-1].value if self.points and not self.error else math.nan

    @property
    def seconds_per_batch(self) -> float:
        """Cost of a step; NaN where there was none."""
        return self.seconds / self.batches if self.batches else math.nan

    def reached(self, target: float, greater_is_better: bool) -> Point | None:
        """Return the first evaluation at which the target was met; ``None`` if it never was."""
        sign = 1 if greater_is_better else -1
        return next((p for p in self.points if sign * p.value >= sign * target), None)


class Recorder(Callback):
    """Notes what a run costs and reaches, and ends it when its budget is used up.

    Args:
        record: where to note it.
        metric: name of the metric.
        label: of which evaluator; ``None`` for any.
        clock: ``'wall'`` or ``'cpu'``.
        budget_s: seconds of training after which the run ends; ``None`` for no such limit.
        target: value of the metric at which it ends; ``None`` for none.
        greater_is_better: which way the target is met.
    """

    def __init__(
        self,
        record: Record,
        metric: str,
        *,
        label: str | None = None,
        clock: str = "wall",
        budget_s: float | None = None,
        target: float | None = None,
        greater_is_better: bool = True,
    ) -> None:
        self._record, self._metric, self._label = record, metric, label
        self._now = CLOCKS[clock]
        self._budget_s, self._target, self._sign = budget_s, target, 1 if greater_is_better else -1
        self._started = 0.0

    def fit_start(self, state: State, logger: Logger) -> None:
        """Start the clock."""
        self._started = self._now() - self._record.seconds

    def batch_end(self, state: State, logger: Logger) -> None:
        """Count the batch; end the run where time is up."""
        record = self._record
        record.batches += 1
        if self._budget_s is not None and self._now() - self._started >= self._budget_s:
            self._stop(state, "budget")

    def eval_before_all(self, state: State, logger: Logger) -> None:
        """Stop the clock."""
        self._record.seconds = self._now() - self._started

    def eval_end(self, state: State, logger: Logger) -> None:
        """Note the metric."""
        if self._label is not None and state.dataloader_label != self._label:
            return
        values = state.eval_metrics.get(state.dataloader_label or "", {})
        if self._metric not in values:
            if self._label is None:
                return
            raise unknown_name(f"metric of evaluator {self._label!r}", self._metric, values)
        now = state.timestamp
        value = float(state.eval_metric_values[self._metric])
        self._record.points.append(
            Point(now.batch.value, now.epoch.value, self._record.seconds, value)
        )
        if self._target is not None and self._sign * value >= self._sign * self._target:
            self._stop(state, "target")

    def eval_after_all(self, state: State, logger: Logger) -> None:
        """Let the clock go on."""
        self._started = self._now() - self._record.seconds

    def fit_end(self, state: State, logger: Logger) -> None:
        """Stop the clock for good."""
        self._record.seconds = self._now() - self._started

    def _stop(self, state: State, why: str) -> None:
        if not self._record.ended:
            self._record.ended = why
            state.stop_training()


def write_record(record: Record, path: Path) -> None:
    """Write a record as JSON, whole or not at all."""
    write_text(path, json.dumps(dataclasses.asdict(record), indent=1))


def read_record(path: Path, conditions: dict[str, Any]) -> Record:
    """Read a record back.

    Args:
        path: its file.
        conditions: what it must have been measured under.

    Raises:
        RuntimeError: the file is no record.
        ValueError: it was measured under other conditions.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
        found["points"] = [Point(**point) for point in found["points"]]
        record = Record(**found)
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptCheckpointError(
            f"{str(path)!r} is no record of an ablation ({error}); remove it to run it again"
        ) from error
    for name, wanted in conditions.items():
        if record.conditions.get(name) != wanted:
            raise ConfigError(
                f"{str(path)!r} was measured with {name}={record.conditions.get(name)!r}, and this "
                f"ablation has {name}={wanted!r}; use another folder, or remove the file"
            )
    return record
