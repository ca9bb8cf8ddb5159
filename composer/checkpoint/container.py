"""Checkpoint files by the ending of their name: plain, compressed, or in an archive.

``.tar``, ``.tar.gz``, ``.tgz``, ``.tar.bz2`` and ``.tar.lzma`` are archives that hold one file,
``composer_states.pt``; ``.pt.zst`` and its like are files compressed by a program; everything else
is a plain file of ``torch.save``.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

from composer.checkpoint import monolith
from composer.checkpoint.commit import PendingCheckpoint
from composer.errors import ConfigError, CorruptCheckpointError, StorageError
from composer.utils.compression import get_compressor, is_compressed_pt
from composer.utils.folders import is_tar

__all__ = ["check_can_write", "read_file", "write_file"]

_ARCHIVED_NAME = "composer_states.pt"
_WRITE_MODES: dict[str, Literal["w", "w:gz", "w:bz2", "w:xz"]] = {
    ".tar": "w",
    ".tar.gz": "w:gz",
    ".tgz": "w:gz",
    ".tar.bz2": "w:bz2",
    ".tar.lzma": "w:xz",
    ".tar.xz": "w:xz",
}


def check_can_write(name: str | os.PathLike[str]) -> None:
    """Refuse a name whose ending asks for what is not there.

    Raises:
        ValueError: an archive of a kind that cannot be written.
        ImportError: the program that compresses is not installed.
    """
    text = os.fspath(name)
    if is_compressed_pt(text):
        get_compressor(text).check_exists()
    elif is_tar(text):
        _write_mode(text)


def write_file(contents: dict[str, Any], pending: PendingCheckpoint, name: str) -> None:
    """Write a checkpoint's contents as one file of a pending checkpoint.

    Args:
        contents: the contents.
        pending: what it is to be part of.
        name: the file's path in the folder of checkpoints; its ending says how.
    """
    if is_compressed_pt(name):
        with pending.path(name) as path, get_compressor(name).compress(path) as file:
            monolith.write(contents, file)
    elif is_tar(name):
        with pending.path(name) as path:
            _write_archive(contents, path, _write_mode(name))
    else:
        with pending.open(name) as file:
            monolith.write(contents, file)


def read_file(path: str, *, trust: bool = False) -> dict[str, Any]:
    """Read a checkpoint's contents; see :func:`composer.checkpoint.monolith.read`.

    Args:
        path: the file; its name's ending says how it is read.
        trust: whether code from the file may be run.
    """
    if not (is_compressed_pt(path) or is_tar(path)):
        return monolith.read(path, trust=trust)
    with _unpacked(path) as plain:
        return monolith.read(plain, trust=trust)


def _write_mode(name: str) -> Literal["w", "w:gz", "w:bz2", "w:xz"]:
    for ending, mode in _WRITE_MODES.items():
        if name.lower().endswith(ending):
            return mode
    raise ConfigError(
        f"{name!r} is an archive of a kind that cannot be written; use one of "
        f"{', '.join(_WRITE_MODES)}, or '.pt' with a compression such as '.pt.zst'"
    )


def _write_archive(
    contents: dict[str, Any], path: str, mode: Literal["w", "w:gz", "w:bz2", "w:xz"]
) -> None:
    # An archive says how long a file is before the file itself.
    plain = f"{path}.{_ARCHIVED_NAME}"
    try:
        monolith.write(contents, plain)
        with tarfile.open(path, mode) as archive:
            archive.add(plain, _ARCHIVED_NAME)
    finally:
        with suppress(FileNotFoundError):
            os.remove(plain)


@contextmanager
def _unpacked(path: str) -> Iterator[str]:
    """Give the plain file inside; it may be removed while what was read from it lives on."""
    with tempfile.TemporaryDirectory() as folder:
        plain = os.path.join(folder, _ARCHIVED_NAME)
        try:
            with open(plain, "wb") as target:
                if is_compressed_pt(path):
                    with get_compressor(path).decompress(path) as source:
                        shutil.copyfileobj(source, target)
                else:
                    _extract(path, target)
        except (tarfile.TarError, EOFError, StorageError) as error:
            raise CorruptCheckpointError(
                f"{path!r} cannot be unpacked: {error}. It is damaged or cut short; use an older "
                "checkpoint."
            ) from error
        yield plain


def _extract(path: str, target: Any) -> None:
    with tarfile.open(path) as archive:
        source = (
            archive.extractfile(_ARCHIVED_NAME) if _ARCHIVED_NAME in archive.getnames() else None
        )
        if source is None:
            raise CorruptCheckpointError(
                f"{path!r} holds no {_ARCHIVED_NAME!r}, only {archive.getnames()[:10]}"
            )
        shutil.copyfileobj(source, target)
