"""Write files so that a reader sees the old content or the new, never a half.

Everything in the library that writes a file writes it through here.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from composer.errors import ConfigError

__all__ = ["atomic_write", "fsync_folder", "write_bytes", "write_text"]

StrPath = str | os.PathLike[str]


@contextmanager
def atomic_write(
    path: StrPath, mode: str = "wb", *, overwrite: bool = True, durable: bool = True
) -> Iterator[IO[Any]]:
    """Open a file for writing that appears under its name only when the block ends well.

    The content goes to a hidden file in the same folder, is forced to disk and then renamed. If
    the block fails, nothing is left behind. The folder is made if it is missing.

    Args:
        path: the file.
        mode: ``"wb"`` for bytes, ``"w"`` for text in UTF-8.
        overwrite: whether an existing file may be replaced.
        durable: force the content and the rename to disk, so that they survive a power cut;
            ``False`` is faster and still never shows a half-written file.

    Raises:
        FileExistsError: the file exists and ``overwrite`` is false.
        ValueError: another mode.

    Example:
        >>> with atomic_write("notes.txt", "w") as file:  # doctest: +SKIP
        ...     _ = file.write("complete or absent")
    """
    if mode not in ("wb", "w"):
        raise ConfigError(f"mode={mode!r}; a file is written whole, with 'wb' or 'w'")
    target = os.path.abspath(path)
    folder, name = os.path.split(target)
    os.makedirs(folder, exist_ok=True)
    if not overwrite and os.path.lexists(target):
        raise FileExistsError(f"{target!r} exists and may not be overwritten")
    aside = os.path.join(folder, f".{name[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        with open(aside, mode.replace("w", "x"), **_text_options(mode)) as file:
            yield file
            file.flush()
            _keep_permissions(target, aside)
            if durable:
                os.fsync(file.fileno())
        _put(aside, target, overwrite)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(aside)
        raise
    if durable:
        fsync_folder(folder)


def write_bytes(path: StrPath, data: bytes, *, overwrite: bool = True) -> None:
    """Write a file of bytes atomically; see :func:`atomic_write`."""
    with atomic_write(path, "wb", overwrite=overwrite) as file:
        file.write(data)


def write_text(path: StrPath, text: str, *, overwrite: bool = True) -> None:
    """Write a text file in UTF-8 atomically; see :func:`atomic_write`."""
    with atomic_write(path, "w", overwrite=overwrite) as file:
        file.write(text)


def fsync_folder(folder: StrPath) -> None:
    """Force a folder's entries to disk, where the system can (it cannot on Windows)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        # Some network file systems refuse this; they are as durable as they are.
        pass
    finally:
        os.close(handle)


def _put(aside: str, target: str, overwrite: bool) -> None:
    if overwrite:
        os.replace(aside, target)
        return
    # A link, unlike a rename, fails if someone else made the file in the meantime.
    os.link(aside, target)
    os.unlink(aside)


def _text_options(mode: str) -> dict[str, Any]:
    return {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}


def _keep_permissions(target: str, aside: str) -> None:
    with suppress(FileNotFoundError):
        os.chmod(aside, os.stat(target).st_mode & 0o7777)
