"""Copies what the program prints, without keeping it from where it goes."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from typing import Any

from composer.errors import StateError

__all__ = ["Capture"]

# Colours and cursor movements.
_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Capture:
    """Hands the lines written to stdout or stderr to a function, besides writing them.

    The stream object stays the same and only its ``write`` is replaced, so that what others write
    to the object they have kept (the handlers of ``logging``, for one) is seen as well. Several may
    be stacked and closed in any order.

    Args:
        name: ``'stdout'`` or ``'stderr'``.
        sink: called with ``'[stdout]: '`` or ``'[stderr]: '`` and whole lines.
    """

    def __init__(self, name: str, sink: Callable[[str, str], None]) -> None:
        self._prefix = f"[{name}]: "
        self._sink: Callable[[str, str], None] | None = sink
        self._stream: Any = getattr(sys, name)
        self._before = self._stream.write
        self._rest = ""
        self._lock = threading.RLock()
        try:
            self._stream.write = self._write
        except AttributeError as error:
            raise StateError(
                f"what is written to sys.{name} cannot be copied, because {self._stream!r} does "
                f"not let its write be replaced; pass capture_{name}=False"
            ) from error

    def _write(self, text: str) -> Any:
        returned = self._before(text)
        if self._sink is not None:
            with self._lock:
                self._take(text)
        return returned

    def _take(self, text: str) -> None:
        """Hand on lines that are complete; of a line drawn over, the last state."""
        *lines, rest = (self._rest + text).split("\n")
        # Without what is drawn over already: a bar may go on for days without a line break.
        self._rest = _visible(rest) + ("\r" if rest.endswith("\r") else "")
        if lines and self._sink is not None:
            self._sink(self._prefix, "".join(f"{_visible(line)}\n" for line in lines))

    def close(self) -> None:
        """Stop, and put the stream back as it was. A line that was begun is handed on."""
        with self._lock:
            if self._rest and self._sink is not None:
                self._sink(self._prefix, _visible(self._rest) + "\n")
                self._rest = ""
            self._sink = None
        # Somebody who replaced it later still calls this one, which then only passes on.
        if self._stream.write == self._write:
            self._restore()

    def _restore(self) -> None:
        before = self._before
        owner = getattr(before, "__self__", None)
        while isinstance(owner, Capture) and owner._sink is None:
            # It was closed earlier, under this one.
            before = owner._before
            owner = getattr(before, "__self__", None)
        if owner is self._stream:
            # The method of its class: there was nothing on the object itself.
            del self._stream.write
        else:
            self._stream.write = before


def _visible(line: str) -> str:
    """Return what a terminal would show of a line: without codes, and as it was drawn last."""
    if "\x1b" in line:
        line = _CODES.sub("", line)
    return line.rstrip("\r").rpartition("\r")[2]
