"""A run's rows in the index: chunks by line number, roll-ups, and what is known of each key.

Chunks either point into the journal or, once several small ones have been merged, hold their bytes.
Everything here happens on the writer's thread, inside its transaction, both when rows arrive and
when the index is rebuilt; the same records always give the same index.
"""

import math
import sqlite3
from typing import Any, Final

from composer.tracking.protocol import columns as col
from composer.tracking.protocol import jsontext, rollup
from composer.tracking.protocol.columns import Column
from composer.tracking.protocol.rollup import (
    BLOCK_ROWS,
    FAN,
    FIRST_LEVEL,
    LEVEL_STEP,
    LEVELS,
    Block,
)
from composer.tracking.store.journal import Journal

HISTORY, EVENTS = 0, 1
PAGE_BLOCKS: Final = 64
MERGE_CHUNKS: Final = 64
MERGE_ROWS: Final = 4096
_LINES_COLUMN: Final = ("history_lines", "event_lines")
# What a chart's x axis is looked up by, per stream.
AXIS: Final = ("_step", "_timestamp")


class Stats:
    """What is known of one key: how many values of which type, and whether they ever fell."""

    __slots__ = ("is_monotonic", "last", "num_numbers", "num_others", "num_strings")

    def __init__(self) -> None:
        self.num_numbers = self.num_strings = self.num_others = 0
        self.is_monotonic = True
        self.last: Any = None

    def add(self, column: Column, sign: int = 1) -> bool:
        """Count values (or, with ``sign`` -1, take them back); whether all are numbers."""
        types, values = column.types, column.values
        if types <= {int, float}:
            self.num_numbers += sign * len(values)
        else:
            strings = sum(1 for value in values if isinstance(value, str))
            nums = sum(1 for value in values if type(value) in (int, float))
            self.num_strings += sign * strings
            self.num_numbers += sign * nums
            self.num_others += sign * (len(values) - strings - nums)
        return types <= {int, float}

    def follow(self, values: list[Any]) -> None:
        """Note the last value, and whether numbers still only rise."""
        if self.is_monotonic:
            before = self.last if type(self.last) in (int, float) else None
            rising = values if before is None else [before, *values]
            try:
                # Sorting sorted data is one pass in C; NaN makes the answer False, as it should.
                self.is_monotonic = sorted(rising) == rising
            except TypeError:
                self.is_monotonic = False
        self.last = values[-1]


class _Stream:
    """The writer's memory of one run's stream: the open block, open pages, statistics."""

    def __init__(self) -> None:
        self.num_lines = 0
        self.tail: dict[int, list[Any]] = {}
        self.tail_rows = 0
        self.pages: dict[tuple[int, int], tuple[int, bytearray]] = {}
        self.pending: dict[tuple[int, int], list[Block]] = {}
        self.stats: dict[int, Stats] = {}
        self.small: list[int] = []
        self.small_rows = 0


