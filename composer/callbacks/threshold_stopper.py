"""Stop training when a metric is good enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from composer.callbacks._monitored import TRAIN_LABEL, choose_comparison, is_better, read_metric
from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State

__all__ = ["ThresholdStopper"]


class ThresholdStopper(Callback):
    """Stops training when a metric passes a threshold.

    Args:
        monitor: name of the metric; for ``'train'`` also that of a loss.
        dataloader_label: ``'train'``, or the label of the evaluator whose metric it is.
        threshold: the value to pass.
        comp: ``'less'`` or ``'greater'``, the direction in which it is passed, or a function
            ``f(value, threshold)``. By default less where the name contains loss, error or
            perplexity.
        stop_on_batch: whether a training metric is looked at after each batch rather than at the
            end of each epoch.

    Raises:
        ValueError: an unknown ``comp``.
    """

    def __init__(
        self,
        monitor: str,
        dataloader_label: str,
        threshold: float,
        *,
        comp: str | Callable[[Any, Any], Any] | None = None,
        stop_on_batch: bool = False,
    ) -> None:
        self.monitor = monitor
        self.dataloader_label = dataloader_label
        self.threshold = threshold
        self.comp = choose_comparison(comp, monitor)
        self.stop_on_batch = stop_on_batch

    def eval_end(self, state: State, logger: Logger) -> None:
        """Look at an evaluator's metric."""
        del logger
        if self.dataloader_label == state.dataloader_label:
            self._stop_if_passed(state)

    def epoch_end(self, state: State, logger: Logger) -> None:
        """Look at a training metric."""
        del logger
        if self.dataloader_label == TRAIN_LABEL:
            self._stop_if_passed(state)

    def batch_end(self, state: State, logger: Logger) -> None:
        """Look at a training metric, with ``stop_on_batch``."""
        del logger
        if self.stop_on_batch and self.dataloader_label == TRAIN_LABEL:
            self._stop_if_passed(state)

    def _stop_if_passed(self, state: State) -> None:
        value = read_metric(state, self.dataloader_label, self.monitor)
        if is_better(self.comp, value, self.threshold):
            state.stop_training()
