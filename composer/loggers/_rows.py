"""Collects what a step logs into one row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Rows"]


class Rows:
    """Hands on one row per step: when the next step begins, or when asked to.

    Args:
        send: takes a row (name -> value) and its step.
    """

    def __init__(self, send: Callable[[dict[str, Any], int], None]) -> None:
        self._send = send
        self.step = 0
        self._waiting: dict[str, Any] = {}
        # The part of this step's row that is sent already.
        self._sent: dict[str, Any] = {}

    def add(self, values: dict[str, Any], step: int) -> None:
        """Add values to the row of a step; a row of another step is complete then."""
        if step != self.step:
            self.deliver()
            self._sent = {}
            self.step = step
        self._waiting.update(values)

    def deliver(self) -> None:
        """Send what is there of the row."""
        if self._waiting:
            # First of all forget it: to send may lead here again.
            row, self._waiting = self._waiting, {}
            self._sent.update(row)
            self._send(row, self.step)

    def state_dict(self) -> dict[str, Any]:
        """Return the row of the current step, as far as it holds plain values."""
        row = {**self._sent, **self._waiting}
        kept = {k: v for k, v in row.items() if isinstance(v, bool | int | float | str)}
        return {"step": self.step, "row": kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with a row written by :meth:`state_dict`, to be sent as a whole."""
        self.step = state["step"]
        self._sent = {}
        self._waiting = dict(state["row"])
