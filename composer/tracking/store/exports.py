"""Runs as Parquet: made when first asked for, kept in a cache that may be deleted."""

import os
import secrets
from pathlib import Path
from typing import Any, Final

from composer.tracking.protocol import parquet
from composer.tracking.protocol.columns import Column
from composer.tracking.protocol.parquet import ParquetWriter
from composer.tracking.store.history import HISTORY
from composer.tracking.store.index import Reader, Row
from composer.tracking.store.reading import Rows

CACHE_BYTES: Final = 512 << 20
_KINDS: Final = {
    float: parquet.DOUBLE,
    int: parquet.INT64,
    bool: parquet.BOOLEAN,
    str: parquet.TEXT,
}
_GROUP_ROWS: Final = 50_000


class Exports:
    """Makes and caches Parquet files of runs that have ended."""

    def __init__(self, folder: Path, rows: Rows) -> None:
        self._folder = folder
        self._rows = rows
        self._schemas: dict[tuple[int, int], list[tuple[str, int]] | None] = {}

    def is_possible(self, reader: Reader, run: Row) -> bool:
        """Whether every key has values of one simple type, so that Parquet loses nothing."""
        return self.schema(reader, run) is not None

    def schema(self, reader: Reader, run: Row) -> list[tuple[str, int]] | None:
        """Name and Parquet type of each key; None if some key does not fit."""
        key = (run["id"], run["history_lines"])
        if key not in self._schemas:
            if len(self._schemas) > 1000:
                self._schemas.clear()
            has_odd = any(row["num_others"] for row in self._rows.stats(reader, run["id"]))
            self._schemas[key] = None if has_odd else self._find_schema(reader, run)
        return self._schemas[key]

    def _find_schema(self, reader: Reader, run: Row) -> list[tuple[str, int]] | None:
        kinds: dict[str, int] = {}
        for _, columns in self._rows.columns(reader, run["id"], HISTORY):
            for name, column in columns.items():
                types = column.types
                if len(types) != 1:
                    return None
                kind = _KINDS.get(next(iter(types)))
                if kind is None or kinds.setdefault(name, kind) != kind or _is_big(kind, column):
                    return None
        return sorted(kinds.items())

    def file(self, reader: Reader, run: Row) -> Path | None:
        """The Parquet file of a run; None if it cannot be one."""
        schema = self.schema(reader, run)
        if schema is None:
            return None
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"{run['id']}-{run['history_lines']}.parquet"
        if not path.exists():
            temporary = path.with_name(f"{path.name}.{secrets.token_hex(6)}")
            try:
                with temporary.open("wb") as file:
                    self.write(reader, run["id"], schema, file.write)
                os.replace(temporary, path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            self._make_room(path)
        return path

    def write(self, reader: Reader, run_id: int, schema: list[tuple[str, int]], write: Any) -> None:
        """Write a run's rows."""
        writer = ParquetWriter(write, schema)
        waiting: dict[str, Column] = {}
        count = 0
        for num_rows, columns in self._rows.columns(reader, run_id, HISTORY):
            if count + num_rows > _GROUP_ROWS and count:
                writer.group(waiting, count)
                waiting, count = {}, 0
            _extend(waiting, count, columns, num_rows)
            count += num_rows
        if count:
            writer.group(waiting, count)
        writer.close()

    def _make_room(self, newest: Path) -> None:
        files = sorted(
            (path for path in self._folder.glob("*.parquet")), key=lambda p: p.stat().st_mtime
        )
        total = sum(path.stat().st_size for path in files)
        for path in files:
            if total <= CACHE_BYTES or path == newest:
                break
            total -= path.stat().st_size
            path.unlink(missing_ok=True)


def _is_big(kind: int, column: Column) -> bool:
    return kind == parquet.INT64 and any(not -(2**63) <= value < 2**63 for value in column.values)


def _extend(
    waiting: dict[str, Column], start: int, columns: dict[str, Column], num_rows: int
) -> None:
    for name, column in columns.items():
        target = waiting.setdefault(name, Column([], []))
        if column.present is None and target.present is not None and len(target.present) == start:
            target.present += range(start, start + num_rows)
        else:
            offsets = range(num_rows) if column.present is None else column.present
            target.present = [*(target.present or []), *(start + offset for offset in offsets)]
        target.values += column.values
