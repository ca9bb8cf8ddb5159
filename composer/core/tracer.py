"""What a profiler offers to the loop: named spans."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

__all__ = ["Tracer"]


class Tracer(Protocol):
    """Measures named stretches of a run. The engine opens one around each plug-in call."""

    def span(self, name: str) -> AbstractContextManager[object]:
        """Return a context manager that measures what happens inside it as ``name``."""
        ...
