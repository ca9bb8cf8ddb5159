"""The index file: SQLite in WAL mode, one writing connection, a reading one per thread.

The index follows the journal and remembers how far it got, so it need not be synced to disk: after
a crash the missing records are applied again.
"""

import sqlite3
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from composer.tracking.store.schema import INDEX_VERSION, create_script

Row = dict[str, Any]


def _as_dict(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> Row:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


class Reader:
    """Reads of one connection. Callers give SQL only from within this package."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def one(self, sql: str, *arguments: Any) -> Row | None:
        """The first row, or None."""
        return self.connection.execute(sql, arguments).fetchone()

    def all(self, sql: str, *arguments: Any) -> list[Row]:
        """Every row."""
        return self.connection.execute(sql, arguments).fetchall()

    def each(self, sql: str, *arguments: Any) -> Iterator[Row]:
        """Rows one by one, for results too long to hold."""
        yield from self.connection.execute(sql, arguments)

    def value(self, sql: str, *arguments: Any) -> Any:
        """The first column of the first row, or None."""
        row = self.connection.execute(sql, arguments).fetchone()
        return next(iter(row.values())) if row else None

    def refresh(self) -> None:
        """See what has been stored since; ends one view and begins another."""
        if self.connection.in_transaction:
            self.connection.execute("COMMIT")
            self.connection.execute("BEGIN")

    def by_id(self, table: str, number: int) -> Row | None:
        """The row of a table with that id."""
        return self.one(f"SELECT * FROM {table} WHERE id = ?", number)

    def by_ids(self, table: str, numbers: Sequence[int]) -> dict[int, Row]:
        """Rows of a table by id."""
        found: dict[int, Row] = {}
        for start in range(0, len(numbers), 500):
            part = numbers[start : start + 500]
            marks = ",".join("?" * len(part))
            for row in self.all(f"SELECT * FROM {table} WHERE id IN ({marks})", *part):
                found[row["id"]] = row
        return found


class Index:
    """Opens the index file and hands out connections."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._lock = threading.Lock()

    def is_usable(self) -> bool:
        """Whether the file exists, is of this version and passes a quick look."""
        if not self.path.exists():
            return False
        try:
            connection = sqlite3.connect(self.path)
            try:
                found = connection.execute(
                    "SELECT value FROM meta WHERE name = 'version'"
                ).fetchone()
            finally:
                connection.close()
        except sqlite3.DatabaseError:
            return False
        return found is not None and found[0] == str(INDEX_VERSION)

    def delete(self) -> None:
        """Remove the file and its companions; it will be rebuilt."""
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def open_writer(self) -> sqlite3.Connection:
        """The one connection that writes; transactions are begun by hand."""
        is_new = not self.path.exists()
        connection = self._connect()
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 2000")
        connection.execute("PRAGMA journal_size_limit = 8388608")
        if is_new:
            connection.executescript(create_script())
            connection.execute("INSERT INTO meta VALUES ('version', ?)", (str(INDEX_VERSION),))
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, timeout=30
        )
        connection.row_factory = _as_dict
        connection.execute("PRAGMA cache_size = -1024")
        connection.execute("PRAGMA temp_store = MEMORY")
        with self._lock:
            self._all.append(connection)
        return connection

    @contextmanager
    def reading(self) -> Generator[Reader]:
        """A reader with one consistent view, on this thread's own connection. Nests."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
            connection.execute("PRAGMA query_only = ON")
        if connection.in_transaction:
            yield Reader(connection)
            return
        connection.execute("BEGIN")
        try:
            yield Reader(connection)
        finally:
            connection.execute("COMMIT")

    def close(self) -> None:
        """Close every connection; the last one folds the WAL into the file."""
        with self._lock:
            for connection in reversed(self._all):
                connection.close()
            self._all.clear()
