"""Sends what was logged over the network, beside the training."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["Sender"]

log = logging.getLogger(__name__)

# What waits for a server that is slow or gone takes memory: beyond this, the oldest goes.
MAX_WAITING = 10_000


class Sender:
    """Calls a function with one message after the other, in a thread of its own.

    For clients whose calls wait for the network. Whoever hands over a message never waits.

    Args:
        send: sends a message. If it raises, nothing more is sent.
        receiver: what it is sent to, in messages to the user.
    """

    def __init__(self, send: Callable[[Any], None], receiver: str) -> None:
        self._send = send
        self._receiver = receiver
        self._waiting: queue.Queue[Any] = queue.Queue(MAX_WAITING)
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None

    def put(self, message: Any) -> None:
        """Hand over a message.

        Raises:
            Exception: what an earlier message failed with.
        """
        if self._error is not None:
            raise self._error
        if self._thread is None:
            # A daemon, so that a server that is gone does not keep the program from ending.
            self._thread = threading.Thread(target=self._work, daemon=True, name=self._receiver)
            self._thread.start()
        try:
            self._waiting.put_nowait(message)
        except queue.Full:
            raise ConnectionError(
                f"{self._receiver} does not keep up: {MAX_WAITING} messages are waiting"
            ) from None

    def close(self, timeout_s: float) -> bool:
        """Send what waits; return whether all was sent in time."""
        thread, self._thread = self._thread, None
        if thread is None:
            return self._error is None
        self._waiting.put(None)
        thread.join(timeout_s)
        if thread.is_alive() or self._error is not None:
            log.error(
                "%s did not take all that was logged: %s",
                self._receiver,
                self._error or f"it has not answered for {timeout_s:g} seconds",
            )
            return False
        return True

    def _work(self) -> None:
        while (message := self._waiting.get()) is not None:
            if self._error is None:
                try:
                    self._send(message)
                except Exception as error:  # noqa: BLE001 - raised by the next `put`
                    self._error = error
