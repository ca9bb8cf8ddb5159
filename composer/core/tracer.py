"""What a profiler offers to the loop: named spans."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from composer.core.state import State

__all__ = ["Tracer"]


class Tracer(Protocol):
    """Measures named stretches of a run. The engine opens one around each plug-in call."""

    def bind_to_state(self, state: State) -> None:
        """Join a run, before its first event."""
        ...

    def span(self, name: str) -> AbstractContextManager[object]:
        """Return a context manager that measures what happens inside it as ``name``."""
        ...
