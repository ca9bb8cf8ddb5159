"""Keeps everything that is logged, for notebooks and tests."""

from __future__ import annotations

import datetime
from collections import deque
from typing import Any

import numpy as np
import torch

from composer.core.logger import Logger
from composer.core.logger_destination import LoggerDestination
from composer.core.state import State
from composer.core.time import Timestamp, TimeUnit
from composer.errors import unknown_name
from composer.loggers._tables import table_to_json

__all__ = ["InMemoryLogger"]

# Values of more steps than these cannot be on their way from the device at once.
_NUM_REMEMBERED_STEPS = 16


class InMemoryLogger(LoggerDestination):
    """Keeps metrics, hyperparameters and tables in dicts.

    Attributes:
        data: metric name -> ``(timestamp, value)`` pairs in the order in which they were logged;
            the timestamp is that of the moment of logging.
        most_recent_values: metric name -> the value logged last.
        most_recent_timestamps: metric name -> when that was.
        hyperparameters: name -> value.
        tables: table name -> the table as JSON, ``{"columns": [...], "data": [[...], ...]}``.

    Example:
        >>> logger = InMemoryLogger()
        >>> logger.log_metrics({"loss": 0.5}, step=0)
        >>> logger.most_recent_values
        {'loss': 0.5}
    """

    is_lasting = False

    def __init__(self) -> None:
        self.data: dict[str, list[tuple[Timestamp, Any]]] = {}
        self.most_recent_values: dict[str, Any] = {}
        self.most_recent_timestamps: dict[str, Timestamp] = {}
        self.hyperparameters: dict[str, Any] = {}
        self.tables: dict[str, str] = {}
        self.state: State | None = None
        self._past: deque[Timestamp] = deque(maxlen=_NUM_REMEMBERED_STEPS)

    def init(self, state: State, logger: Logger) -> None:
        """Remember whose timestamps to keep."""
        del logger
        self.state = state

    def batch_end(self, state: State, logger: Logger) -> None:
        """Remember the timestamps for which values may still come."""
        del logger
        if state.previous_timestamp is not None:
            self._past.append(state.previous_timestamp)

    def log_hyperparameters(self, hyperparameters: dict[str, Any]) -> None:
        """Keep hyperparameters."""
        self.hyperparameters.update(hyperparameters)

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Keep values with the timestamp at which they were logged."""
        timestamp = self._timestamp_of(step)
        data = self.data
        for name, logged in metrics.items():
            # Whoever logged a tensor may go on writing into it.
            value = logged.detach().clone() if isinstance(logged, torch.Tensor) else logged
            if name not in data:
                data[name] = []
            data[name].append((timestamp, value))
            self.most_recent_values[name] = value
            self.most_recent_timestamps[name] = timestamp

    def log_table(
        self,
        columns: list[str],
        rows: list[list[Any]],
        name: str = "Table",
        step: int | None = None,
    ) -> None:
        """Keep a table, in place of an earlier one of that name."""
        del step
        self.tables[name] = table_to_json(columns, rows)

    def get_timeseries(self, metric: str) -> dict[str, np.ndarray]:
        """Return a metric's values with the counters at which they were logged.

        Args:
            metric: its name.

        Returns:
            The values under ``metric``, and under each name of a timestamp's fields (``'batch'``,
            ``'sample'``, ``'total_wct'`` in seconds, ...) that counter; arrays of shape (N,).

        Raises:
            ValueError: nothing was logged under that name.
        """
        if metric not in self.data:
            raise unknown_name("metric", metric, self.data)
        points = self.data[metric]
        series: dict[str, list[Any]] = {metric: [value for _, value in points]}
        for timestamp, _ in points:
            for field, count in timestamp.state_dict().items():
                is_clock = isinstance(count, datetime.timedelta)
                number = count.total_seconds() if is_clock else int(count)
                series.setdefault(field, []).append(number)
        return {name: np.array(values) for name, values in series.items()}

    def _timestamp_of(self, step: int | None) -> Timestamp:
        """Return the timestamp of a step that was just trained, or is being trained."""
        if self.state is None:
            return Timestamp() if step is None else Timestamp(batch=step)
        now = self.state.timestamp
        if step is None or now.count(TimeUnit.BATCH) == step:
            return now
        for past in reversed(self._past):
            if past.count(TimeUnit.BATCH) == step:
                return past
        # A step of the caller's own.
        return now.copy(batch=step)
