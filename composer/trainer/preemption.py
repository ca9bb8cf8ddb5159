"""Stopping in the middle without losing anything."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self

from composer.distributed import comm

__all__ = ["Interruption"]


class Interruption:
    """Turns the first Ctrl-C into a stop at the next batch boundary; the second is instant.

    A context manager around a run. Stopped between batches, weights, optimizer and timestamp belong
    together, so the state can be saved or trained on. With several ranks, or off the main thread,
    Python's own handling stays: ranks would have to agree on the batch first.
    """

    def __init__(self) -> None:
        self._is_requested = False
        self._previous: Any = None
        self._is_armed = False

    def __enter__(self) -> Self:
        self._is_requested = False
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and comm.get_world_size() == 1:
            self._previous = signal.signal(signal.SIGINT, self._on_signal)
            self._is_armed = True
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._disarm()

    def check(self) -> None:
        """Stop here if it was asked for.

        Raises:
            KeyboardInterrupt: Ctrl-C came since the last check.
        """
        if self._is_requested:
            raise KeyboardInterrupt("training was interrupted between two batches")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._is_requested = True
        self._disarm()

    def _disarm(self) -> None:
        if self._is_armed:
            self._is_armed = False
            signal.signal(signal.SIGINT, self._previous or signal.default_int_handler)
