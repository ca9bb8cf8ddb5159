"""Merge traces in Chrome's format, of several ranks and several profilers, into one."""

from __future__ import annotations

import gzip
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any, cast

from composer.errors import DataError
from composer.utils.atomic import atomic_write

__all__ = ["OFFSET_KEY", "merge_traces"]

StrPath = str | pathlib.Path
Event = dict[str, Any]

# Nanoseconds since 1970 from which the times in a file count; PyTorch's name for it.
BASE_KEY = "baseTimeNanoseconds"
# By how much the clock of the file's rank is ahead of rank 0's, in nanoseconds.
OFFSET_KEY = "composerClockOffsetNanoseconds"
# Kinds of events that connect others across processes by a number of their own.
_FLOWS = ("s", "t", "f")


def merge_traces(output_file: StrPath, *trace_files: StrPath) -> None:
    """Merge traces into one file.

    Times are put on one clock. Processes keep their names; their numbers, which may be the same in
    several files, are replaced.

    Args:
        output_file: the file to write; it may be one of those that are read.
        trace_files: the files to merge, compressed with gzip or not, in the order to show.

    Raises:
        ValueError: a file that is no trace.
    """
    traces = [_read(path) for path in trace_files]
    starts = [_start_of(trace) for trace in traces]
    base = min((start for start in starts if start), default=0)
    numbers: dict[tuple[int, Any], int] = {}
    merged: list[Event] = []
    for index, (trace, start) in enumerate(zip(traces, starts, strict=True)):
        shift_us = (start - base) / 1000 if start else 0.0
        merged.extend(_moved(trace, index, shift_us, numbers))
    merged.extend(_in_order(numbers))
    with atomic_write(output_file, "w", durable=False) as file:
        json.dump({"traceEvents": merged, BASE_KEY: base, "displayTimeUnit": "ms"}, file)


def _read(path: StrPath) -> dict[str, Any]:
    opened: Any = gzip.open if os.fspath(path).endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8") as file:
        try:
            trace = json.load(file)
        except ValueError as error:
            raise DataError(f"{os.fspath(path)!r} is no trace: {error}") from error
    if isinstance(trace, list):  # Chrome's format allows the bare list of events
        return {"traceEvents": trace}
    if not isinstance(trace, dict) or "traceEvents" not in trace:
        raise DataError(f"{os.fspath(path)!r} is no trace: it has no 'traceEvents'")
    return cast("dict[str, Any]", trace)


def _start_of(trace: dict[str, Any]) -> int:
    """Return when a file's times begin on rank 0's clock; 0 if it does not say."""
    base = int(trace.get(BASE_KEY, 0))
    return base - int(trace.get(OFFSET_KEY, 0)) if base else 0


def _moved(
    trace: dict[str, Any], index: int, shift_us: float, numbers: dict[tuple[int, Any], int]
) -> Iterator[Event]:
    for event in trace["traceEvents"]:
        moved = dict(event)
        if "ts" in moved:
            moved["ts"] = moved["ts"] + shift_us
        if "pid" in moved:
            moved["pid"] = numbers.setdefault((index, event["pid"]), len(numbers))
        if moved.get("ph") in _FLOWS and "id" in moved:
            moved["id"] = f"{index}.{moved['id']}"
        # The order is given anew for all processes together.
        if moved.get("name") != "process_sort_index":
            yield moved


def _in_order(numbers: dict[tuple[int, Any], int]) -> Iterator[Event]:
    for number in numbers.values():
        args = {"sort_index": number}
        yield {"name": "process_sort_index", "ph": "M", "pid": number, "tid": 0, "args": args}
