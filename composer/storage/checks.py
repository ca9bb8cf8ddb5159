"""What every store asks of the names it is given and of the files it moves."""

from __future__ import annotations

import os

from composer.errors import (
    ConfigError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageTransientError,
)

__all__ = ["check_arrived", "check_name", "check_source", "check_target", "exists_already"]

StrPath = str | os.PathLike[str]


def check_name(object_name: str) -> str:
    """Return an object's name without slashes in front.

    Raises:
        ValueError: it is empty, or climbs out of the store with ``..``.
    """
    name = object_name.lstrip("/")
    if not name or ".." in name.split("/"):
        raise ConfigError(
            f"{object_name!r} cannot be an object's name; use one such as 'run-1/ep1.pt', without "
            "'..'"
        )
    return name


def check_target(filename: StrPath, overwrite: bool) -> None:
    """Refuse to replace a local file unasked; before anything is fetched.

    Raises:
        FileExistsError: it exists and ``overwrite`` is false.
    """
    if not overwrite and os.path.lexists(filename):
        raise FileExistsError(f"{os.fspath(filename)!r} exists and may not be overwritten")


def check_arrived(uri: str, size: int, received: int) -> None:
    """Refuse an object of which only a part has come.

    Raises:
        ObjectStoreTransientError: it has another size.
    """
    if received != size:
        raise StorageTransientError(f"{uri!r} has {size} bytes and {received} arrived")


def exists_already(uri: str) -> ObjectExistsError:
    """Return the error for an object that was to be new."""
    return ObjectExistsError(
        f"{uri!r} exists and may not be overwritten. Allow overwriting, or use another name."
    )


def check_source(filename: StrPath) -> int:
    """Return the size in bytes of a local file that is to be uploaded.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not os.path.isfile(filename):
        raise ObjectNotFoundError(
            f"there is no local file {os.fspath(filename)!r} to upload; a folder is uploaded file "
            "by file"
        )
    return os.path.getsize(filename)
