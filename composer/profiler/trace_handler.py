"""The base of everything that takes what a profiler records."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from composer.core.callback import Callback
from composer.core.time import Timestamp

__all__ = ["TraceHandler"]


class TraceHandler(Callback):
    """Takes what a profiler records. Every method does nothing until overridden.

    A handler is a callback too: it writes on events.
    """

    def process_duration_event(
        self,
        name: str,
        categories: Sequence[str],
        is_start: bool,
        timestamp: Timestamp,
        wall_clock_time_ns: int,
    ) -> None:
        """Take the start or the end of something that lasts.

        Args:
            name: what it is.
            categories: what it belongs to.
            is_start: whether it begins.
            timestamp: where training stands.
            wall_clock_time_ns: nanoseconds since 1970.
        """

    def process_instant_event(
        self,
        name: str,
        categories: Sequence[str],
        timestamp: Timestamp,
        wall_clock_time_ns: int,
    ) -> None:
        """Take something that happens at one moment; arguments as above."""

    def process_counter_event(
        self,
        name: str,
        categories: Sequence[str],
        timestamp: Timestamp,
        wall_clock_time_ns: int,
        values: dict[str, int | float],
    ) -> None:
        """Take numbers.

        Args:
            name: what is counted.
            categories: what it belongs to.
            timestamp: where training stands.
            wall_clock_time_ns: nanoseconds since 1970.
            values: the numbers, by name.
        """

    def process_chrome_json_trace_file(self, filepath: pathlib.Path) -> None:
        """Take a finished file in Chrome's trace format, such as PyTorch's profiler writes.

        Args:
            filepath: the file; it may be compressed with gzip.
        """
