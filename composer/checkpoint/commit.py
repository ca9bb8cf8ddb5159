"""Files that become a checkpoint together, or not at all.

They are written aside, in the folder's ``.composer/aside``, and forced to disk; the manifest is
written; only then do they get their names. Whatever interrupts this leaves older checkpoints as
they were, and at worst files aside, which the next run removes.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from composer.checkpoint.manifest import (
    OWN_FOLDER,
    BlockHash,
    FilePart,
    Manifests,
    Record,
    hash_blocks,
)
from composer.utils.atomic import fsync_folder

__all__ = ["HashingFile", "PendingCheckpoint", "clear_aside"]


class HashingFile:
    """A file to write that knows the hash of what was written; made to be given to ``torch.save``.

    Attributes:
        size: bytes written so far.
        error: what writing failed with. Whoever writes through foreign code looks here: that code
            may report a full disk as something else.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = BlockHash()
        self.size = 0
        self.error: OSError | None = None

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write bytes, all of them."""
        view = memoryview(data).cast("B")
        try:
            self._file.write(view)
        except OSError as error:
            self.error = error
            raise
        self._hash.update(view)
        self.size += len(view)
        return len(view)

    def flush(self) -> None:
        """Hand what was written to the system."""
        self._file.flush()

    def hexdigests(self) -> tuple[str, ...]:
        """Return the SHA-256 of each block of what was written so far."""
        return self._hash.hexdigests()


class PendingCheckpoint:
    """A checkpoint that is being written.

    Use it as a context manager: leaving it without :meth:`commit` removes what was written.

    Args:
        folder: the folder of checkpoints; it is made if it is missing.
        name: what the checkpoint will be called in it.
        durable: whether to force everything to disk, so that it survives a power cut.
    """

    def __init__(self, folder: str, name: str, *, durable: bool = True) -> None:
        self.folder = folder
        self.name = name.replace(os.sep, "/")
        self._durable = durable
        self._aside = os.path.join(folder, OWN_FOLDER, "aside", secrets.token_hex(8))
        self._parts: dict[str, FilePart] = {}
        os.makedirs(self._aside)

    def __enter__(self) -> PendingCheckpoint:
        return self

    def __exit__(self, *exc_info: object) -> None:
        shutil.rmtree(self._aside, ignore_errors=True)

    @contextmanager
    def open(self, name: str) -> Iterator[HashingFile]:
        """Open one of its files to write.

        Args:
            name: path in the folder of checkpoints.

        Raises:
            OSError: it could not be written, for instance because the disk is full.
        """
        with open(self._make_room(name), "xb") as file:
            hashing = HashingFile(file)
            try:
                yield hashing
            except Exception:
                if hashing.error is not None:
                    raise hashing.error from None
                raise
            file.flush()
            if self._durable:
                os.fsync(file.fileno())
        self._parts[name] = FilePart(name, hashing.size, hashing.hexdigests())

    @contextmanager
    def path(self, name: str) -> Iterator[str]:
        """Give a path where one of its files is to be written by something else.

        Args:
            name: path in the folder of checkpoints.
        """
        aside = self._make_room(name)
        yield aside
        if self._durable:
            with open(aside, "rb") as file:
                os.fsync(file.fileno())
        self._parts[name] = FilePart(name, os.path.getsize(aside), hash_blocks(aside))

    def commit(self, record: Record, manifests: Manifests) -> Record:
        """Write the manifest and give the files their names.

        Args:
            record: facts on the checkpoint; its files are filled in here.
            manifests: the manifests of the folder.

        Returns:
            The manifest.
        """
        replaced = manifests.read(self.name)
        record = dataclasses.replace(
            record,
            name=self.name,
            # Its own file comes last: where that is, all are.
            files=tuple(sorted(self._parts.values(), key=lambda part: part.name == self.name)),
            before=() if replaced is None else replaced.files,
        )
        manifests.write(record)
        for part in record.files:
            target = os.path.join(self.folder, part.name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.replace(os.path.join(self._aside, part.name), target)
            if self._durable:
                fsync_folder(os.path.dirname(target))
        return record

    def _make_room(self, name: str) -> str:
        path = os.path.join(self._aside, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path


def clear_aside(folder: str) -> None:
    """Remove what interrupted runs have left half-written; nobody may be writing in the folder."""
    shutil.rmtree(os.path.join(folder, OWN_FOLDER, "aside"), ignore_errors=True)
