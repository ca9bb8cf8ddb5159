"""Metrics of the batches that are trained on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch

from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.models.base import ComposerModel
from composer.utils.model_helpers import model_eval_mode

__all__ = ["TrainMetrics", "compute"]

_AUGMENTING_EVENTS = (
    Event.BEFORE_FORWARD,
    Event.AFTER_FORWARD,
    Event.BEFORE_LOSS,
    Event.AFTER_LOSS,
)


class TrainMetrics:
    """Updates the training metrics with each microbatch and logs them with each batch.

    Args:
        state: the run's state; its ``train_metrics`` are updated.
        logger: where values go.
        listens: tells whether a method acts on an event and so may change the batch.
    """

    def __init__(self, state: State, logger: Logger, listens: Callable[[Event], bool]) -> None:
        self._state = state
        self._logger = logger
        self._listens = listens

    def reset(self) -> None:
        """Begin a batch."""
        for metric in (self._state.train_metrics or {}).values():
            metric.reset()

    def keep(self, batch: Any) -> Any:
        """Return the batch as it is now, for :meth:`update` after methods have changed it.

        Methods replace parts of a batch and never write into its tensors, so containers are copied
        and tensors are not.
        """
        if not self._state.train_metrics or not any(map(self._listens, _AUGMENTING_EVENTS)):
            return batch
        return batch if isinstance(batch, torch.Tensor) else copy.copy(batch)

    def update(self, batch: Any, outputs: Any) -> None:
        """Add a microbatch.

        Args:
            batch: the microbatch, as :meth:`keep` returned it.
            outputs: what the model made of it in training.
        """
        if self._state.train_metrics:
            self._update(self._state.train_metrics, batch, outputs)

    @torch.no_grad()
    def _update(self, metrics: dict[str, Any], batch: Any, outputs: Any) -> None:
        model = self._state.model
        # Outputs may be gone already (FreeOutputs); the model then makes them again.
        if outputs is None or type(model).eval_forward is not ComposerModel.eval_forward:
            with model_eval_mode(model):
                outputs = model.eval_forward(batch, outputs)
        for metric in metrics.values():
            model.update_metric(batch, outputs, metric)

    def log(self) -> None:
        """Compute and log the values, where anybody listens."""
        metrics = self._state.train_metrics
        if not metrics or not self._logger.listens_to_metrics:
            return
        if any(getattr(metric, "update_called", True) for metric in metrics.values()):
            self._state.train_metric_values.update(compute(metrics))
        # Else resumed behind an epoch's last batch, whose values the checkpoint has.
        values = self._state.train_metric_values
        self._logger.log_metrics({f"metrics/train/{name}": v for name, v in values.items()})


def compute(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics' values, on their device.

    A metric with several values (``MAP`` has twelve) gives one entry for each, as ``name/value``.
    """
    values: dict[str, Any] = {}
    for name, metric in metrics.items():
        value = metric.compute()
        if isinstance(value, Mapping):
            parts = cast("Mapping[str, Any]", value)
            values.update({f"{name}/{part}": each for part, each in parts.items()})
        else:
            values[name] = value
    return values
