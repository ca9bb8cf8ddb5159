"""Show where the time of a step goes, on every rank."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter_ns
from typing import Any

from composer.callbacks._device_times import DeviceTimes
from composer.core.callback import Callback
from composer.core.interval import parse_interval
from composer.core.logger import Logger
from composer.core.state import State
from composer.core.time import Time, TimeUnit
from composer.distributed import comm
from composer.distributed.record import RECORD

__all__ = ["INSTRUMENTATION", "PARTS", "StallMonitor"]

PARTS = (
    "data",
    "copy",
    "forward",
    "backward",
    "optimizer",
    "communication",
    "logging",
    "checkpoint",
    "evaluation",
)
INSTRUMENTATION = "time/instrumentation"
# With more ranks than this, not every rank's parts are logged but the slowest rank's of each.
MAX_LISTED_RANKS = 16

# Places in PARTS.
_DATA, _COPY, _FORWARD, _BACKWARD, _OPTIMIZER = range(5)
_COMMUNICATION, _LOGGING, _CHECKPOINT, _EVALUATION = range(5, 9)
_NS = 1e-9


def _begins(part: int) -> Any:
    """Return the handler of an event at which a part begins, and another has ended.

    Called several times a step: so it is one function, and looks at one clock, which stands still
    while others are waited for and while anything watches.
    """

    def begin(self: StallMonitor, state: State, logger: Logger) -> None:
        now = perf_counter_ns() - logger.watching_ns - RECORD.waited_ns
        self._spent[self._part] += now - self._last
        self._part, self._last = part, now
        if self._device is not None and self._device.is_recording:
            self._device.mark(part)

    begin.__doc__ = f"Begin ``{PARTS[part]}``."
    return begin


class StallMonitor(Callback):
    """Splits the time of every step into its parts and logs them, in seconds a step.

    ==========================  ===================================================================
    ``stall/data``              waiting for the loader, transforming and counting its batches
    ``stall/copy``              cutting a batch, moving it to the device, clearing gradients
    ``stall/forward``           forward pass and loss, methods included
    ``stall/backward``          backward pass; with the averaging that runs behind it
    ``stall/optimizer``         from complete gradients to the end of the batch: methods, update,
                                training metrics, schedules
    ``stall/communication``     waiting for other ranks in collectives of this library
    ``stall/logging``           callbacks, logger destinations, delivering what is logged
    ``stall/checkpoint``        saving
    ``stall/evaluation``        evaluators
    ``stall/rank<r>/<part>``    the same of each rank, where there are several (the plain name is
                                then the mean); over 16 ranks ``stall/slowest/<part>`` and, whose
                                that is, ``stall/slowest_rank/<part>``
    ``time/instrumentation``    watching itself: callbacks, destinations, this one
    ==========================  ===================================================================

    Each is the mean over the steps since the last time, so that nothing is left out: together the
    parts are the wall-clock time. On a GPU, which works behind the host, the time that the host
    waited for it is given to the parts that the device was busy with, as one step in each interval
    shows.

    The Trainer adds this callback where what a logger gets outlives the run. A ``StallMonitor``
    among the callbacks takes its place; one with ``interval=0`` switches it off.

    Args:
        interval: every how many batches to log, a number or ``'10ba'``; 0 for never.

    Raises:
        ValueError: an interval in another unit.
    """

    def __init__(self, interval: int | str | Time[int] = "10ba") -> None:
        self.interval = parse_interval(
            interval, default_unit=TimeUnit.BATCH, units=(TimeUnit.BATCH,)
        )
        self._every = self.interval.value
        self._device: DeviceTimes | None = None
        self._start()

    def _start(self) -> None:
        self._spent = [0] * len(PARTS)
        self._part = _DATA
        self._last = 0
        # Totals of others at the start of the interval.
        self._watched = self._waited = self._device_waited = 0
        self._num_steps = 0
        self._pending: comm.PendingRows | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_device": None, "_pending": None}

    def fit_start(self, state: State, logger: Logger) -> None:
        """Begin to measure."""
        self._start()
        self._last = perf_counter_ns() - logger.watching_ns - RECORD.waited_ns
        self._note_totals(logger)
        on_gpu = state.device.torch_device.type == "cuda"
        self._device = DeviceTimes() if on_gpu and self._every > 0 else None

    # What begins where; the time before it belongs to what began last.
    epoch_start = _begins(_DATA)
    before_dataloader = _begins(_DATA)
    before_forward = _begins(_FORWARD)
    before_backward = _begins(_BACKWARD)
    after_backward = _begins(_COPY)
    after_train_batch = _begins(_OPTIMIZER)
    eval_before_all = _begins(_EVALUATION)
    eval_after_all = _begins(_LOGGING)
    batch_checkpoint = _begins(_CHECKPOINT)
    epoch_end = _begins(_LOGGING)
    epoch_checkpoint = _begins(_CHECKPOINT)
    _begin_copy = _begins(_COPY)
    _begin_logging = _begins(_LOGGING)

    def before_train_batch(self, state: State, logger: Logger) -> None:
        """Begin ``copy``."""
        if self._device is not None and self._num_steps == 0:
            self._device.start()
        self._begin_copy(state, logger)

    def batch_end(self, state: State, logger: Logger) -> None:
        """Count a step, and log if it is time."""
        self._begin_logging(state, logger)
        if self._device is not None:
            self._device.stop()
        if self._every <= 0:
            return
        self._num_steps += 1
        self._log_gathered(logger)
        if self._num_steps == self._every:
            self._finish_interval(logger)

    def fit_end(self, state: State, logger: Logger) -> None:
        """Log what is left."""
        self._begin_logging(state, logger)
        if self._every <= 0:
            return
        self._log_gathered(logger)
        if self._num_steps or comm.any_rank(self._spent[_EVALUATION] > 0):
            self._finish_interval(logger)
            self._log_gathered(logger)

    def _finish_interval(self, logger: Logger) -> None:
        """Send this rank's parts to the others, and begin anew."""
        steps = max(1, self._num_steps)
        watching = logger.watching_ns - self._watched
        self._spent[_LOGGING] += watching
        self._spent[_COMMUNICATION] += RECORD.waited_ns - self._waited
        idle = logger.device_wait_ns - self._device_waited
        numbers = [ns * _NS / steps for ns in [*self._share_out(idle), watching]]
        self._spent = [0] * len(PARTS)
        self._num_steps = 0
        self._note_totals(logger)
        self._pending = comm.start_gather(numbers)
        if comm.get_world_size() == 1:
            self._log_gathered(logger)

    def _note_totals(self, logger: Logger) -> None:
        self._watched, self._device_waited = logger.watching_ns, logger.device_wait_ns
        self._waited = RECORD.waited_ns

    def _log_gathered(self, logger: Logger) -> None:
        """Log what all ranks sent a batch ago, so that nobody waits for it."""
        if self._pending is None:
            return
        rows = self._pending.wait()
        self._pending = None
        logger.log_metrics(_metrics(rows))

    def _share_out(self, idle_ns: int) -> Sequence[float]:
        """Give the time the host waited for the device, now in ``logging``, to what it was for."""
        device = None if self._device is None else self._device.read(len(PARTS))
        if device is None or idle_ns <= 0:
            return self._spent
        steps = max(1, self._num_steps)
        behind = [max(0.0, ns - own / steps) for ns, own in zip(device, self._spent, strict=True)]
        behind[_LOGGING] = 0.0
        total = sum(behind)
        if total == 0:
            return self._spent
        spent = [own + idle_ns * ns / total for own, ns in zip(self._spent, behind, strict=True)]
        spent[_LOGGING] -= idle_ns
        return spent


def _metrics(rows: list[list[float]]) -> dict[str, float]:
    columns = list(zip(*rows, strict=True))
    metrics = {f"stall/{part}": sum(v) / len(v) for part, v in zip(PARTS, columns, strict=False)}
    metrics[INSTRUMENTATION] = sum(columns[-1]) / len(rows)
    if 1 < len(rows) <= MAX_LISTED_RANKS:
        for rank, row in enumerate(rows):
            metrics |= {f"stall/rank{rank}/{p}": v for p, v in zip(PARTS, row, strict=False)}
    elif len(rows) > MAX_LISTED_RANKS:
        for part, values in zip(PARTS, columns, strict=False):
            metrics[f"stall/slowest/{part}"] = max(values)
            metrics[f"stall/slowest_rank/{part}"] = values.index(max(values))
    return metrics
