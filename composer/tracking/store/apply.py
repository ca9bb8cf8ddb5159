"""Carries records of the journal over to the index: the one way anything gets into it.

The same code runs when something happens and when the index is rebuilt, so the two cannot differ.
"""

import sqlite3
import struct
import zlib
from collections.abc import Callable
from typing import Any, Final

from composer.errors import TrackingError
from composer.tracking.protocol import jsontext
from composer.tracking.protocol.columns import Column
from composer.tracking.store import journal as jnl
from composer.tracking.store.history import HistoryIndex
from composer.tracking.store.journal import Journal, Position, Record
from composer.tracking.store.schema import ROW_TABLES, column_names

CHUNK_HEAD: Final = struct.Struct("<QBQ")  # run, stream, first line
_ZIP_FROM: Final = 400
_MAX_UNZIPPED: Final = 1 << 30

Op = list[Any]


class Applier:
    """Applies operations and chunks within the writer's transaction."""

    def __init__(self, connection: sqlite3.Connection, journal: Journal) -> None:
        self._db = connection
        self.history = HistoryIndex(connection, journal)
        self._columns = {table: column_names(table) for table in ROW_TABLES}
        self._inserts = {
            table: (
                f"INSERT OR REPLACE INTO {table} ({','.join(names)}) VALUES "
                f"({','.join('?' * len(names))})"
            )
            for table, names in self._columns.items()
        }
        self.next_id = 1
        self.on_undo: list[Callable[[], None]] = []

    def forget(self) -> None:
        """Drop everything remembered in memory, after changes were undone."""
        self.history.forget()
        for forget in self.on_undo:
            forget()

    def load_next_id(self) -> None:
        """Read the counter that ids are taken from."""
        row = self._db.execute("SELECT value FROM meta WHERE name = 'next_id'").fetchone()
        self.next_id = int(row["value"]) if row else 1

    def save_progress(self, end: Position) -> None:
        """Note how far the index has come."""
        self._db.execute(
            "INSERT OR REPLACE INTO meta VALUES ('position', ?)", (f"{end.segment}:{end.offset}",)
        )
        self._db.execute("INSERT OR REPLACE INTO meta VALUES ('next_id', ?)", (str(self.next_id),))

    def progress(self) -> Position:
        """How far the index has come; the start if it is new."""
        row = self._db.execute("SELECT value FROM meta WHERE name = 'position'").fetchone()
        if row is None:
            return Position(0, 0)
        segment, _, offset = row["value"].partition(":")
        return Position(int(segment), int(offset))

    def op(self, op: Op) -> None:
        """Apply one operation.

        Raises:
            TrackingError: the operation is unknown, i.e. from a newer version.
        """
        name = op[0]
        if name == "put":
            self._put(op[1], op[2])
        elif name == "set":
            self._set(op[1], op[2], op[3])
        elif name == "del":
            self._db.execute(f"DELETE FROM {self._known(op[1])} WHERE id = ?", (op[2],))
        elif name == "log":
            self._log(op[1], op[2], op[3])
        elif name == "cut":
            self.history.truncate(op[1], op[2], op[3])
        elif name == "cutlog":
            self._db.execute("DELETE FROM logs WHERE run_id = ? AND line >= ?", (op[1], op[2]))
            self._db.execute("UPDATE runs SET log_lines = ? WHERE id = ?", (op[2], op[1]))
        elif name == "drop":
            self._drop_run(op[1])
        elif name == "next":
            self.next_id = max(self.next_id, op[1])
        else:
            raise TrackingError(f"unknown operation {name!r} in the journal; upgrade composer-ml.")

    def _known(self, table: str) -> str:
        if table not in ROW_TABLES:
            raise TrackingError(f"unknown table {table!r} in the journal; upgrade composer-ml.")
        return table

    def _put(self, table: str, row: dict[str, Any]) -> None:
        names = self._columns[self._known(table)]
        self._db.execute(self._inserts[table], [row.get(name) for name in names])
        self.next_id = max(self.next_id, row["id"] + 1)

    def _set(self, table: str, number: int, changes: dict[str, Any]) -> None:
        names = [name for name in changes if name in self._columns[self._known(table)]]
        assignments = ", ".join(f"{name} = ?" for name in names)
        self._db.execute(
            f"UPDATE {table} SET {assignments} WHERE id = ?", [*(changes[n] for n in names), number]
        )

    def _log(self, run_id: int, first: int, lines: list[str]) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO logs VALUES (?,?,?)",
            [(run_id, first + offset, line) for offset, line in enumerate(lines)],
        )
        self._db.execute(
            "UPDATE runs SET log_lines = max(coalesce(log_lines, 0), ?) WHERE id = ?",
            (first + len(lines), run_id),
        )

    def _drop_run(self, run_id: int) -> None:
        self.history.drop_run(run_id)
        for table in ("series", "run_files", "alerts", "uses", "branches"):
            self._db.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))
        self._db.execute("UPDATE artifacts SET run_id = NULL WHERE run_id = ?", (run_id,))
        self._db.execute("DELETE FROM runs WHERE id = ?", (run_id,))

    def chunk(
        self,
        run_id: int,
        stream: int,
        first_line: int,
        data: bytes,
        place: tuple[int, int] | None,
        decoded: dict[int, Column] | None = None,
    ) -> None:
        """Apply a chunk of rows. See `HistoryIndex.add_chunk`."""
        self.history.add_chunk(run_id, stream, first_line, data, place, decoded)

    def record(self, record: Record) -> None:
        """Apply a record read from the journal."""
        if record.kind == jnl.CHUNK:
            run_id, stream, first_line = CHUNK_HEAD.unpack_from(record.payload)
            place = (record.at.segment, record.at.offset + CHUNK_HEAD.size)
            self.chunk(run_id, stream, first_line, record.payload[CHUNK_HEAD.size :], place)
            return
        for op in decode_ops(record):
            self.op(op)


def encode_ops(ops: list[Op]) -> bytes:
    """Frame operations as one record; they take effect together or not at all."""
    text = jsontext.dumps(ops).encode("utf-8", "replace")
    if len(text) >= _ZIP_FROM:
        return jnl.frame(jnl.OPS_ZIPPED, zlib.compress(text, 1))
    return jnl.frame(jnl.OPS, text)


def decode_ops(record: Record) -> list[Op]:
    """Read the operations of a record.

    Raises:
        TrackingError: a kind of record this version does not know.
    """
    if record.kind == jnl.OPS:
        return jsontext.loads_exact(record.payload)
    if record.kind == jnl.OPS_ZIPPED:
        return jsontext.loads_exact(zlib.decompress(record.payload))
    raise TrackingError(f"unknown record kind {record.kind} in the journal; upgrade composer-ml.")


def encode_chunk(run_id: int, stream: int, first_line: int, data: bytes) -> bytes:
    """Frame a chunk of rows as one record."""
    return jnl.frame(jnl.CHUNK, CHUNK_HEAD.pack(run_id, stream, first_line) + data)


CHUNK_OFFSET: Final = jnl.RECORD_HEAD + CHUNK_HEAD.size
