"""Stop training when a metric has not improved for some time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from composer.callbacks._monitored import TRAIN_LABEL, choose_comparison, is_better, read_metric
from composer.core.callback import Callback
from composer.core.interval import parse_interval
from composer.core.logger import Logger
from composer.core.state import State
from composer.core.time import Time, TimeUnit
from composer.errors import ConfigError

__all__ = ["EarlyStopper"]


class EarlyStopper(Callback):
    """Stops training when a metric has not improved for longer than ``patience``.

    A metric of an evaluator is looked at after each of its evaluations; one of training at the end
    of each epoch, and of each batch where the patience is counted in batches.

    Args:
        monitor: name of the metric, e.g. ``'MulticlassAccuracy'``; for ``'train'`` also that of a
            loss, ``'loss/train/total'``.
        dataloader_label: ``'train'``, or the label of the evaluator whose metric it is.
        comp: ``'less'`` or ``'greater'``, whichever is better, or a function ``f(new, best)``. By
            default less is better where the name contains loss, error or perplexity.
        min_delta: by how much a value must be better than the best one to count, at least 0.
        patience: how long to wait for an improvement: a number of epochs, or a time in ``'ep'`` or
            ``'ba'``. Training ends when more than that has passed.

    Raises:
        ValueError: an argument that cannot work.
    """

    def __init__(
        self,
        monitor: str,
        dataloader_label: str,
        comp: str | Callable[[Any, Any], Any] | None = None,
        min_delta: float = 0.0,
        patience: int | str | Time[int] = 1,
    ) -> None:
        if min_delta < 0:
            raise ConfigError(f"min_delta={min_delta!r} must be at least 0")
        self.monitor = monitor
        self.dataloader_label = dataloader_label
        self.comp = choose_comparison(comp, monitor)
        self.min_delta = min_delta
        self.patience = parse_interval(patience, "patience", units=(TimeUnit.EPOCH, TimeUnit.BATCH))
        self.best: float | None = None
        self.best_occurred: dict[str, int] = {}

    def eval_end(self, state: State, logger: Logger) -> None:
        """Look at an evaluator's metric."""
        del logger
        if self.dataloader_label == state.dataloader_label:
            self._update(state)

    def epoch_end(self, state: State, logger: Logger) -> None:
        """Look at a training metric."""
        del logger
        if self.dataloader_label == TRAIN_LABEL:
            self._update(state)

    def batch_end(self, state: State, logger: Logger) -> None:
        """Look at a training metric, if patience is counted in batches."""
        del logger
        if self.dataloader_label == TRAIN_LABEL and self.patience.unit is TimeUnit.BATCH:
            self._update(state)

    def state_dict(self) -> dict[str, Any]:
        """Return the best value and when it was seen."""
        return {"best": self.best, "best_occurred": self.best_occurred}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the best value of an interrupted run."""
        self.best, self.best_occurred = state["best"], dict(state["best_occurred"])

    def _update(self, state: State) -> None:
        value = read_metric(state, self.dataloader_label, self.monitor)
        if self._has_improved(value):
            self.best = value
            now = state.timestamp
            self.best_occurred = {unit.value: now.count(unit) for unit in _UNITS}
            return
        passed = state.timestamp.count(self.patience.unit)
        if passed - self.best_occurred[self.patience.unit.value] > self.patience.value:
            state.stop_training()

    def _has_improved(self, value: float) -> bool:
        # Nothing compares with NaN: a run that begins with it would never find anything better.
        if self.best is None or self.best != self.best:
            return True
        upwards = is_better(self.comp, 1.0, 0.0)
        return is_better(
            self.comp, value, self.best + (self.min_delta if upwards else -self.min_delta)
        )


_UNITS = (TimeUnit.EPOCH, TimeUnit.BATCH)
