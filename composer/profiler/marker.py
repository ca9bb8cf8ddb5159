"""Marks what happens, and how long it takes, in the traces."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, Self, TypeVar

from composer.core.state import State
from composer.profiler.trace_handler import TraceHandler

__all__ = ["Marker"]

P = ParamSpec("P")
R = TypeVar("R")


class Marker:
    """Records moments, spans and numbers under one name; made by :meth:`Profiler.marker`.

    Use it as a context manager, as a decorator, or through its methods::

        with profiler.marker("preprocessing"): ...

        @profiler.marker("preprocessing")
        def preprocess(): ...

    Args:
        state: the run's state.
        should_record: says for a state whether to record now.
        trace_handlers: what takes the records.
        name: the name.
        record_instant_on_start: whether a moment is recorded where a span starts.
        record_instant_on_finish: whether a moment is recorded where a span ends.
        categories: what the name belongs to.
    """

    def __init__(
        self,
        state: State,
        should_record: Callable[[State], bool],
        trace_handlers: Sequence[TraceHandler],
        name: str,
        record_instant_on_start: bool,
        record_instant_on_finish: bool,
        categories: Sequence[str],
    ) -> None:
        self.state = state
        self.should_record = should_record
        self.trace_handlers = trace_handlers
        self.name = name
        self.record_instant_on_start = record_instant_on_start
        self.record_instant_on_finish = record_instant_on_finish
        self.categories = tuple(categories)
        # Whether each span that is open was recorded; recording may begin or end in between.
        self._open: list[bool] = []

    def start(self) -> None:
        """Start a span."""
        is_recorded = self.should_record(self.state)
        self._open.append(is_recorded)
        if is_recorded:
            if self.record_instant_on_start:
                self._record_instant()
            self._record_duration(is_start=True)

    def finish(self) -> None:
        """End the span started last; one that was not recorded ends unrecorded."""
        if self._open and self._open.pop():
            self._record_duration(is_start=False)
            if self.record_instant_on_finish:
                self._record_instant()

    def instant(self) -> None:
        """Record this moment."""
        if self.should_record(self.state):
            self._record_instant()

    def counter(self, values: dict[str, int | float]) -> None:
        """Record numbers, by name."""
        if self.should_record(self.state):
            for handler in self.trace_handlers:
                handler.process_counter_event(
                    self.name, self.categories, self.state.timestamp, time.time_ns(), values
                )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.finish()

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return the function with each call recorded as a span."""

        @functools.wraps(function)
        def marked(*args: Any, **kwargs: Any) -> R:
            with self:
                return function(*args, **kwargs)

        return marked

    def _record_duration(self, is_start: bool) -> None:
        now = time.time_ns()
        for handler in self.trace_handlers:
            handler.process_duration_event(
                self.name, self.categories, is_start, self.state.timestamp, now
            )

    def _record_instant(self) -> None:
        now = time.time_ns()
        for handler in self.trace_handlers:
            handler.process_instant_event(self.name, self.categories, self.state.timestamp, now)
