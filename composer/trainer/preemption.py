"""Stopping in the middle without losing anything.

A scheduler that wants its machine back sends SIGTERM or SIGUSR1, a person presses Ctrl-C. The
signal is only noted. At the next boundary, between two batches of training or of evaluation, where
weights, optimizer and timestamp belong together, the run is saved and ended. With several ranks all
stop at the same boundary, whichever of them got the signal: what each has noted travels with the
counts of samples that ranks add up in every batch anyway.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, Self

from composer.callbacks.checkpoint_saver import CheckpointSaver
from composer.core.logger import Logger
from composer.core.state import State
from composer.distributed import comm
from composer.errors import Preempted

__all__ = ["EvalBoundaries", "Interruption", "saved_when_stopped"]

log = logging.getLogger(__name__)

_PREEMPTING = (signal.SIGTERM, signal.SIGUSR1) if hasattr(signal, "SIGUSR1") else (signal.SIGTERM,)


class Interruption:
    """Notes signals around a run, and ends it where nothing is lost.

    A context manager. Only the main thread can note signals. A signal that the program handles
    itself, or ignores, is left to it. The second Ctrl-C is instant.
    """

    def __init__(self) -> None:
        self.is_at_boundary = False
        self._noted: dict[int, float] = {}
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self.is_at_boundary = False
        self._noted.clear()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, *_PREEMPTING):
                if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                    self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number in list(self._previous):
            self._disarm(number)

    @property
    def wishes(self) -> tuple[int, int]:
        """What this rank was asked, as numbers that ranks can add: to make room, to stop."""
        return int(any(n in self._noted for n in _PREEMPTING)), int(signal.SIGINT in self._noted)

    @property
    def seconds_since_signal(self) -> float:
        """Seconds since the first signal came to this rank; 0 if none did."""
        return time.monotonic() - min(self._noted.values()) if self._noted else 0.0

    def check(self, wishes: Sequence[int | float]) -> None:
        """End the run here if any rank was asked to; for a boundary.

        Args:
            wishes: the :attr:`wishes` of all ranks, added up.

        Raises:
            Preempted: somebody else needs the machine.
            KeyboardInterrupt: a person wants to stop.
        """
        if any(wishes):
            self._stop(is_preempted=bool(wishes[0]))

    def _stop(self, is_preempted: bool) -> NoReturn:
        self.is_at_boundary = True
        if is_preempted:
            raise Preempted
        raise KeyboardInterrupt("training was interrupted between two batches")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._noted.setdefault(number, time.monotonic())
        if number == signal.SIGINT:
            self._disarm(number)

    def _disarm(self, number: int) -> None:
        if number in self._previous:
            signal.signal(number, self._previous.pop(number))


class EvalBoundaries:
    """The boundaries between batches of one evaluator.

    Ranks may have unequally many batches, so they look together only between those that all have.

    Args:
        interruption: notes signals; ``None`` where nothing is to be stopped.
        num_batches: this rank's batches; ``None`` if it cannot know.
    """

    def __init__(self, interruption: Interruption | None, num_batches: int | None) -> None:
        self._interruption = interruption
        self._num_shared: float = float("inf")
        if interruption is not None and comm.get_world_size() > 1:
            self._num_shared = comm.all_reduce_counts([num_batches or 0], "MIN")[0]

    def between(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Yield the batches, and stop after one if it was asked for.

        Raises:
            Preempted: as of :meth:`Interruption.check`.
            KeyboardInterrupt: as of :meth:`Interruption.check`.
        """
        interruption = self._interruption
        if interruption is None:
            yield from batches
            return
        for number, batch in enumerate(batches):
            if number >= self._num_shared:
                yield batch
                continue
            wishes = comm.start_reduce(interruption.wishes)
            yield batch
            interruption.check(wishes.wait() if comm.get_world_size() > 1 else interruption.wishes)


@contextmanager
def saved_when_stopped(
    interruption: Interruption, saver: CheckpointSaver | None, state: State, logger: Logger
) -> Iterator[None]:
    """Save when a signal has stopped the run inside at a boundary.

    Args:
        interruption: noting signals, also while this saves.
        saver: saves the run's checkpoints; ``None`` if nobody does.
        state: the run's state.
        logger: the run's logger.
    """
    try:
        yield
    except (KeyboardInterrupt, Preempted):
        if interruption.is_at_boundary:
            _save(interruption, saver, state, logger)
        raise


def _save(
    interruption: Interruption, saver: CheckpointSaver | None, state: State, logger: Logger
) -> None:
    if saver is None or saver.weights_only:
        log.warning("stopped at %s; nothing is saved, for want of a save_folder", state.timestamp)
        return
    # Of evaluators that have not come to their end the last checkpoint knows nothing.
    if saver.last_checkpoint_batch != state.timestamp.batch or state.progress.get("evaluating"):
        saver.save(state, logger)
    saver.wait(logger)
    seconds = interruption.seconds_since_signal
    log.warning("stopped and saved at %s, %.1f s after the signal", state.timestamp, seconds)
