"""Records PyTorch's operations and kernels with ``torch.profiler``."""

from __future__ import annotations

import logging
import os
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.naming import (
    ensure_folder_has_no_conflicting_files,
    format_name_with_dist,
    format_name_with_dist_and_time,
)
from composer.core.state import State
from composer.errors import StateError
from composer.profiler._trace_files import NewestFiles
from composer.profiler.profiler_action import ProfilerAction
from composer.profiler.utils import export_memory_timeline_html

__all__ = ["TorchProfiler"]

log = logging.getLogger(__name__)


class TorchProfiler(Callback):
    """Writes a trace of PyTorch's operations for every cycle of the profiler's schedule.

    The files open in a browser at ui.perfetto.dev or chrome://tracing, and are given to the
    profiler's trace handlers.

    Args:
        folder: where traces are written; ``{run_name}`` and ranks are filled in.
        filename: their names; counters such as ``{batch}`` are filled in as well.
        remote_file_name: their names for logger destinations that keep files; ``None`` for not at
            all.
        memory_filename: names of pages that show memory over time by kind; ``None`` for none.
            Needs ``profile_memory``, ``record_shapes``, ``with_stack`` and matplotlib.
        memory_remote_file_name: the same for logger destinations that keep files.
        overwrite: whether existing files may be replaced.
        use_gzip: whether traces are compressed; the name then gets ``.gz`` if it lacks it.
        record_shapes: whether shapes of tensors are recorded.
        profile_memory: whether allocations are recorded.
        with_stack: whether Python stacks are recorded; slow.
        with_flops: whether floating point operations are estimated.
        num_traces_to_keep: how many of the newest traces to keep; -1 for all.

    Raises:
        ValueError: an argument that cannot work.
    """

    def __init__(
        self,
        folder: str = "{run_name}/torch_traces",
        filename: str = "rank{rank}.{batch}.pt.trace.json",
        remote_file_name: str | None = "{run_name}/torch_traces/rank{rank}.{batch}.pt.trace.json",
        memory_filename: str | None = None,
        memory_remote_file_name: str
        | None = "{run_name}/torch_memory_traces/rank{rank}.{batch}.pt.trace.memory.html",
        overwrite: bool = False,
        use_gzip: bool = False,
        record_shapes: bool = False,
        profile_memory: bool = True,
        with_stack: bool = False,
        with_flops: bool = True,
        num_traces_to_keep: int = -1,
    ) -> None:
        self.folder = folder
        self.filename = _zipped(filename, use_gzip)
        self.remote_file_name = (
            None if remote_file_name is None else _zipped(remote_file_name, use_gzip)
        )
        self.memory_filename = memory_filename
        self.memory_remote_file_name = memory_remote_file_name
        self.overwrite = overwrite
        self.record_shapes = record_shapes
        self.profile_memory = profile_memory
        self.with_stack = with_stack
        self.with_flops = with_flops
        self.saved_traces = NewestFiles(num_traces_to_keep)
        self.profiler: profile | None = None
        self._is_recording = False

    def init(self, state: State, logger: Logger) -> None:
        """Check that there is a profiler to follow."""
        del logger
        if state.profiler is None:
            raise StateError("TorchProfiler follows a Profiler's schedule; give the Trainer one")

    def fit_start(self, state: State, logger: Logger) -> None:
        """Refuse a folder that holds later traces: they are another run's."""
        del logger
        if not self.overwrite:
            folder = format_name_with_dist(self.folder, state.run_name)
            name = format_name_with_dist(self.filename, state.run_name)
            ensure_folder_has_no_conflicting_files(folder, name, state.timestamp)

    def batch_start(self, state: State, logger: Logger) -> None:
        """Get ready or begin to record, as the schedule says."""
        del logger
        action = _action_of(state)
        if action is not ProfilerAction.SKIP and self.profiler is None:
            self.profiler = self._make(state)
            self.profiler.prepare_trace()
        if action in _RECORDING and self.profiler is not None and not self._is_recording:
            self.profiler.start_trace()
            self._is_recording = True

    def batch_end(self, state: State, logger: Logger) -> None:
        """Write what was recorded, at the end of a cycle."""
        if _action_of(state) is ProfilerAction.ACTIVE_AND_SAVE:
            self._save(state, logger)

    def epoch_end(self, state: State, logger: Logger) -> None:
        """Write what was recorded if the epoch has cut the cycle off."""
        self._save(state, logger)

    def close(self, state: State, logger: Logger) -> None:
        """Write what was recorded if the run has ended in a cycle."""
        self._save(state, logger)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "profiler": None, "_is_recording": False}

    def _make(self, state: State) -> profile:
        activities = [ProfilerActivity.CPU]
        if state.device.torch_device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        return profile(
            activities=activities,
            record_shapes=self.record_shapes,
            profile_memory=self.profile_memory,
            with_stack=self.with_stack,
            with_flops=self.with_flops,
        )

    def _save(self, state: State, logger: Logger) -> None:
        finished, self.profiler = self.profiler, None
        was_recording, self._is_recording = self._is_recording, False
        if finished is None or not was_recording:
            return
        finished.stop_trace()
        path = _filled(os.path.join(self.folder, self.filename), state)
        self._check_is_free(path)
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        finished.export_chrome_trace(path)
        state.profiler.record_chrome_json_trace_file(path)  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
        if self.remote_file_name is not None:
            logger.upload_file(self.remote_file_name, path, overwrite=self.overwrite)
        self.saved_traces.add(path)
        if self.memory_filename is not None:
            self._save_memory(finished, state, logger)

    def _save_memory(self, finished: profile, state: State, logger: Logger) -> None:
        path = _filled(os.path.join(self.folder, str(self.memory_filename)), state)
        self._check_is_free(path)
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        device = state.device.torch_device
        export_memory_timeline_html(finished, path, device=str(torch.device(device)))
        if self.memory_remote_file_name is not None:
            logger.upload_file(self.memory_remote_file_name, path, overwrite=self.overwrite)

    def _check_is_free(self, path: str) -> None:
        if not self.overwrite and os.path.lexists(path):
            raise FileExistsError(
                f"the trace {path!r} exists. Use another folder, or torch_prof_overwrite=True."
            )


_RECORDING = (ProfilerAction.ACTIVE, ProfilerAction.ACTIVE_AND_SAVE)


def _action_of(state: State) -> ProfilerAction:
    return getattr(state.profiler, "action", ProfilerAction.SKIP)


def _zipped(name: str, use_gzip: bool) -> str:
    return f"{name}.gz" if use_gzip and not name.endswith(".gz") else name


def _filled(path: str, state: State) -> str:
    return format_name_with_dist_and_time(path, state.run_name, state.timestamp)
