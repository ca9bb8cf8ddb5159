"""The append-only record that everything else can be rebuilt from.

Segments ``00000001.log``, ``00000002.log``, ... hold records one after another: length, CRC-32,
kind, payload. Appending a batch is one write and one ``fsync``; a batch is acknowledged only after
that. A record cut short by a crash can only be the last one, was never acknowledged, and is dropped
on opening.

Two kinds of record exist: operations on rows of tables (JSON, compressed when long) and chunks of a
run's rows (`composer.tracking.protocol.columns`), which the index reads in place.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from composer.errors import TrackingError

MAGIC: Final = b"composer-journal"
VERSION: Final = 1
_HEAD: Final = struct.Struct("<16sII")
_RECORD: Final = struct.Struct("<IIB")
MAX_RECORD: Final = 1 << 30

OPS, OPS_ZIPPED, CHUNK = 1, 2, 3


class Position(NamedTuple):
    """A place in the journal: segment number and byte offset in it."""

    segment: int
    offset: int


class Record(NamedTuple):
    """One record with the place of its payload and of what follows it."""

    kind: int
    payload: bytes
    at: Position
    next: Position


class Journal:
    """Writes and reads the segments of one folder. One thread may append; any may read."""

    def __init__(self, folder: Path, segment_bytes: int = 64 << 20) -> None:
        self.folder = folder
        self._segment_bytes = segment_bytes
        self._file = -1
        folder.mkdir(parents=True, exist_ok=True)
        self.segments = sorted(int(each.stem) for each in folder.glob("????????.log"))
        self.end = Position(0, 0)

    def open_for_append(self) -> int:
        """Open the last segment, dropping a torn record at its end.

        Returns:
            Bytes dropped.

        Raises:
            TrackingError: a segment was written by a newer version.
        """
        if not self.segments:
            self._start_segment(1)
            return 0
        number = self.segments[-1]
        path = self.path(number)
        size = path.stat().st_size
        good = _HEAD.size
        if size < _HEAD.size:  # The crash came while the segment was being made.
            path.unlink()
            self.segments.pop()
            self._start_segment(number)
            return size
        for record in self.read(Position(number, 0)):
            good = record.next.offset
        self._file = os.open(path, os.O_RDWR)
        if good < size:
            os.ftruncate(self._file, good)
            os.fsync(self._file)
        self.end = Position(number, good)
        return size - good

    def path(self, number: int) -> Path:
        """The file of a segment."""
        return self.folder / f"{number:08d}.log"

    def _start_segment(self, number: int) -> None:
        path = self.path(number)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            write_all(file, _HEAD.pack(MAGIC, VERSION, 0), 0)
            os.fsync(file)
            sync_folder(self.folder)
        except OSError:
            os.close(file)
            path.unlink(missing_ok=True)
            raise
        if self._file >= 0:
            os.close(self._file)
        self._file = file
        self.segments.append(number)
        self.end = Position(number, _HEAD.size)

    def prepare(self, num_bytes: int) -> None:
        """Start a new segment if the next batch of that size should go there."""
        if self.end.offset > _HEAD.size and self.end.offset + num_bytes > self._segment_bytes:
            self._start_segment(self.end.segment + 1)

    def append(self, data: bytes) -> None:
        """Write framed records and wait until they are on disk.

        Raises:
            OSError: nothing was written; the journal is as before.
        """
        start = self.end.offset
        try:
            write_all(self._file, data, start)
            os.fdatasync(self._file)
        except OSError:
            os.ftruncate(self._file, start)
            raise
        self.end = Position(self.end.segment, start + len(data))

    def read(self, start: Position) -> Iterator[Record]:
        """Read records from a place on, stopping at the first one that is cut short or damaged.

        Raises:
            TrackingError: a segment is not a journal or is of a newer version, or damage is
                followed
                by a further segment, so that it cannot be a mere crash.
        """
        for number in [each for each in self.segments if each >= start.segment]:
            with self.path(number).open("rb") as file:
                _check_head(file.read(_HEAD.size), self.path(number))
                offset = max(start.offset if number == start.segment else 0, _HEAD.size)
                file.seek(offset)
                while head := file.read(_RECORD.size):
                    payload = _read_payload(head, file)
                    if payload is None:
                        if number != self.segments[-1]:
                            raise TrackingError(
                                f"{self.path(number)} is damaged at byte {offset}. "
                                f"Restore it from a backup."
                            )
                        return
                    at = offset + _RECORD.size
                    offset = at + len(payload)
                    yield Record(head[8], payload, Position(number, at), Position(number, offset))

    def read_at(self, segment: int, offset: int, length: int) -> bytes:
        """Read bytes in place.

        Raises:
            TrackingError: the segment is missing or shorter than expected.
        """
        try:
            with self.path(segment).open("rb") as file:
                data = os.pread(file.fileno(), length, offset)
        except FileNotFoundError:
            data = b""
        if len(data) != length:
            raise TrackingError(f"{self.path(segment)} lacks {length} bytes at {offset}.")
        return data

    def size_bytes(self) -> int:
        """Bytes in all segments."""
        return sum(self.path(number).stat().st_size for number in self.segments)

    def close(self) -> None:
        """Close the segment being written."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def frame(kind: int, payload: bytes) -> bytes:
    """A record as it stands in the journal; its payload begins `RECORD_HEAD` bytes in."""
    return _RECORD.pack(len(payload), zlib.crc32(payload), kind) + payload


RECORD_HEAD: Final = _RECORD.size


def _check_head(head: bytes, path: Path) -> None:
    if len(head) < _HEAD.size or not head.startswith(MAGIC):
        raise TrackingError(f"{path} is not a journal of the tracker.")
    version = _HEAD.unpack(head)[1]
    if version > VERSION:
        raise TrackingError(
            f"{path} was written by a newer version (journal format {version}, this one "
            "reads up to "
            f"{VERSION}). Upgrade composer-ml to open this folder."
        )


def _read_payload(head: bytes, file: BinaryIO) -> bytes | None:
    if len(head) < _RECORD.size:
        return None
    length, crc, _ = _RECORD.unpack(head)
    if length > MAX_RECORD:
        return None
    payload = file.read(length)
    return payload if len(payload) == length and zlib.crc32(payload) == crc else None


def write_all(file: int, data: bytes, offset: int) -> None:
    """Write every byte at an offset, however many calls it takes."""
    view = memoryview(data)
    while view:
        done = os.pwrite(file, view, offset)
        view = view[done:]
        offset += done


def sync_folder(folder: Path) -> None:
    """Make names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
