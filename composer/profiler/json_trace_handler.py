"""Writes traces that a browser shows, of each rank and of all together."""

from __future__ import annotations

import json
import logging
import os
import pathlib
import threading
import time
from collections.abc import Sequence
from typing import Any

from composer.core.logger import Logger
from composer.core.naming import (
    ensure_folder_has_no_conflicting_files,
    format_name_with_dist,
    format_name_with_dist_and_time,
)
from composer.core.state import State
from composer.core.time import Timestamp, TimeUnit
from composer.distributed import comm
from composer.profiler._trace_files import NewestFiles
from composer.profiler.json_trace_merger import BASE_KEY, OFFSET_KEY, merge_traces
from composer.profiler.profiler_action import ProfilerAction
from composer.profiler.trace_handler import TraceHandler
from composer.utils.atomic import atomic_write

__all__ = ["JSONTraceHandler"]

log = logging.getLogger(__name__)


class JSONTraceHandler(TraceHandler):
    """Writes what is recorded in Chrome's trace format, at the end of each cycle.

    Every rank writes a file of its own. Rank 0 merges those of all ranks, PyTorch's traces
    included, on one clock. They open at ui.perfetto.dev or chrome://tracing.

    Args:
        folder: where files are written; ``{run_name}`` and ranks are filled in. To be merged, all
            ranks' files must be seen by rank 0.
        filename: names of the ranks' files; counters such as ``{batch}`` are filled in as well.
        remote_file_name: their names for logger destinations that keep files; ``None`` for not at
            all.
        merged_trace_filename: name of the merged file; ``None`` for none.
        merged_trace_remote_file_name: the same for logger destinations that keep files.
        overwrite: whether existing files may be replaced.
        num_traces_to_keep: how many of the newest files of a rank to keep; -1 for all. The merged
            file keeps everything.

    Raises:
        ValueError: an argument that cannot work.
    """

    def __init__(
        self,
        folder: str = "{run_name}/traces",
        filename: str = "ep{epoch}-ba{batch}-rank{rank}.json",
        remote_file_name: str | None = "{run_name}/traces/ep{epoch}-ba{batch}-rank{rank}.json",
        merged_trace_filename: str | None = "merged_trace.json",
        merged_trace_remote_file_name: str | None = "{run_name}/traces/merged_trace.json",
        *,
        overwrite: bool = False,
        num_traces_to_keep: int = -1,
    ) -> None:
        self.folder = folder
        self.filename = filename
        self.remote_file_name = remote_file_name
        self.merged_trace_filename = merged_trace_filename
        self.merged_trace_remote_file_name = merged_trace_remote_file_name
        self.overwrite = overwrite
        self.saved_traces = NewestFiles(num_traces_to_keep)
        self._events: list[dict[str, Any]] = []
        self._other_files: list[str] = []
        self._base_ns = time.time_ns()
        self._offset_ns = 0
        self._has_merged = False

    def init(self, state: State, logger: Logger) -> None:
        """Compare this rank's clock with rank 0's."""
        del state, logger
        self._offset_ns = _clock_offset()

    def fit_start(self, state: State, logger: Logger) -> None:
        """Refuse a folder that holds later traces: they are another run's."""
        del logger
        if self.overwrite:
            return
        folder = format_name_with_dist(self.folder, state.run_name)
        name = format_name_with_dist(self.filename, state.run_name)
        ensure_folder_has_no_conflicting_files(folder, name, state.timestamp)
        merged = self._merged_path(state)
        if merged is not None and not self._has_merged and os.path.lexists(merged):
            raise FileExistsError(
                f"the merged trace {merged!r} exists. Use another folder, or overwrite=True."
            )

    def batch_start(self, state: State, logger: Logger) -> None:
        """Show in the trace which batch begins."""
        del logger
        if getattr(state.profiler, "action", ProfilerAction.SKIP) is not ProfilerAction.SKIP:
            batch = state.timestamp.count(TimeUnit.BATCH)
            self.process_instant_event(f"batch {batch}", (), state.timestamp, time.time_ns())

    def batch_end(self, state: State, logger: Logger) -> None:
        """Write and merge, at the end of a cycle; all ranks come here together."""
        if getattr(state.profiler, "action", None) is ProfilerAction.ACTIVE_AND_SAVE:
            self._save(state, logger)

    def process_duration_event(
        self,
        name: str,
        categories: Sequence[str],
        is_start: bool,
        timestamp: Timestamp,
        wall_clock_time_ns: int,
    ) -> None:
        """Take the start or the end of something that lasts; see the base class."""
        self._add("B" if is_start else "E", name, categories, wall_clock_time_ns, _args(timestamp))

    def process_instant_event(
        self,
        name: str,
        categories: Sequence[str],
        timestamp: Timestamp,
        wall_clock_time_ns: int,
    ) -> None:
        """Take something that happens at one moment; see the base class."""
        self._add("i", name, categories, wall_clock_time_ns, _args(timestamp), s="t")

    def process_counter_event(
        self,
        name: str,
        categories: Sequence[str],
        timestamp: Timestamp,
        wall_clock_time_ns: int,
        values: dict[str, int | float],
    ) -> None:
        """Take numbers; see the base class."""
        del timestamp
        self._add("C", name, categories, wall_clock_time_ns, values)

    def process_chrome_json_trace_file(self, filepath: pathlib.Path) -> None:
        """Merge a file with this rank's own."""
        self._other_files.append(str(filepath))

    def _add(
        self, kind: str, name: str, categories: Sequence[str], at_ns: int, args: Any, **more: Any
    ) -> None:
        event = {
            "name": name,
            "cat": ",".join(categories),
            "ph": kind,
            "ts": (at_ns - self._base_ns) / 1000,
            "pid": comm.get_global_rank(),
            "tid": threading.get_ident(),
            "args": args,
            **more,
        }
        self._events.append(event)

    def _save(self, state: State, logger: Logger) -> None:
        events, self._events = self._events, []
        others, self._other_files = self._other_files, []
        path = os.path.join(self.folder, self.filename)
        path = format_name_with_dist_and_time(path, state.run_name, state.timestamp)
        trace = {
            "traceEvents": [*_names_of_this_rank(), *events],
            BASE_KEY: self._base_ns,
            OFFSET_KEY: self._offset_ns,
            "displayTimeUnit": "ms",
        }
        with atomic_write(path, "w", overwrite=self.overwrite, durable=False) as file:
            json.dump(trace, file)
        if self.remote_file_name is not None:
            logger.upload_file(self.remote_file_name, path, overwrite=self.overwrite)
        if self.merged_trace_filename is not None:
            self._merge([path, *others], state, logger)
        self.saved_traces.add(path)

    def _merge(self, own: list[str], state: State, logger: Logger) -> None:
        """Merge all ranks' files on rank 0; all ranks must call this."""
        by_rank = comm.all_gather_object(own)
        merged = self._merged_path(state)
        if comm.get_global_rank() == 0 and merged is not None:
            paths = [path for each in by_rank for path in each]
            seen = [path for path in paths if os.path.exists(path)]
            if len(seen) < len(paths):
                log.warning(
                    "%d traces of other machines are not seen here and not merged, %r is one",
                    len(paths) - len(seen),
                    next(path for path in paths if path not in seen),
                )
            merge_traces(merged, *([merged] if self._has_merged else []), *seen)
            if self.merged_trace_remote_file_name is not None:
                logger.upload_file(self.merged_trace_remote_file_name, merged, overwrite=True)
        self._has_merged = True
        # Nobody may delete old files while they are being read.
        comm.barrier()

    def _merged_path(self, state: State) -> str | None:
        if self.merged_trace_filename is None:
            return None
        path = os.path.join(self.folder, self.merged_trace_filename)
        return format_name_with_dist(path, state.run_name)


def _args(timestamp: Timestamp) -> dict[str, int]:
    count = timestamp.count
    return {"epoch": count(TimeUnit.EPOCH), "batch": count(TimeUnit.BATCH)}


def _names_of_this_rank() -> list[dict[str, Any]]:
    rank = comm.get_global_rank()
    common = {"ph": "M", "pid": rank, "tid": 0}
    threads = [
        {"name": "thread_name", **common, "tid": each.ident, "args": {"name": each.name}}
        for each in threading.enumerate()
    ]
    return [
        {"name": "process_name", **common, "args": {"name": f"composer, rank {rank}"}},
        {"name": "process_sort_index", **common, "args": {"sort_index": rank}},
        *threads,
    ]


def _clock_offset() -> int:
    """Return by how many nanoseconds this machine's clock is ahead of rank 0's.

    All ranks look at their clocks when a barrier opens, so it is as exact as that is sudden. Ranks
    of one machine have one clock.
    """
    if comm.get_world_size() == 1:
        return 0
    comm.barrier()
    times = comm.all_gather_object((comm.get_node_rank(), time.time_ns()))
    (first_node, first), (node, own) = times[0], times[comm.get_global_rank()]
    return 0 if node == first_node else own - first
