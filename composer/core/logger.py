"""The router between what is logged and where it goes.

Callers log tensors or numbers at any time; nothing is read from the device then.
:meth:`Logger.flush` reads everything a step produced in one copy and hands each destination one
dict per step. On an accelerator the copy is asynchronous: the loop does not wait for it, and
destinations get a step's values a moment later, in order. This file is one of the two places that
read from the device.
"""

from __future__ import annotations

import logging
import pathlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import torch

from composer.core.logger_destination import LoggerDestination
from composer.core.naming import format_name_with_dist, format_name_with_dist_and_time
from composer.utils.iter_helpers import ensure_tuple

if TYPE_CHECKING:
    import numpy as np

    from composer.core.state import State

__all__ = ["READ_DELAY", "Logger", "format_log_data_value"]

log = logging.getLogger(__name__)

# Copies that may be under way before a flush waits for the oldest: bounds both the delay of what is
# shown and the memory held.
_MAX_IN_FLIGHT = 4
# Flushes after which what was given to `Logger.read` has arrived on every rank.
READ_DELAY = _MAX_IN_FLIGHT + 1


_Reader = Callable[[dict[str, Any]], None]


class _Step:
    """Values of one step on their way to the destinations, or to whoever wants to read them."""

    __slots__ = ("metrics", "reader", "step", "tensors")

    def __init__(self, step: int, reader: _Reader | None = None) -> None:
        self.step = step
        self.reader = reader
        self.metrics: dict[str, Any] = {}
        self.tensors: list[tuple[str, torch.Tensor]] = []

    def add(self, name: str, value: Any) -> None:
        if isinstance(value, torch.Tensor) and value.numel() == 1:
            if value.is_cpu:
                # Waits for nothing, and takes the number before the tensor may change.
                value = value.item()
            else:
                self.tensors.append((name, value.detach().clone()))
        self.metrics[name] = value


class _Copy:
    """Steps whose device values are being copied to the host."""

    __slots__ = ("_event", "_host", "_places", "steps")

    def __init__(self, steps: list[_Step]) -> None:
        self.steps = steps
        self._places: list[tuple[dict[str, Any], str]] = []
        self._event: torch.cuda.Event | None = None
        self._host: torch.Tensor | None = None
        remote: list[torch.Tensor] = []
        for step in steps:
            for name, tensor in step.tensors:
                self._places.append((step.metrics, name))
                remote.append(tensor)
        if remote:
            self._start(remote)

    def _start(self, tensors: list[torch.Tensor]) -> None:
        device = tensors[0].device
        wide = torch.float32 if device.type == "mps" else torch.float64
        values = torch.stack([tensor.reshape(()).to(device, wide) for tensor in tensors])
        if device.type != "cuda":
            self._host = values.cpu()
            return
        self._host = torch.empty(values.shape, dtype=wide, pin_memory=True)
        self._host.copy_(values, non_blocking=True)
        self._event = torch.cuda.Event()
        self._event.record()

    @property
    def is_done(self) -> bool:
        return self._event is None or self._event.query()

    def wait(self) -> None:
        if self._event is not None:
            self._event.synchronize()

    def finish(self) -> list[_Step]:
        """Put the numbers of a copy that is done in their places and return the steps."""
        if self._host is not None:
            for (metrics, name), value in zip(self._places, self._host.tolist(), strict=True):
                metrics[name] = value
        return self.steps


