"""Keep the newest of the files that a profiler writes."""

from __future__ import annotations

import os
from contextlib import suppress

from composer.errors import ConfigError

__all__ = ["NewestFiles"]


class NewestFiles:
    """Paths of files that were written, of which only the newest are kept.

    Args:
        num_to_keep: how many; -1 for all.

    Raises:
        ValueError: a number below -1.
    """

    def __init__(self, num_to_keep: int) -> None:
        if num_to_keep < -1:
            raise ConfigError(f"num_traces_to_keep={num_to_keep!r} must be at least -1")
        self.num_to_keep = num_to_keep
        self.paths: list[str] = []

    def add(self, path: str) -> None:
        """Note a file, and delete what is too old; a file that is gone already is forgotten."""
        self.paths.append(path)
        if self.num_to_keep < 0:
            return
        while len(self.paths) > self.num_to_keep:
            with suppress(FileNotFoundError):
                os.remove(self.paths.pop(0))
