"""The store: one folder, opened by one process, with everything a tracker keeps.

    FOLDER/journal/00000001.log   what happened, in order: the truth
    FOLDER/index.db               tables made from it; may be deleted at any time while nothing runs
    FOLDER/blobs/ab/ab12...       contents of files, by SHA-256
    FOLDER/lock, secret, key      who has it open; what URLs are signed with; the first user's key

Callers read through `reading`, change through `do`, and use the functions of the modules beside
this one with the `Reader` or `Tx` they are handed. No SQL leaves this package, which is what
another backend would have to replace.
"""

import fcntl
import logging
import os
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from composer.errors import TrackingError
from composer.tracking.protocol import ids
from composer.tracking.store import users
from composer.tracking.store.apply import Applier
from composer.tracking.store.blobs import BlobStore
from composer.tracking.store.compaction import finish_exchange, replace, snapshot
from composer.tracking.store.exports import Exports
from composer.tracking.store.index import Index, Reader
from composer.tracking.store.journal import Journal
from composer.tracking.store.manifests import Manifests
from composer.tracking.store.reading import Rows
from composer.tracking.store.rows import Ingest
from composer.tracking.store.writer import Tx, Writer

log = logging.getLogger(__name__)
T = TypeVar("T")


class Store:
    """An open store. Use `open`; close it when done.

    Attributes:
        folder: where it is.
        blobs: contents of files.
        rows: reads rows.
        ingest: writes posts.
        exports: makes Parquet files of runs.
        manifests: reads artifact manifests.
        secret: what URLs are signed with.
        was_rebuilt: whether opening had to rebuild the index.
    """

    def __init__(self, folder: Path) -> None:
        """Open a folder, making it if there is none.

        Raises:
            TrackingError: another process has it open, or it is damaged or of a newer version.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self._lock = _lock(folder)
        try:
            self._open()
        except BaseException:
            os.close(self._lock)
            raise

    def _open(self) -> None:
        finish_exchange(self.folder)
        self.secret = _secret(self.folder / "secret")
        self.blobs = BlobStore(self.folder / "blobs")
        self.blobs.clear_incoming()
        self.journal = Journal(self.folder / "journal")
        dropped = self.journal.open_for_append()
        if dropped:
            log.warning(
                "dropped %d bytes of an unfinished write at the end of the journal", dropped
            )
        self.index = Index(self.folder / "index.db")
        self.was_rebuilt = not self.index.is_usable()
        if self.was_rebuilt:
            self.index.delete()
        connection = self.index.open_writer()
        self.applier = Applier(connection, self.journal)
        self.applier.load_next_id()
        self._catch_up(connection)
        self.rows = Rows(self.applier.history)
        self.ingest = Ingest(self.rows)
        self.exports = Exports(self.folder / "cache", self.rows)
        self.manifests = Manifests(self.blobs)
        self.applier.on_undo.append(self.ingest.forget)
        self._listeners: list[Callable[[list[dict[str, Any]]], None]] = []
        self._listeners_lock = threading.Lock()
        self._writer = Writer(connection, self.journal, self.applier, self._announce)

    def _catch_up(self, connection: Any) -> None:
        """Apply what the index lacks: all of the journal if it is new, else what a crash lost."""
        count = 0
        connection.execute("BEGIN IMMEDIATE")
        for record in self.journal.read(self.applier.progress()):
            self.applier.record(record)
            count += 1
            if count % 5000 == 0:
                self.applier.history.trim_memory()
                self.applier.save_progress(record.next)
                connection.execute("COMMIT")
                connection.execute("BEGIN IMMEDIATE")
        self.applier.save_progress(self.journal.end)
        connection.execute("COMMIT")
        if count:
            log.info("brought the index up to date with %d records", count)

    def reading(self) -> AbstractContextManager[Reader]:
        """One consistent view, for this thread."""
        return self.index.reading()

    def do(self, command: Callable[[Tx], T], size: int = 0) -> T:
        """Change something and wait until it is on disk."""
        return self._writer.do(command, size)

    def submit(self, command: Callable[[Tx], T], size: int = 0) -> "Future[T]":
        """Change something; the future is done when it is on disk."""
        return self._writer.submit(command, size)

    def listen(self, listener: Callable[[list[dict[str, Any]]], None]) -> Callable[[], None]:
        """Call ``listener`` with what was stored, from the writer's thread; returns how to stop."""
        with self._listeners_lock:
            self._listeners.append(listener)

        def stop() -> None:
            with self._listeners_lock:
                self._listeners.remove(listener)

        return stop

    def _announce(self, notices: list[dict[str, Any]]) -> None:
        with self._listeners_lock:
            listeners = list(self._listeners)
        for listener in listeners:
            try:
                listener(notices)
            except Exception:
                log.exception("a listener failed")

    def ensure_first_user(self, name: str = "local") -> str | None:
        """Make a first user, an administrator, if there is none.

        Returns:
            The first user's key, as long as its file is there.
        """
        path = self.folder / "key"
        with self.reading() as reader:
            is_new = not users.everyone(reader)
        if is_new:
            key = path.read_text().strip() if path.exists() else ids.make_key()
            write_private(path, key + "\n")
            self.do(lambda tx: users.add(tx, name, key, is_admin=True))
        return path.read_text().strip() if path.exists() else None

    def compact(self) -> None:
        """Write the journal anew without what was deleted. Nobody else may be using this object.

        Raises:
            OSError: writing failed; nothing has changed.
        """
        with self.reading() as reader:
            replace(self.journal, snapshot(reader, self.applier))
        self._close_files()
        self._open()

    def _close_files(self) -> None:
        self._writer.close()
        self.journal.close()
        self.index.close()

    def close(self) -> None:
        """Finish what was submitted and let go of the folder."""
        self._close_files()
        os.close(self._lock)


def _lock(folder: Path) -> int:
    file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        other = os.read(file, 100).decode(errors="replace").strip()
        os.close(file)
        raise TrackingError(
            f"{str(folder)!r} is in use by another "
            f"tracker{f' (process {other})' if other else ''}. "
            f"Stop that one, or give another --folder."
        ) from None
    os.ftruncate(file, 0)
    os.pwrite(file, str(os.getpid()).encode(), 0)
    return file


def _secret(path: Path) -> bytes:
    if not path.exists():
        write_private(path, secrets.token_hex(32))
    return path.read_text().strip().encode()


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "w") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, path)