class Logger:
    """Routes what is logged to every destination.

    Args:
        state: the run's state; its batch count is the default step.
        destinations: where logged values go.

    Attributes:
        watching_ns: time spent watching so far, in nanoseconds: in callbacks and destinations, and
            delivering what is logged.
        device_wait_ns: time spent waiting for values that the device had not computed.
    """

    def __init__(
        self,
        state: State,
        destinations: LoggerDestination | Sequence[LoggerDestination] | None = None,
    ) -> None:
        self.destinations = ensure_tuple(destinations)
        self._state = state
        self._steps: list[_Step] = []
        self._reads: list[_Step] = []
        self.watching_ns = 0
        self.device_wait_ns = 0
        self._copies: deque[_Copy] = deque()
        self._switched_off: list[LoggerDestination] = []
        self._find_takers()

    def _find_takers(self) -> None:
        self._working = [d for d in self.destinations if self.works(d)]
        self._metric_takers = [d for d in self._working if _takes(d, "log_metrics")]
        # Whether anybody takes them: if not, computing values only to log them is a waste.
        self.listens_to_metrics = bool(self._metric_takers)
        self.listens_to_traces = any(
            _takes(d, "log_traces") and getattr(d, "should_log_traces", True) for d in self._working
        )

    def works(self, destination: LoggerDestination) -> bool:
        """Return whether a destination was not switched off."""
        return all(destination is not each for each in self._switched_off)

    def switch_off(self, destination: LoggerDestination, error: Exception) -> None:
        """Report the error of a destination, and give it nothing more.

        Raises:
            Exception: the error, if the destination is essential.
        """
        if destination.is_essential:
            raise error
        self._switched_off.append(destination)
        self._find_takers()
        log.error(
            "%s failed and is switched off; training goes on without it",
            type(destination).__name__,
            exc_info=error,
        )

    def _each(
        self, destinations: Sequence[LoggerDestination], call: Callable[[LoggerDestination], Any]
    ) -> None:
        for destination in destinations:
            try:
                call(destination)
            except Exception as error:  # noqa: BLE001 - reported there
                self.switch_off(destination, error)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log metrics; nothing is read from the device before the next :meth:`flush`.

        Args:
            metrics: name -> number or tensor. A one-element tensor becomes a number.
            step: batches trained; the state's batch count by default.
        """
        if not self._metric_takers:
            return
        began = perf_counter_ns()
        if step is None:
            step = self._state.timestamp.batch.value
        steps = self._steps
        current = steps[-1] if steps else None
        # A name logged twice in one step is two readings: destinations must see both.
        if (
            current is None
            or current.step != step
            or not current.metrics.keys().isdisjoint(metrics)
        ):
            current = _Step(step)
            steps.append(current)
        for name, value in metrics.items():
            current.add(name, value)
        self.watching_ns += perf_counter_ns() - began

    def read(self, values: Mapping[str, Any], reader: Callable[[dict[str, Any]], None]) -> None:
        """Let a callback know values of the device without waiting for them.

        They travel with what is logged, in the next flush's one copy, and arrive after at most
        :data:`READ_DELAY` further flushes; on the CPU with the next one.

        Args:
            values: name -> number or tensor, as for :meth:`log_metrics`.
            reader: called with the numbers, by name.
        """
        read = _Step(self._state.timestamp.batch.value, reader)
        for name, value in values.items():
            read.add(name, value)
        self._reads.append(read)

    def flush(self, wait: bool = True) -> None:
        """Send what was logged to the destinations, in order.

        Args:
            wait: whether to wait for values that the device has not computed yet. The training
                loop does not; whoever needs destinations to be complete does.
        """
        began, before, waited = perf_counter_ns(), self.watching_ns, self.device_wait_ns
        if self._steps or self._reads:
            steps, self._steps, self._reads = self._steps + self._reads, [], []
            self._copies.append(_Copy(steps))
        copies = self._copies
        while copies and (wait or len(copies) > _MAX_IN_FLIGHT or copies[0].is_done):
            self._deliver(copies.popleft())
        # Not added to: what sinks and readers log in there has been counted on its own already.
        self.watching_ns = before + perf_counter_ns() - began - (self.device_wait_ns - waited)

    def _deliver(self, copy: _Copy) -> None:
        if not copy.is_done:
            began = perf_counter_ns()
            copy.wait()
            self.device_wait_ns += perf_counter_ns() - began
        for step in copy.finish():
            if step.reader is not None:
                step.reader(step.metrics)
            else:
                self._give(step.metrics, step.step)

    def _give(self, metrics: dict[str, Any], step: int) -> None:
        self._each(self._metric_takers, lambda each: each.log_metrics(metrics, step))

    def interrupt(self) -> None:
        """Deliver what was logged, and tell the destinations that an error or Ctrl-C ended it."""
        try:
            self.flush()
        finally:
            self._each(self._working, lambda destination: destination.interrupted())

    def log_hyperparameters(self, parameters: dict[str, Any]) -> None:
        """Log configuration values, by name."""
        self._each(self._working, lambda destination: destination.log_hyperparameters(parameters))

    def log_table(
        self,
        columns: list[str],
        rows: list[list[Any]],
        name: str = "Table",
        step: int | None = None,
    ) -> None:
        """Log a table; see :meth:`LoggerDestination.log_table`."""
        step = self._ordered_step(step)
        self._each(
            self._working, lambda destination: destination.log_table(columns, rows, name, step)
        )

    def log_traces(self, traces: dict[str, Any]) -> None:
        """Log which methods ran on an event."""
        self._each(self._working, lambda destination: destination.log_traces(traces))

    def log_images(
        self,
        images: np.ndarray | torch.Tensor | Sequence[np.ndarray | torch.Tensor],
        name: str = "Images",
        channels_last: bool = False,
        step: int | None = None,
        masks: dict[str, Any] | None = None,
        mask_class_labels: dict[int, str] | None = None,
        use_table: bool = True,
    ) -> None:
        """Log images; see :meth:`LoggerDestination.log_images`."""
        step = self._ordered_step(step)
        self._each(
            self._working,
            lambda destination: destination.log_images(
                images, name, channels_last, step, masks, mask_class_labels, use_table
            ),
        )

    def upload_file(
        self,
        remote_file_name: str,
        file_path: pathlib.Path | str,
        *,
        overwrite: bool = False,
    ) -> None:
        """Give a local file to every destination that keeps files.

        Both names may hold ``{run_name}``, ``{rank}`` and the other placeholders of file names; the
        remote one those of time as well.
        """
        run_name = self._state.run_name
        local = format_name_with_dist(format_str=str(file_path), run_name=run_name)
        remote = format_name_with_dist_and_time(
            remote_file_name, run_name=run_name, timestamp=self._state.timestamp
        )
        self._each(
            self._working,
            lambda destination: destination.upload_file(
                state=self._state,
                remote_file_name=remote,
                file_path=pathlib.Path(local),
                overwrite=overwrite,
            ),
        )

    def has_file_upload_destination(self) -> bool:
        """Return whether any destination keeps files."""
        return any(destination.can_upload_files() for destination in self._working)

    def _ordered_step(self, step: int | None) -> int:
        """Return the step of something sent at once, after what was logged before it."""
        self.flush()
        return self._state.timestamp.batch.value if step is None else step


def _takes(destination: LoggerDestination, method: str) -> bool:
    return getattr(type(destination), method) is not getattr(LoggerDestination, method)


def format_log_data_value(data: Any) -> str:  # noqa: PLR0911 - one return per kind of value
    """Return a short text for a logged value.

    Strings are quoted, floats have four decimals, one-element tensors read as numbers, larger ones
    as their shape; mappings and sequences are formatted item by item.
    """
    if data is None:
        return "None"
    if isinstance(data, str):
        return f'"{data}"'
    if isinstance(data, bool | int):
        return str(data)
    if isinstance(data, float):
        return f"{data:.4f}"
    if isinstance(data, torch.Tensor):
        if data.numel() == 1:
            return format_log_data_value(data.item())
        return f"Tensor of shape {tuple(data.shape)}"
    if isinstance(data, Mapping):
        items = (f'"{k}": {format_log_data_value(v)}' for k, v in data.items())
        return "{ " + ", ".join(items) + " }"
    if isinstance(data, Sequence | set | frozenset):
        return "[" + ", ".join(format_log_data_value(item) for item in data) + "]"
    return str(data)
