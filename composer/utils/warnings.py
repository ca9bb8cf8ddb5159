"""Warnings that tell users to change something in their code.

Here on the lowest floor, so that everything above can give them.
"""

from __future__ import annotations

from typing import TextIO

__all__ = [
    "NoEffectWarning",
    "NotIntendedUseWarning",
    "VersionedDeprecationWarning",
    "warning_on_one_line",
]


class VersionedDeprecationWarning(UserWarning):
    """Something still works and will stop working in a named version.

    A ``UserWarning``, because Python hides ``DeprecationWarning`` from those who must act.

    Args:
        message: what to use instead, as a full sentence.
        remove_version: the version of Composer in which it goes, e.g. ``"1.2.0"``.
    """

    def __init__(self, message: str, remove_version: str) -> None:
        super().__init__(message, remove_version)
        self.message = message
        self.remove_version = remove_version

    def __str__(self) -> str:
        return f"{self.message} It will be removed in Composer {self.remove_version}."


class NotIntendedUseWarning(Warning):
    """A method is used in a way it is not made for, e.g. together with one that undoes it."""


class NoEffectWarning(Warning):
    """A method found nothing to act on, e.g. no layer of the kind it replaces."""


def warning_on_one_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> str:
    """Format a warning as one line; a drop-in for ``warnings.formatwarning``.

    Args:
        message: the warning.
        category: its class.
        filename: the file that gave it.
        lineno: the line that gave it.
        file: ignored.
        line: ignored.
    """
    del file, line
    return f"{category.__name__}: {message} (source: {filename}:{lineno})\n"
