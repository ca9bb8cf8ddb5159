"""The one thread that changes anything.

Callers submit a command, a function of a `Tx`, and wait for its result. The thread takes as many
commands as have come, runs each inside a savepoint, appends all their records to the journal with
one
``fsync``, commits the index and only then hands the results out. A command that raises leaves
nothing.
"""

import errno
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

from composer.errors import TrackingError
from composer.tracking.protocol.columns import Column, encode
from composer.tracking.protocol.refusal import RefusedError, RetryLaterError
from composer.tracking.store.apply import CHUNK_OFFSET, Applier, Op, encode_chunk, encode_ops
from composer.tracking.store.index import Reader
from composer.tracking.store.journal import Journal

log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_BATCH: Final = 64
MAX_BATCH_BYTES: Final = 32 << 20
_NO_SPACE: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Tx(Reader):
    """What a command works with: reads that see its own changes, and the changes themselves."""

    def __init__(self, connection: sqlite3.Connection, applier: Applier, journal: Journal) -> None:
        super().__init__(connection)
        self._applier = applier
        self._journal = journal
        self.records = bytearray()
        self._ops: list[Op] = []
        self.notices: list[dict[str, Any]] = []

    @property
    def history(self) -> Any:
        """The rows' index, for line counts and stored chunks."""
        return self._applier.history

    def put(self, table: str, **row: Any) -> int:
        """Insert a row; returns its new id."""
        number = self._applier.next_id
        self._do(["put", table, {"id": number, **row}])
        return number

    def set(self, table: str, number: int, **changes: Any) -> None:
        """Change columns of a row."""
        if changes:
            self._do(["set", table, number, changes])

    def delete(self, table: str, number: int) -> None:
        """Delete a row."""
        self._do(["del", table, number])

    def log_lines(self, run_id: int, first: int, lines: list[str]) -> None:
        """Write console lines at their numbers, over what is there."""
        self._do(["log", run_id, first, lines])

    def cut(self, run_id: int, stream: int, keep_lines: int) -> None:
        """Drop a stream's lines from ``keep_lines`` on."""
        self._do(["cut", run_id, stream, keep_lines])

    def cut_log(self, run_id: int, keep_lines: int) -> None:
        """Drop console lines from ``keep_lines`` on."""
        self._do(["cutlog", run_id, keep_lines])

    def drop_run(self, run_id: int) -> None:
        """Delete a run with everything that hangs on it."""
        self._do(["drop", run_id])

    def _do(self, op: Op) -> None:
        self._applier.op(op)
        self._ops.append(op)

    def add_rows(
        self, run_id: int, stream: int, first_line: int, num_rows: int, columns: dict[int, Column]
    ) -> None:
        """Append rows, as columns by series id."""
        self._flush_ops()
        data = encode(columns, num_rows)
        offset = self._journal.end.offset + len(self.records) + CHUNK_OFFSET
        self.records += encode_chunk(run_id, stream, first_line, data)
        place = (self._journal.end.segment, offset)
        self._applier.history.unwritten[place] = data
        self._applier.chunk(run_id, stream, first_line, data, place, columns)

    def _flush_ops(self) -> None:
        if self._ops:
            self.records += encode_ops(self._ops)
            self._ops = []

    def finish(self) -> bytearray:
        """The records of everything done so far."""
        self._flush_ops()
        return self.records

    def announce(self, **notice: Any) -> None:
        """Tell listeners something once it is stored."""
        self.notices.append(notice)


Command = Callable[[Tx], Any]


