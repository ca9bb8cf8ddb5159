"""A path whose placeholders are filled in later."""

from __future__ import annotations

import os

from composer.core.naming import format_name_with_dist_and_time
from composer.core.state import State

__all__ = ["PartialFilePath"]


class PartialFilePath:
    """A folder and a file name with placeholders such as ``{run_name}`` and ``{epoch}``.

    Args:
        filename: the name.
        folder: the folder; without one the name is the path.
    """

    def __init__(self, filename: str, folder: str | None = None) -> None:
        self.filename = filename
        self.folder = folder

    def format(self, state: State, keep_placeholders: bool = False) -> str:
        """Return the path.

        Args:
            state: the run, whose name, ranks and counters are filled in.
            keep_placeholders: whether to leave the placeholders as they are.
        """
        path = os.path.join(self.folder or "", self.filename)
        if keep_placeholders:
            return path
        return format_name_with_dist_and_time(path, state.run_name, state.timestamp)
