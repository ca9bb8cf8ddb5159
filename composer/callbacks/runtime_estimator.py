"""Estimate how long the run will still take."""

from __future__ import annotations

import time
from typing import Any

from composer.callbacks.speed_monitor import SECONDS
from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.core.time import TimeUnit
from composer.errors import ConfigError, unknown_name

__all__ = ["RuntimeEstimator"]

REMAINING = "time/remaining_estimate"


class RuntimeEstimator(Callback):
    """Logs ``time/remaining_estimate``: training and evaluations that are still to come.

    The speed is that of all batches since the start of ``fit`` but the first ones. Evaluations are
    expected as often as they have come so far, each taking as long as those of its label have
    taken on average; before the first one none are expected. The unit is logged as hyperparameter
    ``time/remaining_estimate_unit``.

    Args:
        skip_batches: how many batches at the start not to measure, at least 0.
        time_unit: ``'seconds'``, ``'minutes'``, ``'hours'`` or ``'days'``.

    Raises:
        ValueError: an argument that cannot work.
    """

    def __init__(self, skip_batches: int = 1, time_unit: str = "hours") -> None:
        if skip_batches < 0:
            raise ConfigError(f"skip_batches={skip_batches!r} must be at least 0")
        if time_unit not in SECONDS:
            raise unknown_name("time_unit", time_unit, SECONDS)
        self.skip_batches = skip_batches
        self.time_unit = time_unit
        # Seconds of each evaluation so far, by label: (how many, together).
        self.evaluations: dict[str, tuple[int, float]] = {}
        self._batches_left_out = skip_batches
        self._began: tuple[float, float] | None = None
        self._eval_began = 0.0
        self._eval_s_since_start = 0.0

    def init(self, state: State, logger: Logger) -> None:
        """Log the unit."""
        del state
        logger.log_hyperparameters({f"{REMAINING}_unit": self.time_unit})

    def fit_start(self, state: State, logger: Logger) -> None:
        """Begin to measure anew."""
        del state, logger
        self._batches_left_out = self.skip_batches
        self._began = None
        self._eval_s_since_start = 0.0

    def batch_start(self, state: State, logger: Logger) -> None:
        """Start the clock after the batches that are left out."""
        del logger
        if self._began is not None:
            return
        if self._batches_left_out > 0:
            self._batches_left_out -= 1
            return
        done = _share_done(state)
        if done is not None:
            self._began = (time.perf_counter(), done)

    def batch_end(self, state: State, logger: Logger) -> None:
        """Log the estimate."""
        if self._began is None or not logger.listens_to_metrics:
            return
        remaining_s = self._estimate(state, *self._began)
        if remaining_s is not None:
            logger.log_metrics({REMAINING: remaining_s / SECONDS[self.time_unit]})

    def eval_start(self, state: State, logger: Logger) -> None:
        """Note when an evaluator begins."""
        del state, logger
        self._eval_began = time.perf_counter()

    def eval_end(self, state: State, logger: Logger) -> None:
        """Note how long the evaluator took."""
        del logger
        seconds = time.perf_counter() - self._eval_began
        label = state.dataloader_label or ""
        count, total = self.evaluations.get(label, (0, 0.0))
        self.evaluations[label] = (count + 1, total + seconds)
        self._eval_s_since_start += seconds

    def state_dict(self) -> dict[str, Any]:
        """Return how long evaluations have taken."""
        return {"evaluations": {label: list(each) for label, each in self.evaluations.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Know how long evaluations took in an interrupted run."""
        self.evaluations = {label: (n, s) for label, (n, s) in state["evaluations"].items()}

    def _estimate(self, state: State, began: float, done_then: float) -> float | None:
        done = _share_done(state)
        if done is None or done <= done_then:
            return None
        training_s = time.perf_counter() - began - self._eval_s_since_start
        left = max(0.0, 1.0 - done)
        evaluating_s = sum(
            # As many a share of the run as so far; what remains is rounded to whole ones.
            round(count * left / done) * total / count
            for count, total in self.evaluations.values()
        )
        return left * training_s / (done - done_then) + evaluating_s


def _share_done(state: State) -> float | None:
    """Return the share of ``max_duration`` that is done, batch by batch where that is known."""
    limit, length = state.max_duration, state.dataloader_len
    if limit is None:
        return None
    if limit.unit is TimeUnit.EPOCH:
        if length is None or not limit.value or not length.value:
            return None
        return state.timestamp.count(TimeUnit.BATCH) / (limit.value * length.value)
    elapsed = state.get_elapsed_duration()
    return None if elapsed is None else elapsed.value