class HistoryIndex:
    """Applies chunks and truncations of rows to the index."""

    def __init__(self, connection: sqlite3.Connection, journal: Journal) -> None:
        self._db = connection
        self._journal = journal
        self._streams: dict[tuple[int, int], _Stream] = {}
        # Bytes of chunks whose batch is not in the journal yet, by their place in it.
        self.unwritten: dict[tuple[int, int], bytes] = {}

    def num_lines(self, run_id: int, stream: int) -> int:
        """Lines the stream has, i.e. the number the next line gets."""
        return self._stream(run_id, stream).num_lines

    def forget(self, run_id: int | None = None) -> None:
        """Drop what is remembered of a run (or of all), after a rollback or deletion."""
        if run_id is None:
            self._streams.clear()
        else:
            self._streams.pop((run_id, HISTORY), None)
            self._streams.pop((run_id, EVENTS), None)

    def trim_memory(self, keep: int = 256) -> None:
        """Forget the streams that were not written for longest; they are read again when needed."""
        while len(self._streams) > keep:
            self._streams.pop(next(iter(self._streams)))

    # Adding

    def add_chunk(
        self,
        run_id: int,
        stream: int,
        first_line: int,
        data: bytes,
        place: tuple[int, int] | None,
        decoded: dict[int, Column] | None = None,
    ) -> None:
        """Append a chunk whose first row has the next line number or a later one.

        Args:
            run_id: the run.
            stream: `HISTORY` or `EVENTS`.
            first_line: line number of the first row.
            data: the chunk's bytes.
            place: segment and offset of the bytes in the journal; None to keep them in the index.
            decoded: the chunk's columns, if the caller has them.
        """
        state = self._stream(run_id, stream, fresh=True)
        num_rows, columns = col.decode(data) if decoded is None else (len_rows(data), decoded)
        if first_line > state.num_lines:
            self._skip(state, first_line)
        low, high = self._span(run_id, stream, columns)
        self._db.execute(
            "INSERT OR REPLACE INTO chunks VALUES (?,?,?,?,?,?,?,?,?,?)",
            (
                run_id,
                stream,
                first_line,
                num_rows,
                low,
                high,
                *(place or (None, None)),
                len(data),
                None if place else data,
            ),
        )
        self._count(run_id, state, columns)
        self._roll(state, columns, num_rows)
        state.num_lines = first_line + num_rows
        self._db.execute(
            f"UPDATE runs SET {_LINES_COLUMN[stream]} = ? WHERE id = ?", (state.num_lines, run_id)
        )
        self._merge_small(run_id, stream, state, first_line, num_rows)

    def _span(self, run_id: int, stream: int, columns: dict[int, Column]) -> tuple[Any, Any]:
        axis = self._db.execute(
            "SELECT id FROM series WHERE run_id = ? AND stream = ? AND key = ?",
            (run_id, stream, AXIS[stream]),
        ).fetchone()
        column = columns.get(axis["id"]) if axis else None
        found = [x for x in rollup.numbers(column.values) if math.isfinite(x)] if column else []
        return (min(found), max(found)) if found else (None, None)

    def _skip(self, state: _Stream, to_line: int) -> None:
        """Leave a gap of lines that never came; blocks stay aligned to line numbers."""
        missing = to_line - state.num_lines
        rest_of_block = BLOCK_ROWS - state.tail_rows
        self._roll(state, {}, min(missing, rest_of_block))
        state.num_lines = to_line
        if missing >= rest_of_block:
            state.tail, state.tail_rows = {}, to_line % BLOCK_ROWS

    def _count(self, run_id: int, state: _Stream, columns: dict[int, Column]) -> None:
        rows: list[tuple[Any, ...]] = []
        for series_id, column in columns.items():
            stats = state.stats.get(series_id)
            if stats is None:
                stats = state.stats[series_id] = Stats()
            if stats.add(column):
                stats.follow(column.values)
            else:
                stats.is_monotonic = False
                stats.last = column.values[-1]
            rows.append(_stats_row(series_id, run_id, stats))
        self._db.executemany("INSERT OR REPLACE INTO series_stats VALUES (?,?,?,?,?,?,?)", rows)

    def _roll(self, state: _Stream, columns: dict[int, Column], num_rows: int) -> None:
        base = state.num_lines - state.tail_rows
        total = state.tail_rows + num_rows
        changed: set[tuple[int, int]] = set()
        tail: dict[int, list[Any]] = {}
        full = total - total % BLOCK_ROWS
        for series_id in columns.keys() | state.tail.keys():
            old = state.tail.get(series_id)
            column = columns.get(series_id)
            values = (old if old is not None else [None] * state.tail_rows) + (
                column.dense(num_rows) if column else [None] * num_rows
            )
            if full:
                # A dense column's types are known; only what came before it may differ.
                before = old if old is not None else [None] * state.tail_rows
                types: set[type] = set(map(type, before))
                types |= column.types if column and column.present is None else {type(None)}
                is_plain = types == {float}
                self._roll_series(state, series_id, base, values, full, changed, is_plain)
            if full < total and any(value is not None for value in values[full:]):
                tail[series_id] = values[full:]
        state.tail, state.tail_rows = tail, total - full
        if full:
            self._close_levels(state, (base + full) >> FIRST_LEVEL, changed)
            self._save_pages(state, changed)

    def _roll_series(
        self,
        state: _Stream,
        series_id: int,
        base: int,
        values: list[Any],
        full: int,
        changed: set[tuple[int, int]],
        is_plain: bool,
    ) -> None:
        first = base >> FIRST_LEVEL
        for offset in range(0, full, BLOCK_ROWS):
            block = values[offset : offset + BLOCK_ROWS]
            found: list[float] = block if is_plain else rollup.numbers(block)
            if found:
                index = first + offset // BLOCK_ROWS
                self._push(state, series_id, 0, rollup.summarise(index, found), changed)

    def _push(
        self,
        state: _Stream,
        series_id: int,
        depth: int,
        block: Block,
        changed: set[tuple[int, int]],
    ) -> None:
        """Put a finished block on its page and among those waiting for the next level."""
        index = block[0]
        if depth + 1 < len(LEVELS):
            waiting = state.pending.get((series_id, depth))
            if waiting is not None and waiting[0][0] // FAN != index // FAN:
                self._promote(state, series_id, depth, changed)
                waiting = None
            if waiting is None:
                state.pending[series_id, depth] = [block]
            else:
                waiting.append(block)
        key = (series_id, LEVELS[depth])
        page = state.pages.get(key)
        number = index // PAGE_BLOCKS
        if page is None or page[0] != number:
            if page is not None and key in changed:
                self._save_page(key, *page)
            page = state.pages[key] = (number, bytearray())
        page[1].extend(rollup.pack_one(block))
        changed.add(key)

    def _promote(
        self, state: _Stream, series_id: int, depth: int, changed: set[tuple[int, int]]
    ) -> None:
        waiting = state.pending.pop((series_id, depth))
        merged = rollup.merge(waiting[0].index // FAN, waiting)
        self._push(state, series_id, depth + 1, merged, changed)

    def _close_levels(self, state: _Stream, num_blocks: int, changed: set[tuple[int, int]]) -> None:
        """Promote groups of blocks whose last row has passed, with or without a value."""
        for depth in range(len(LEVELS) - 1):
            done = num_blocks >> (LEVEL_STEP * (depth + 1))
            for key in [each for each in state.pending if each[1] == depth]:
                if state.pending[key][0].index // FAN < done:
                    self._promote(state, key[0], depth, changed)

    def _save_pages(self, state: _Stream, changed: set[tuple[int, int]]) -> None:
        for key in changed:
            self._save_page(key, *state.pages[key])

    def _save_page(self, key: tuple[int, int], number: int, data: bytes | bytearray) -> None:
        self._db.execute("INSERT OR REPLACE INTO rollups VALUES (?,?,?,?)", (*key, number, data))

    def _merge_small(
        self, run_id: int, stream: int, state: _Stream, line: int, num_rows: int
    ) -> None:
        """Merge many small chunks into one, so that reading a long run stays cheap."""
        if num_rows < MERGE_ROWS // 8:
            state.small.append(line)
            state.small_rows += num_rows
        enough = len(state.small) >= MERGE_CHUNKS or state.small_rows >= MERGE_ROWS
        if not enough and (num_rows < MERGE_ROWS // 8 or not state.small):
            return
        if len(state.small) > 1:
            rows = self._db.execute(
                "SELECT * FROM chunks WHERE run_id = ? AND stream = ? AND first_line "
                "BETWEEN ? AND ? "
                "ORDER BY first_line",
                (run_id, stream, state.small[0], state.small[-1]),
            ).fetchall()
            self._write_merged(rows)
        state.small, state.small_rows = [], 0

    def _write_merged(self, rows: list[dict[str, Any]]) -> None:
        for group in _consecutive(rows):
            if len(group) < 2:
                continue
            data = join([col.decode(self.chunk_bytes(row)) for row in group])
            first = group[0]
            self._db.execute(
                "DELETE FROM chunks WHERE run_id = ? AND stream = ? AND first_line BETWEEN ? AND ?",
                (first["run_id"], first["stream"], first["first_line"], group[-1]["first_line"]),
            )
            lows = [row["low"] for row in group if row["low"] is not None]
            highs = [row["high"] for row in group if row["high"] is not None]
            self._db.execute(
                "INSERT INTO chunks VALUES (?,?,?,?,?,?,NULL,NULL,?,?)",
                (
                    first["run_id"],
                    first["stream"],
                    first["first_line"],
                    sum(row["num_rows"] for row in group),
                    min(lows, default=None),
                    max(highs, default=None),
                    len(data),
                    data,
                ),
            )

    def chunk_bytes(self, row: dict[str, Any]) -> bytes:
        """The bytes of a chunk, from the index or the journal."""
        if row["data"] is not None:
            return row["data"]
        waiting = self.unwritten.get((row["segment"], row["offset"]))
        if waiting is not None:
            return waiting
        return self._journal.read_at(row["segment"], row["offset"], row["length"])

    # Cutting

    def truncate(self, run_id: int, stream: int, keep_lines: int) -> None:
        """Drop every line from ``keep_lines`` on, with all that was derived from them."""
        if keep_lines >= self.num_lines(run_id, stream):
            return
        state = self._stream(run_id, stream)
        rows = self._db.execute(
            "SELECT * FROM chunks WHERE run_id = ? AND stream = ? AND first_line + num_rows > ? "
            "ORDER BY first_line",
            (run_id, stream, keep_lines),
        ).fetchall()
        for row in rows:
            self._cut_chunk(run_id, row, keep_lines, state)
        self._cut_rollups(state, keep_lines)
        self._db.execute(
            f"UPDATE runs SET {_LINES_COLUMN[stream]} = ? WHERE id = ?", (keep_lines, run_id)
        )
        self._streams.pop((run_id, stream), None)

    def _cut_chunk(self, run_id: int, row: dict[str, Any], keep_lines: int, state: _Stream) -> None:
        _, columns = col.decode(self.chunk_bytes(row))
        keep = max(0, keep_lines - row["first_line"])
        kept, dropped = split(columns, keep)
        for series_id, column in dropped.items():
            stats = state.stats.get(series_id)
            if stats is not None:
                stats.add(column, -1)
                stats.last = kept[series_id].values[-1] if series_id in kept else None
                self._db.execute(
                    "INSERT OR REPLACE INTO series_stats VALUES (?,?,?,?,?,?,?)",
                    _stats_row(series_id, run_id, stats),
                )
        key = (row["run_id"], row["stream"], row["first_line"])
        self._db.execute(
            "DELETE FROM chunks WHERE run_id = ? AND stream = ? AND first_line = ?", key
        )
        if keep:
            data = col.encode(kept, keep)
            low, high = self._span(run_id, row["stream"], kept)
            self._db.execute(
                "INSERT INTO chunks VALUES (?,?,?,?,?,?,NULL,NULL,?,?)",
                (*key, keep, low, high, len(data), data),
            )

    def _cut_rollups(self, state: _Stream, keep_lines: int) -> None:
        for series_id in state.stats:
            for level in LEVELS:
                whole = keep_lines >> level
                page = whole // PAGE_BLOCKS
                self._db.execute(
                    "DELETE FROM rollups WHERE series_id = ? AND level = ? AND page > ?",
                    (series_id, level, page),
                )
                row = self._db.execute(
                    "SELECT data FROM rollups WHERE series_id = ? AND level = ? AND page = ?",
                    (series_id, level, page),
                ).fetchone()
                if row:
                    blocks = [each for each in rollup.unpack(row["data"]) if each.index < whole]
                    self._save_page((series_id, level), page, rollup.pack(blocks))

    def drop_run(self, run_id: int) -> None:
        """Remove everything derived from a run's rows."""
        self._db.execute(
            "DELETE FROM rollups WHERE series_id IN (SELECT series_id FROM series_stats "
            "WHERE run_id = ?)",
            (run_id,),
        )
        for table in ("series_stats", "chunks", "logs"):
            self._db.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))
        self.forget(run_id)

    # Remembering

    def _stream(self, run_id: int, stream: int, fresh: bool = False) -> _Stream:
        key = (run_id, stream)
        state = self._streams.get(key)
        if state is None:
            state = self._streams[key] = self._load(run_id, stream)
        elif fresh:  # Keep the order of last use, for `trim_memory`.
            self._streams[key] = self._streams.pop(key)
        return state

    def _load(self, run_id: int, stream: int) -> _Stream:
        state = _Stream()
        run = self._db.execute(
            f"SELECT {_LINES_COLUMN[stream]} AS n FROM runs WHERE id = ?", (run_id,)
        ).fetchone()
        state.num_lines = (run["n"] if run else 0) or 0
        if not state.num_lines:
            return state
        for row in self._db.execute(
            "SELECT * FROM series_stats WHERE series_id IN "
            "(SELECT id FROM series WHERE run_id = ? AND stream = ?)",
            (run_id, stream),
        ):
            state.stats[row["series_id"]] = _load_stats(row)
        self._load_tail(run_id, stream, state)
        for series_id in state.stats:
            for depth in range(len(LEVELS)):
                self._load_page(series_id, depth, state)
        return state

    def _load_tail(self, run_id: int, stream: int, state: _Stream) -> None:
        start = state.num_lines - state.num_lines % BLOCK_ROWS
        state.tail_rows = state.num_lines - start
        for row in self._db.execute(
            "SELECT * FROM chunks WHERE run_id = ? AND stream = ? AND first_line + num_rows > ? "
            "ORDER BY first_line",
            (run_id, stream, start),
        ).fetchall():
            num_rows, columns = col.decode(self.chunk_bytes(row))
            for series_id, column in columns.items():
                values = state.tail.setdefault(series_id, [None] * state.tail_rows)
                for offset, value in enumerate(column.dense(num_rows)):
                    at = row["first_line"] + offset - start
                    if at >= 0:
                        values[at] = value

    def _load_page(self, series_id: int, depth: int, state: _Stream) -> None:
        level = LEVELS[depth]
        row = self._db.execute(
            "SELECT page, data FROM rollups WHERE series_id = ? AND level = ? ORDER BY page "
            "DESC LIMIT 1",
            (series_id, level),
        ).fetchone()
        if row is None:
            return
        blocks = rollup.unpack(row["data"])
        if not blocks:
            return
        state.pages[series_id, level] = (row["page"], bytearray(row["data"]))
        if depth + 1 < len(LEVELS):
            done = state.num_lines >> (level + LEVEL_STEP)
            waiting = [block for block in blocks if block.index // FAN >= done]
            if waiting:
                state.pending[series_id, depth] = waiting


def _stats_row(series_id: int, run_id: int, stats: Stats) -> tuple[Any, ...]:
    last = stats.last if type(stats.last) in (int, float) else None
    return (
        series_id,
        run_id,
        stats.num_numbers,
        stats.num_strings,
        stats.num_others,
        int(stats.is_monotonic),
        None if last is None else jsontext.dumps(last),
    )


def _load_stats(row: dict[str, Any]) -> Stats:
    stats = Stats()
    stats.num_numbers = row["num_numbers"]
    stats.num_strings = row["num_strings"]
    stats.num_others = row["num_others"]
    stats.is_monotonic = bool(row["is_monotonic"])
    stats.last = None if row["last"] is None else jsontext.loads_exact(row["last"])
    return stats


def len_rows(data: bytes) -> int:
    """Number of rows of an encoded chunk."""
    return int.from_bytes(data[:4], "little")


def _consecutive(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    groups: list[list[dict[str, Any]]] = []
    for row in rows:
        if (
            groups
            and groups[-1][-1]["first_line"] + groups[-1][-1]["num_rows"] == row["first_line"]
        ):
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def join(chunks: list[tuple[int, dict[int, Column]]]) -> bytes:
    """Put consecutive chunks one after another, as bytes."""
    total = sum(num_rows for num_rows, _ in chunks)
    merged: dict[int, Column] = {}
    start = 0
    for num_rows, columns in chunks:
        for series_id, column in columns.items():
            target = merged.setdefault(series_id, Column([], []))
            offsets = range(num_rows) if column.present is None else column.present
            target.values += column.values
            target.present += [start + offset for offset in offsets]  # pyright: ignore[reportOperatorIssue]
        start += num_rows
    for column in merged.values():
        if len(column.values) == total:
            column.present = None
    return col.encode(merged, total)


def split(columns: dict[int, Column], keep: int) -> tuple[dict[int, Column], dict[int, Column]]:
    """Cut a chunk's columns before row ``keep``; offsets are left as they are."""
    kept: dict[int, Column] = {}
    dropped: dict[int, Column] = {}
    for series_id, column in columns.items():
        if column.present is None:
            at = keep
            parts = Column(column.values[:at]), Column(column.values[at:])
        else:
            at = sum(1 for offset in column.present if offset < keep)
            parts = (
                Column(column.values[:at], column.present[:at]),
                Column(column.values[at:], column.present[at:]),
            )
        if parts[0].values:
            kept[series_id] = parts[0]
        if parts[1].values:
            dropped[series_id] = parts[1]
    return kept, dropped
