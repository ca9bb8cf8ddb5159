"""Where text is shown to a person: a terminal, a notebook, a pipe or a file.

Shared by the loggers that print. A line printed here does not run into a progress bar, and a stream
that has gone away (a closed terminal, a reader that left) ends the output, not the training.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from composer.core.logger import Logger
from composer.core.logger_destination import LoggerDestination
from composer.errors import ArgumentTypeError, unknown_name

__all__ = ["Screen", "config_text", "is_first_to_print_config"]

_PLAIN = (str, int, float, bool, type(None))


class Screen:
    """A stream that people read.

    Args:
        stream: ``'stderr'``, ``'stdout'`` or an open text file.

    Raises:
        ValueError: another name.
        TypeError: neither a name nor an open file.
    """

    def __init__(self, stream: str | TextIO) -> None:
        # Looked up now, not on import: the program may have redirected it since.
        self.stream = _named_stream(stream) if isinstance(stream, str) else stream
        if not hasattr(self.stream, "write"):
            raise ArgumentTypeError(
                f"stream={stream!r} must be 'stderr', 'stdout' or a file opened for text"
            )
        self._is_lost = False

    @property
    def is_terminal(self) -> bool:
        """Whether lines can be drawn over: a terminal that is still open."""
        try:
            return self.stream.isatty()
        except (AttributeError, ValueError):
            return False

    @property
    def columns(self) -> int:
        """The terminal's width in characters; 0 where it is not known."""
        try:
            return os.get_terminal_size(self.stream.fileno()).columns
        except (AttributeError, OSError, ValueError):
            return 0

    def print(self, text: str) -> None:
        """Write one or more whole lines, above progress bars where there are some."""
        if self._is_lost:
            return
        try:
            self._write(self.showable(text))
        except (OSError, ValueError):
            # Nobody reads any more. Training for days must not end because a terminal closed.
            self._is_lost = True

    def showable(self, text: str) -> str:
        """Return the text with escapes for the characters that the stream has no bytes for."""
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        return (
            text if text.isascii() else text.encode(encoding, "backslashreplace").decode(encoding)
        )

    def _write(self, text: str) -> None:
        tqdm = sys.modules.get("tqdm")
        if tqdm is None or not self.is_terminal:
            self.stream.write(text + "\n")
        else:
            tqdm.tqdm.write(text, file=self.stream)
        self.stream.flush()


def _named_stream(name: str) -> TextIO:
    if name not in ("stderr", "stdout"):
        raise unknown_name("stream", name, ("stderr", "stdout"))
    return sys.stderr if name == "stderr" else sys.stdout


def config_text(hyperparameters: Mapping[str, Any]) -> str:
    """Return hyperparameters as YAML under a heading; what YAML cannot hold is shown as text."""
    import yaml

    text = yaml.safe_dump(_plain(hyperparameters), sort_keys=False, allow_unicode=True)
    return f"Config:\n{text}{'-' * 30}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    return value if type(value) in _PLAIN else str(value)


def is_first_to_print_config(destination: LoggerDestination, logger: Logger) -> bool:
    """Return whether no earlier destination prints the hyperparameters to the same stream.

    Those that print them have an attribute ``config_stream``.
    """
    stream = getattr(destination, "config_stream", None)
    for each in logger.destinations:
        if each is destination:
            return True
        if getattr(each, "config_stream", None) is stream:
            return False
    return True
