"""Files that wait for their upload, kept on disk so that they survive the process.

Each process has a folder of its own and holds a lock on it; the system lets go of the lock when
the process ends, however it ends. A later process of the same run takes over the folders nobody
holds any more. Nothing is known of stores here, and nothing runs in the background.

A waiting file is two files: ``<number>.data`` with its content, and ``<number>.json`` with what is
to be done with it. The second appears last and goes first.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from composer.env import COMPOSER_UPLOAD_FOLDER, RANK
from composer.errors import StorageError
from composer.utils.atomic import write_text
from composer.utils.file_lock import hold_file

__all__ = ["Entry", "WaitingFiles", "place_for", "private_folder"]

log = logging.getLogger(__name__)

StrPath = str | os.PathLike[str]
_LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Entry:
    """One waiting file.

    Attributes:
        number: its place in the order.
        name: the object's name in the store.
        size: bytes.
        overwrite: whether an object of that name may be replaced.
        after: numbers of the files that must be in the store before.
    """

    number: int
    name: str
    size: int
    overwrite: bool
    after: tuple[int, ...]


def place_for(destination: str, scope: str, root: StrPath | None = None) -> str:
    """Return the folder under which the files for one destination wait.

    Args:
        destination: address of the store.
        scope: whose files they are, e.g. the run's name: only who says the same takes them over.
        root: folder for all; the environment variable ``COMPOSER_UPLOAD_FOLDER`` by default, else
            a folder of this user among the system's temporary files.

    Raises:
        StorageError: the default folder belongs to another user.
    """
    return private_folder(destination, scope, RANK.get() or 0, root=root)


def private_folder(*key: object, root: StrPath | None = None) -> str:
    """Return the same folder for the same key, also in another process; it need not exist yet.

    Args:
        key: strings and numbers.
        root: as in :func:`place_for`.

    Raises:
        StorageError: the default folder belongs to another user.
    """
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    given = root if root is not None else COMPOSER_UPLOAD_FOLDER.get()
    return os.path.join(_own_temporary_folder() if given is None else given, digest)


def _own_temporary_folder() -> str:
    if not hasattr(os, "getuid"):  # On Windows each user has a temporary folder of their own.
        return os.path.join(tempfile.gettempdir(), "composer-uploads")
    # Others can guess the name: what lies there must not be theirs, nor readable for them.
    folder = os.path.join(tempfile.gettempdir(), f"composer-uploads-{os.getuid()}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    found = os.lstat(folder)
    if found.st_uid != os.getuid() or os.path.islink(folder) or found.st_mode & 0o077:
        raise StorageError(
            f"{folder!r} is not a private folder of this user. Remove it, or name another folder "
            f"in the environment variable {COMPOSER_UPLOAD_FOLDER.name}."
        )
    return folder


class WaitingFiles:
    """The waiting files of one process.

    Args:
        folder: their folder, made if it is missing.

    Raises:
        BlockingIOError: another process holds it.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self._lock = os.open(os.path.join(folder, _LOCK), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            hold_file(self._lock)
        except BaseException:
            os.close(self._lock)
            raise
        self._next = 0

    @classmethod
    def open_new(cls, place: str) -> WaitingFiles:
        """Begin a folder of one's own under ``place``; see :func:`place_for`."""
        return cls(os.path.join(place, uuid.uuid4().hex))

    @classmethod
    def take_over(cls, place: str) -> list[WaitingFiles]:
        """Take over the folders under ``place`` whose processes have ended, oldest first."""
        if not os.path.isdir(place):
            return []
        folders = [(entry.stat().st_mtime, entry.path) for entry in os.scandir(place)]
        taken: list[WaitingFiles] = []
        for _, folder in sorted(folders):
            with suppress(BlockingIOError):
                waiting = cls(folder)
                if waiting.entries():
                    taken.append(waiting)
                else:
                    waiting.close()
        return taken

    def add(
        self,
        path: StrPath,
        name: str,
        overwrite: bool,
        after: Sequence[int] = (),
        link: bool = False,
    ) -> Entry:
        """Take a file in.

        Args:
            path: the local file; it may change or go away afterwards.
            name: the object's name in the store.
            overwrite: whether an object of that name may be replaced.
            after: numbers of the files that must be in the store before.
            link: take the file itself and not a copy, where the file system can. Only for a file
                whose content never changes, such as one that was written aside and renamed.
        """
        number = self._next
        self._next += 1
        data = self._file(number, "data")
        try:
            _take_in(path, data, link)
            entry = Entry(number, name, os.path.getsize(data), overwrite, tuple(after))
            write_text(self._file(number, "json"), json.dumps(asdict(entry)))
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(data)
            raise
        return entry

    def data_of(self, entry: Entry) -> str:
        """Return where an entry's content lies."""
        return self._file(entry.number, "data")

    def entries(self) -> list[Entry]:
        """Return all waiting files in their order; what is damaged is left out, saying so."""
        found: list[Entry] = []
        for file in sorted(os.listdir(self.folder)):
            stem, _, ending = file.partition(".")
            if ending != "json" or not stem.isdigit():
                continue
            self._next = max(self._next, int(stem) + 1)
            entry = self._read(os.path.join(self.folder, file))
            if entry is not None:
                found.append(entry)
        return found

    def note_start(self, entry: Entry) -> None:
        """Note on disk that an upload has begun, before it does."""
        with open(self._file(entry.number, "begun"), "wb"):
            pass

    def was_started(self, entry: Entry) -> bool:
        """Return whether an upload has begun, in this process or the one before."""
        return os.path.exists(self._file(entry.number, "begun"))

    def remove(self, entry: Entry) -> None:
        """Forget a file that is in the store, or is not to come there."""
        for ending in ("json", "data", "begun"):
            with suppress(FileNotFoundError):
                os.unlink(self._file(entry.number, ending))

    def close(self) -> None:
        """Let go of the folder, and remove it if nothing waits. Closing again does nothing."""
        if self._lock < 0:
            return
        if not any(name.endswith(".json") for name in os.listdir(self.folder)):
            shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)
        self._lock = -1

    def _file(self, number: int, ending: str) -> str:
        return os.path.join(self.folder, f"{number:08d}.{ending}")

    def _read(self, path: str) -> Entry | None:
        try:
            with open(path, encoding="utf-8") as file:
                values: dict[str, Any] = json.load(file)
            values["after"] = tuple(values["after"])
            entry = Entry(**values)
            size = os.path.getsize(self.data_of(entry))
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.error("the waiting upload %s cannot be read and is left there: %r", path, error)
            return None
        if size != entry.size:
            log.error("the waiting upload %s has lost some of its content; it stays there", path)
            return None
        return entry


def _take_in(path: StrPath, data: str, link: bool) -> None:
    if link:
        try:
            os.link(os.path.realpath(path), data)
        except OSError:
            # Another file system, or one without links.
            pass
        else:
            return
    shutil.copyfile(path, data)
