"""Profiles a run: says when to record, and hands out markers."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from composer.core.callback import Callback
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.core.time import TimeUnit
from composer.errors import ConfigError, StateError
from composer.profiler.marker import Marker
from composer.profiler.profiler_action import ProfilerAction
from composer.profiler.system_profiler import SystemProfiler
from composer.profiler.torch_profiler import TorchProfiler
from composer.profiler.trace_handler import TraceHandler
from composer.utils.iter_helpers import ensure_tuple

__all__ = ["Profiler"]

_NOTHING = nullcontext()
_RECORDED = (ProfilerAction.WARMUP, ProfilerAction.ACTIVE, ProfilerAction.ACTIVE_AND_SAVE)


class Profiler(Callback):
    """Records where the time of chosen batches goes; given to the Trainer as ``profiler``.

    Every event, and every call of a method or callback, becomes a span in the traces; your own code
    adds spans through :meth:`marker`. PyTorch's profiler adds its operations, the system profiler
    how busy the machine is.

    Args:
        schedule: says for a state what to do in the batch it stands before; see
            :func:`cyclic_schedule`.
        trace_handlers: what takes the records, such as :class:`JSONTraceHandler`.
        sys_prof_cpu: whether to record how busy the processor is.
        sys_prof_memory: whether to record memory.
        sys_prof_disk: whether to record reads and writes.
        sys_prof_net: whether to record network traffic.
        sys_prof_stats_thread_interval_seconds: how often, in seconds.
        torch_prof_folder: where PyTorch's traces go; see :class:`TorchProfiler`, also for the rest.
        torch_prof_filename: their names.
        torch_prof_remote_file_name: their names for logger destinations that keep files.
        torch_prof_memory_filename: names of memory timelines; ``None`` for none.
        torch_prof_memory_remote_file_name: the same for logger destinations that keep files.
        torch_prof_overwrite: whether existing files may be replaced.
        torch_prof_use_gzip: whether traces are compressed.
        torch_prof_record_shapes: whether shapes of tensors are recorded.
        torch_prof_profile_memory: whether allocations are recorded.
        torch_prof_with_stack: whether Python stacks are recorded.
        torch_prof_with_flops: whether floating point operations are estimated.
        torch_prof_num_traces_to_keep: how many of the newest traces to keep; -1 for all.

    With none of the last four kinds of record wanted, PyTorch's profiler is left out.

    Raises:
        ValueError: an argument that cannot work.
    """

    def __init__(
        self,
        schedule: Callable[[State], ProfilerAction],
        trace_handlers: TraceHandler | Sequence[TraceHandler],
        sys_prof_cpu: bool = True,
        sys_prof_memory: bool = False,
        sys_prof_disk: bool = False,
        sys_prof_net: bool = False,
        sys_prof_stats_thread_interval_seconds: float = 0.5,
        torch_prof_folder: str = "{run_name}/torch_traces",
        torch_prof_filename: str = "rank{rank}.{batch}.pt.trace.json",
        torch_prof_remote_file_name: str
        | None = "{run_name}/torch_traces/rank{rank}.{batch}.pt.trace.json",
        torch_prof_memory_filename: str | None = None,
        torch_prof_memory_remote_file_name: str
        | None = "{run_name}/torch_memory_traces/rank{rank}.{batch}.pt.memory_trace.html",
        torch_prof_overwrite: bool = False,
        torch_prof_use_gzip: bool = False,
        torch_prof_record_shapes: bool = False,
        torch_prof_profile_memory: bool = True,
        torch_prof_with_stack: bool = False,
        torch_prof_with_flops: bool = True,
        torch_prof_num_traces_to_keep: int = -1,
    ) -> None:
        self.schedule = schedule
        self._trace_handlers = list(ensure_tuple(trace_handlers))
        self._bound: list[Callback] = []
        if sys_prof_cpu or sys_prof_memory or sys_prof_disk or sys_prof_net:
            self._bound.append(
                SystemProfiler(
                    sys_prof_cpu, sys_prof_memory, sys_prof_disk, sys_prof_net,
                    sys_prof_stats_thread_interval_seconds,
                )
            )  # fmt: skip
        if (
            torch_prof_record_shapes
            or torch_prof_profile_memory
            or torch_prof_with_stack
            or torch_prof_with_flops
        ):
            self._bound.append(
                TorchProfiler(
                    torch_prof_folder, torch_prof_filename, torch_prof_remote_file_name,
                    torch_prof_memory_filename, torch_prof_memory_remote_file_name,
                    overwrite=torch_prof_overwrite, use_gzip=torch_prof_use_gzip,
                    record_shapes=torch_prof_record_shapes,
                    profile_memory=torch_prof_profile_memory,
                    with_stack=torch_prof_with_stack, with_flops=torch_prof_with_flops,
                    num_traces_to_keep=torch_prof_num_traces_to_keep,
                )
            )  # fmt: skip
        self.state: State | None = None
        self.action = ProfilerAction.SKIP
        # Epoch, and batch in it, at which the run was resumed.
        self.resumed_at = (0, 0)
        self._spans: dict[str, Marker] = {}
        self._open_events: list[tuple[str, Marker]] = []

    @property
    def trace_handlers(self) -> list[TraceHandler]:
        """What takes the records; a list that may be added to."""
        return self._trace_handlers

    @trace_handlers.setter
    def trace_handlers(self, trace_handlers: TraceHandler | Sequence[TraceHandler]) -> None:
        # In place: markers that were handed out hold the same list.
        self._trace_handlers[:] = ensure_tuple(trace_handlers)

    def bind_to_state(self, state: State) -> None:
        """Join a run: become one of its callbacks, together with what this profiler is made of.

        Args:
            state: the run's state.

        Raises:
            RuntimeError: it belongs to another run already.
        """
        if self.state is not None:
            raise StateError("this profiler has a run already; make one for each Trainer")
        self.state = state
        state.callbacks.extend([self, *self._bound, *self._trace_handlers])

    def marker(
        self,
        name: str,
        actions: Sequence[ProfilerAction] = _RECORDED,
        record_instant_on_start: bool = False,
        record_instant_on_finish: bool = False,
        categories: Sequence[str] = (),
    ) -> Marker:
        """Make a marker; see :class:`Marker`.

        Args:
            name: what it marks.
            actions: during which actions it records.
            record_instant_on_start: whether a moment is recorded where a span starts.
            record_instant_on_finish: whether a moment is recorded where a span ends.
            categories: what the name belongs to.

        Raises:
            RuntimeError: the profiler has no run yet; the Trainer gives it one.
        """
        if self.state is None:
            raise StateError(
                "a profiler hands out markers once it has a run: give it to the Trainer first"
            )
        if isinstance(actions, str):
            raise ConfigError(f"actions={actions!r} must be a sequence of ProfilerActions")
        wanted = frozenset(map(ProfilerAction, actions))
        return Marker(
            self.state,
            lambda state: self.action in wanted,
            self._trace_handlers,
            name,
            record_instant_on_start,
            record_instant_on_finish,
            categories,
        )

    def span(self, name: str) -> AbstractContextManager[object]:
        """Return the marker around a call of a plug-in; used by the engine."""
        if name.startswith(f"{type(self).__name__}/"):
            # Spans of events begin and end in calls of this very object, so those can be none.
            return _NOTHING
        if name not in self._spans:
            self._spans[name] = self.marker(name, categories=("plugin",))
        return self._spans[name]

    def record_chrome_json_trace_file(self, filepath: str | pathlib.Path) -> None:
        """Give a finished file in Chrome's trace format to every handler.

        Args:
            filepath: the file.
        """
        for handler in self._trace_handlers:
            handler.process_chrome_json_trace_file(pathlib.Path(filepath))

    def run_event(self, event: Event, state: State, logger: Logger) -> None:
        """Record the event, and choose the action of the batch that comes."""
        if event is Event.AFTER_LOAD:
            self.after_load(state, logger)
        elif event is Event.BEFORE_DATALOADER:
            self._choose_action(state)
        if event.is_before_event:
            self._start_event(event)
        elif event.is_after_event:
            self._finish_event(event)
        if event is Event.FIT_END:
            self.action = ProfilerAction.SKIP

    def after_load(self, state: State, logger: Logger) -> None:
        """Note where the run goes on, for schedules that count from there."""
        del logger
        now = state.timestamp
        self.resumed_at = (now.count(TimeUnit.EPOCH), now.batch_in_epoch.value)

    def _choose_action(self, state: State) -> None:
        length = state.dataloader_len
        if length is not None and state.timestamp.batch_in_epoch >= length:
            self.action = ProfilerAction.SKIP  # no batch comes
        else:
            self.action = ProfilerAction(self.schedule(state))

    def _start_event(self, event: Event) -> None:
        name = event.canonical_name
        key = f"event/{name}"
        if key not in self._spans:
            self._spans[key] = self.marker(key, categories=("event",))
        self._spans[key].start()
        self._open_events.append((name, self._spans[key]))

    def _finish_event(self, event: Event) -> None:
        name = event.canonical_name
        if not any(name == opened for opened, _ in self._open_events):
            return
        while self._open_events:
            # What was not closed on its own ends with what it lies in: the last wait for data
            # brings no batch.
            opened, marker = self._open_events.pop()
            marker.finish()
            if opened == name:
                return

    def close(self, state: State, logger: Logger) -> None:
        """Record nothing more."""
        del state, logger
        self.action = ProfilerAction.SKIP

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "state": None, "_spans": {}, "_open_events": []}
