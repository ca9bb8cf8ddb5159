"""What a checkpoint consists of, and whether it is all there.

Each checkpoint of a folder has a manifest: a small JSON file under ``.composer/manifests`` with the
name, size and SHA-256 of every file, when in training it was saved, and what decides how long it is
kept. The manifest is written after the files' content is safe on disk and before they get their
names, so a file that has its name has a manifest as well.

Order is by a running number, not by time of day: clocks go backwards.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from composer.errors import CorruptCheckpointError
from composer.utils.atomic import write_text

__all__ = [
    "OWN_FOLDER",
    "BlockHash",
    "FilePart",
    "Manifests",
    "Record",
    "find_defect",
    "find_record",
    "hash_blocks",
]

OWN_FOLDER = ".composer"
"""What lies beside checkpoints and is none: manifests, files being written, the lock."""

BLOCK_BYTES = 64 * 2**20
"""A file's content is hashed in blocks of this size, so that all cores can check it."""

_VERSION = 1
_CHUNK_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class FilePart:
    """One file of a checkpoint.

    Attributes:
        name: path in the folder, with ``/`` between folders.
        size: bytes.
        sha256: hash of each 64 MiB of its content, in hexadecimal. A smaller file has one, which is
            what ``sha256sum`` prints.
    """

    name: str
    size: int
    sha256: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """The manifest of one checkpoint.

    Attributes:
        name: path in the folder, of the file or of the folder of files that it is.
        files: what it consists of.
        sequence: its place in the order of saving, from 1.
        series: name template of the saver that wrote it; checkpoints of a series replace each
            other. Empty for one that was saved by hand, which nothing replaces.
        run_name: the run that wrote it.
        timestamp: counters of training when it was saved.
        metrics: values by which the best are chosen.
        weights_only: whether training cannot go on from it.
        pinned: whether it is kept whatever else is deleted.
        before: the files that stood under the same names until this one replaced them. Between
            the writing of the manifest and the renaming, they still do.
    """

    name: str
    files: tuple[FilePart, ...]
    sequence: int = 0
    series: str = ""
    run_name: str = ""
    timestamp: dict[str, Any] = field(default_factory=dict[str, Any])
    metrics: dict[str, float] = field(default_factory=dict[str, float])
    weights_only: bool = False
    pinned: bool = False
    before: tuple[FilePart, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(part.size for part in self.files)


class Manifests:
    """The manifests of a folder.

    Args:
        folder: the folder of checkpoints.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._root = os.path.join(folder, OWN_FOLDER, "manifests")

    def path_of(self, name: str) -> str:
        """Return where the manifest of a checkpoint is."""
        return os.path.join(self._root, f"{name}.json")

    def read(self, name: str) -> Record | None:
        """Return the manifest of a checkpoint; ``None`` if it has none.

        Raises:
            ValueError: the manifest itself is damaged.
        """
        path = self.path_of(name)
        try:
            with open(path, encoding="utf-8") as file:
                return _from_json(json.load(file))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise CorruptCheckpointError(
                f"the manifest {path!r} is damaged: {error}. Delete it to use the checkpoint "
                "without its protection."
            ) from error

    def write(self, record: Record) -> None:
        """Write the manifest of a checkpoint, or replace it."""
        fields = {"version": _VERSION, **dataclasses.asdict(record)}
        write_text(self.path_of(record.name), json.dumps(fields, indent=1))

    def remove(self, name: str) -> None:
        """Delete the manifest of a checkpoint, if it has one."""
        with suppress(FileNotFoundError):
            os.remove(self.path_of(name))

    def names(self) -> Iterator[str]:
        """Yield the names of all checkpoints that have a manifest."""
        for parent, _, files in os.walk(self._root):
            for file in files:
                if file.endswith(".json") and not file.startswith("."):
                    path = os.path.relpath(os.path.join(parent, file), self._root)
                    yield path.removesuffix(".json").replace(os.sep, "/")

    def all(self) -> list[Record]:
        """Return the readable manifests, the newest last."""
        records: list[Record] = []
        for name in self.names():
            with suppress(CorruptCheckpointError):
                record = self.read(name)
                if record is not None:
                    records.append(record)
        return sorted(records, key=lambda record: (record.sequence, record.name))

    def next_sequence(self) -> int:
        """Return the number of the next checkpoint in the order of saving."""
        return max((record.sequence for record in self.all()), default=0) + 1

    def delete_checkpoint(self, record: Record) -> None:
        """Delete a checkpoint's files, then its manifest: until then it says what is missing."""
        for part in record.files:
            path = os.path.join(self.folder, part.name)
            with suppress(FileNotFoundError):
                os.remove(path)
            self._remove_empty_folders(os.path.dirname(part.name))
        self.remove(record.name)

    def _remove_empty_folders(self, name: str) -> None:
        while name:
            try:
                os.rmdir(os.path.join(self.folder, name))
            except OSError:
                return
            name = os.path.dirname(name)

    def of_series(self, series: str) -> list[Record]:
        """Return the readable manifests of one saver's checkpoints, the newest last."""
        return [record for record in self.all() if record.series == series]


def find_record(path: str) -> tuple[str, Record] | None:
    """Find the manifest that a checkpoint has in the folder it lies in, or in one above.

    Args:
        path: the checkpoint, a file or a folder of parts.

    Returns:
        The folder of checkpoints and the manifest; ``None`` if there is none.

    Raises:
        ValueError: the manifest itself is damaged.
    """
    path = os.path.abspath(path)
    folder = os.path.dirname(path)
    while True:
        name = os.path.relpath(path, folder).replace(os.sep, "/")
        record = Manifests(folder).read(name)
        if record is not None:
            return folder, record
        if folder == os.path.dirname(folder):
            return None
        folder = os.path.dirname(folder)


def find_defect(folder: str, record: Record, *, with_content: bool = True) -> str | None:
    """Compare a checkpoint's files with its manifest.

    Args:
        folder: the folder of checkpoints.
        record: the manifest.
        with_content: whether to read the files and compare hashes, besides sizes.

    Returns:
        What is wrong, for people; ``None`` if nothing is.
    """
    before = {part.name: part for part in record.before}
    for part in record.files:
        defect = _defect_of(folder, part, with_content)
        if defect is not None and part.name in before:
            defect = _defect_of(folder, before[part.name], with_content) and defect
        if defect is not None:
            return defect
    return None


class BlockHash:
    """Hashes content block by block as it comes."""

    def __init__(self) -> None:
        self._done: list[str] = []
        self._open = hashlib.sha256()
        self._room = BLOCK_BYTES

    def update(self, data: memoryview) -> None:
        """Add content, as bytes."""
        while len(data) > self._room:
            self._open.update(data[: self._room])
            self._done.append(self._open.hexdigest())
            data = data[self._room :]
            self._open, self._room = hashlib.sha256(), BLOCK_BYTES
        self._open.update(data)
        self._room -= len(data)

    def hexdigests(self) -> tuple[str, ...]:
        """Return the SHA-256 of each block so far, in hexadecimal."""
        return (*self._done, self._open.hexdigest())


def hash_blocks(path: str) -> tuple[str, ...]:
    """Return the SHA-256 of each block of a file, in hexadecimal, with the help of all cores."""
    starts = range(0, max(1, os.path.getsize(path)), BLOCK_BYTES)
    with ThreadPoolExecutor(min(len(starts), os.cpu_count() or 1, 8)) as pool:
        return tuple(pool.map(lambda start: _hash_block(path, start), starts))


def _hash_block(path: str, start: int) -> str:
    found = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    with open(path, "rb", buffering=0) as file:
        file.seek(start)
        left = BLOCK_BYTES
        while left and (count := file.readinto(buffer[: min(left, _CHUNK_BYTES)])):
            found.update(buffer[:count])
            left -= count
    return found.hexdigest()


def _defect_of(folder: str, part: FilePart, with_content: bool) -> str | None:
    path = os.path.join(folder, part.name)
    try:
        size = os.path.getsize(path)
    except (FileNotFoundError, NotADirectoryError):
        return f"{part.name!r} is missing"
    if size < part.size:
        return f"{part.name!r} is truncated: it has {size} of {part.size} bytes"
    if size > part.size:
        return f"{part.name!r} has {size} bytes instead of {part.size}"
    if with_content and hash_blocks(path) != part.sha256:
        return f"{part.name!r} has other content than was written (its SHA-256 differs)"
    return None


def _from_json(fields: dict[str, Any]) -> Record:
    known = {each.name for each in dataclasses.fields(Record)}
    kept = {name: value for name, value in fields.items() if name in known}
    for name in ("files", "before"):
        kept[name] = tuple(_part_from_json(part) for part in kept.get(name, ()))
    return Record(**kept)


def _part_from_json(fields: dict[str, Any]) -> FilePart:
    return FilePart(fields["name"], fields["size"], tuple(fields["sha256"]))