@dataclass(slots=True)
class _Job:
    command: Command
    size: int
    future: "Future[Any]" = field(default_factory=lambda: cast("Future[Any]", Future()))
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Runs commands one after another on its own thread."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        journal: Journal,
        applier: Applier,
        announce: Callable[[list[dict[str, Any]]], None],
    ) -> None:
        self._db = connection
        self._journal = journal
        self._applier = applier
        self._announce = announce
        self._queue: queue.Queue[_Job | None] = queue.Queue(maxsize=1024)
        self._is_closed = False
        self._is_behind = False
        self._thread = threading.Thread(target=self._run, name="tracker-writer", daemon=True)
        self._thread.start()

    def submit(self, command: Callable[[Tx], T], size: int = 0) -> "Future[T]":
        """Queue a command.

        Args:
            command: does its reading and writing through the `Tx` it is given.
            size: about how many bytes it will write.

        Raises:
            RetryLaterError: the server is stopping.
        """
        if self._is_closed:
            raise RetryLaterError("the server is stopping; try again.")
        job = _Job(command, size)
        self._queue.put(job)
        return cast("Future[T]", job.future)

    def do(self, command: Callable[[Tx], T], size: int = 0) -> T:
        """Run a command and wait until it is on disk."""
        return self.submit(command, size).result()

    def close(self) -> None:
        """Finish what was submitted and stop."""
        if not self._is_closed:
            self._is_closed = True
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        is_open = True
        while is_open:
            jobs, is_open = self._collect()
            try:
                self._batch(jobs)
            except BaseException as error:
                log.exception("the writer failed on a batch")
                for job in jobs:
                    if not job.future.done():
                        job.future.set_exception(RetryLaterError(f"storing failed: {error}"))

    def _collect(self) -> tuple[list[_Job], bool]:
        first = self._queue.get()
        if first is None:
            return [], False
        jobs, size = [first], first.size
        while len(jobs) < MAX_BATCH and size < MAX_BATCH_BYTES:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return jobs, False
            jobs.append(job)
            size += job.size
        return jobs, True

    def _batch(self, jobs: list[_Job]) -> None:
        if not jobs:
            return
        try:
            if self._is_behind:
                self._catch_up()
            self._journal.prepare(sum(job.size for job in jobs))
        except (OSError, sqlite3.Error) as error:
            self._undo()
            self._fail(jobs, error)
            return
        tx = Tx(self._db, self._applier, self._journal)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for job in jobs:
                self._run_one(job, tx)
            records = tx.finish()
            if records:
                self._journal.append(bytes(records))
                self._is_behind = True
                self._applier.save_progress(self._journal.end)
            self._db.execute("COMMIT")
            self._is_behind = False
        except (OSError, sqlite3.Error) as error:
            self._undo()
            self._fail(jobs, error)
            return
        self._applier.history.unwritten.clear()
        self._applier.history.trim_memory()
        self._answer(jobs, tx)

    def _catch_up(self) -> None:
        """Apply what is in the journal and did not make it into the index, e.g. on a full disk."""
        self._db.execute("BEGIN IMMEDIATE")
        for record in self._journal.read(self._applier.progress()):
            self._applier.record(record)
        self._applier.save_progress(self._journal.end)
        self._db.execute("COMMIT")
        self._is_behind = False

    def _run_one(self, job: _Job, tx: Tx) -> None:
        """Run a command; if it raises, the index and the records are as before it."""
        tx.finish()
        size, num_notices, next_id = len(tx.records), len(tx.notices), self._applier.next_id
        self._db.execute("SAVEPOINT command")
        try:
            job.result = job.command(tx)
            tx.finish()
        except sqlite3.OperationalError:
            raise
        except Exception as error:  # noqa: BLE001 - handed to the caller.
            self._db.execute("ROLLBACK TO command")
            tx.finish()
            del tx.records[size:]
            del tx.notices[num_notices:]
            self._applier.next_id = next_id
            self._applier.forget()
            job.error = error
        self._db.execute("RELEASE command")

    def _undo(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._applier.forget()
        self._applier.history.unwritten.clear()
        self._applier.load_next_id()

    def _fail(self, jobs: list[_Job], error: Exception) -> None:
        is_full = isinstance(error, OSError) and error.errno in _NO_SPACE
        why = "the disk is full" if is_full or "full" in str(error) else f"storing failed: {error}"
        log.error("%s; clients are told to try again", why)
        for job in jobs:
            job.future.set_exception(RetryLaterError(f"{why}; nothing was stored, try again."))

    def _answer(self, jobs: list[_Job], tx: Tx) -> None:
        for job in jobs:
            if job.error is None:
                job.future.set_result(job.result)
            else:
                if not isinstance(job.error, (RefusedError, TrackingError)):
                    log.error("a command failed", exc_info=job.error)
                job.future.set_exception(job.error)
        if tx.notices:
            self._announce(tx.notices)
