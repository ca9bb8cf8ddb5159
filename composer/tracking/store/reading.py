"""Reading a run's rows: whole, by step, sampled, and the blocks that a chart is drawn from.

Nothing here needs more than the chunks and blocks that a question touches. A range of a chart is
cut into the largest stored blocks that fit, with single rows at its edges, so that its extremes are
exact.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any, Final

from composer.tracking.protocol import columns as col
from composer.tracking.protocol import jsontext, rollup
from composer.tracking.protocol.columns import Column
from composer.tracking.protocol.rollup import LEVELS, Block
from composer.tracking.store.history import AXIS, HISTORY, PAGE_BLOCKS, HistoryIndex
from composer.tracking.store.index import Reader, Row

NO_LIMIT: Final = 2**62


class Rows:
    """Reads rows of runs. Safe to use from any thread with that thread's own reader."""

    def __init__(self, history: HistoryIndex) -> None:
        self._bytes = history.chunk_bytes

    # What keys there are

    def keys(self, reader: Reader, run_id: int, stream: int = HISTORY) -> dict[str, int]:
        """Number of each key of a stream."""
        return {
            row["key"]: row["id"]
            for row in reader.all(
                "SELECT id, key FROM series WHERE run_id = ? AND stream = ?", run_id, stream
            )
        }

    def stats(self, reader: Reader, run_id: int, stream: int = HISTORY) -> list[Row]:
        """Per key: counts by type, whether it only rises, its last number."""
        return reader.all(
            "SELECT s.key, t.* FROM series s JOIN series_stats t ON t.series_id = s.id "
            "WHERE s.run_id = ? AND s.stream = ? ORDER BY s.key",
            run_id,
            stream,
        )

    # Rows

    def read(
        self,
        reader: Reader,
        run_id: int,
        stream: int,
        start: int,
        stop: int,
        keys: Sequence[str] | None = None,
        exact: bool = False,
    ) -> list[dict[str, Any]]:
        """Rows by line number.

        Args:
            reader: where to read.
            run_id: the run.
            stream: history or system metrics.
            start: first line.
            stop: line after the last.
            keys: keys to read; None reads all.
            exact: give an empty row for a line that never came, instead of leaving it out.
        """
        rows: list[dict[str, Any]] = []
        for first, part in self._parts(
            reader,
            run_id,
            stream,
            keys,
            "first_line + num_rows > ? AND first_line < ?",
            (start, stop),
        ):
            if exact:
                rows += [{} for _ in range(max(first, start) - start - len(rows))]
            rows += part[max(0, start - first) : stop - first]
        return rows

    def by_step(
        self,
        reader: Reader,
        run_id: int,
        low: float,
        high: float,
        limit: int,
        keys: Sequence[str] | None = None,
        stream: int = HISTORY,
    ) -> list[dict[str, Any]]:
        """Rows whose step is from ``low`` to below ``high``, in line order, at most ``limit``."""
        axis = AXIS[stream]
        wanted = None if keys is None else [*dict.fromkeys([*keys, axis])]
        rows: list[dict[str, Any]] = []
        for _, part in self._parts(
            reader, run_id, stream, wanted, "high >= ? AND low < ?", (low, high)
        ):
            rows += [row for row in part if _within(row.get(axis), low, high)]
            if len(rows) >= limit:
                break
        return rows[:limit]

    def _parts(
        self,
        reader: Reader,
        run_id: int,
        stream: int,
        keys: Sequence[str] | None,
        where: str,
        arguments: tuple[Any, ...],
    ) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        names = {number: key for key, number in self.keys(reader, run_id, stream).items()}
        wanted = (
            None if keys is None else {number for number, key in names.items() if key in set(keys)}
        )
        for row in self._chunks(reader, run_id, stream, where, arguments):
            num_rows, columns = col.decode(self._bytes(row), wanted)
            named = {names[number]: column for number, column in columns.items() if number in names}
            yield row["first_line"], col.to_rows(named, num_rows)

    def _chunks(
        self, reader: Reader, run_id: int, stream: int, where: str, arguments: tuple[Any, ...]
    ) -> list[Row]:
        # The bytes of merged chunks are read one by one: a long run's do not fit in memory at once.
        found = reader.all(
            "SELECT rowid AS at, run_id, stream, first_line, num_rows, segment, offset, "
            "length, low, high "
            f"FROM chunks WHERE run_id = ? AND stream = ? AND {where} ORDER BY first_line",
            run_id,
            stream,
            *arguments,
        )
        return [
            _LazyChunk(reader, row) if row["segment"] is None else {**row, "data": None}
            for row in found
        ]

    def columns(
        self, reader: Reader, run_id: int, stream: int, keys: Sequence[str] | None = None
    ) -> Iterator[tuple[int, dict[str, Column]]]:
        """Every chunk as columns by key, with its number of rows; for exports."""
        names = {number: key for key, number in self.keys(reader, run_id, stream).items()}
        wanted = (
            None if keys is None else {number for number, key in names.items() if key in set(keys)}
        )
        for row in self._chunks(reader, run_id, stream, "first_line >= ?", (0,)):
            num_rows, columns = col.decode(self._bytes(row), wanted)
            yield (
                num_rows,
                {names[number]: column for number, column in columns.items() if number in names},
            )

    def others(
        self, reader: Reader, run_id: int, stream: int, key: str, limit: int
    ) -> list[dict[str, Any]]:
        """Values of a key that are no numbers, the last ``limit`` of them, as step and value."""
        axis = AXIS[stream]
        found: list[dict[str, Any]] = []
        for _, part in self._parts(reader, run_id, stream, [key, axis], "first_line >= ?", (0,)):
            found += [
                {"step": row.get(axis), "value": row[key]}
                for row in part
                if key in row and type(row[key]) not in (int, float)
            ]
        return found[-limit:]

    def tail(self, reader: Reader, run_id: int, stream: int) -> list[dict[str, Any]]:
        """The last row, as a list of at most one."""
        row = reader.one(
            "SELECT first_line + num_rows AS stop FROM chunks WHERE run_id = ? AND stream = ? "
            "ORDER BY first_line DESC LIMIT 1",
            run_id,
            stream,
        )
        return (
            [] if row is None else self.read(reader, run_id, stream, row["stop"] - 1, row["stop"])
        )

    def sample(
        self,
        reader: Reader,
        run_id: int,
        stream: int,
        count: int,
        keys: Sequence[str] | None = None,
        low: float = -math.inf,
        high: float = math.inf,
    ) -> list[dict[str, Any]]:
        """Rows spread evenly, with the first and the last; rows must have every one of ``keys``.

        Args:
            reader: where to read.
            run_id: the run.
            stream: history or system metrics.
            count: how many at most.
            keys: keys that rows must have; only these are returned. None returns rows whole.
            low: lowest step wanted.
            high: step below which rows are wanted.
        """
        if keys is None and low == -math.inf and high == math.inf:
            return self._sample_lines(reader, run_id, stream, count)
        axis = AXIS[stream]
        named = self.keys(reader, run_id, stream)
        asked = list(keys) if keys is not None else list(named)
        if keys is not None and any(key not in named for key in asked):
            return []
        rows: list[dict[str, Any]] = []
        for _, part in self._parts(
            reader,
            run_id,
            stream,
            [*asked, axis],
            "coalesce(high, 0) >= ? AND coalesce(low, 0) < ?",
            (max(low, -1e300), min(high, 1e300)),
        ):
            found = [
                row
                for row in part
                if (keys is None or all(key in row for key in asked))
                and _within(row.get(axis), low, high)
            ]
            if axis not in asked:
                found = [{key: row[key] for key in asked if key in row} for row in found]
            rows += found
        return rows if len(rows) <= count else [rows[i] for i in spread(len(rows), count)]

    def _sample_lines(
        self, reader: Reader, run_id: int, stream: int, count: int
    ) -> list[dict[str, Any]]:
        chunks = self._chunks(reader, run_id, stream, "first_line >= ?", (0,))
        total = sum(chunk["num_rows"] for chunk in chunks)
        chosen = list(range(total)) if total <= count else spread(total, count)
        names = {number: key for key, number in self.keys(reader, run_id, stream).items()}
        rows: list[dict[str, Any]] = []
        before = at = 0
        for chunk in chunks:
            after = before + chunk["num_rows"]
            end = bisect_left(chosen, after, at)
            if end > at:
                offsets = [index - before for index in chosen[at:end]]
                picked = col.pick(self._bytes(chunk), offsets)
                rows += [
                    {names[n]: value for n, value in row.items() if n in names} for row in picked
                ]
            before, at = after, end
        return rows

    # Steps

    def line_after_step(self, reader: Reader, run_id: int, step: float) -> int:
        """Number of the first line whose step is greater; the number of lines if there is none."""
        return self._line_at(reader, run_id, HISTORY, math.nextafter(step, math.inf))

    def _line_at(self, reader: Reader, run_id: int, stream: int, low: float) -> int:
        """Number of the first line whose step is at least ``low``."""
        axis = AXIS[stream]
        for row in self._chunks(reader, run_id, stream, "high >= ?", (low,))[:1]:
            _, part = next(
                self._parts(reader, run_id, stream, [axis], "first_line = ?", (row["first_line"],))
            )
            for offset, each in enumerate(part):
                if _within(each.get(axis), low, math.inf):
                    return row["first_line"] + offset
        found = reader.value(
            "SELECT max(first_line + num_rows) FROM chunks WHERE run_id = ? AND stream = ?",
            run_id,
            stream,
        )
        return found or 0

    def step_at(self, reader: Reader, run_id: int, line: int) -> float | None:
        """The step of a line; None if there is no such line or it has none."""
        rows = self.read(reader, run_id, HISTORY, line, line + 1, [AXIS[HISTORY]])
        return rows[0].get(AXIS[HISTORY]) if rows else None

    def last_step(self, reader: Reader, run_id: int) -> int:
        """The largest step; -1 if there are no rows."""
        found = reader.value(
            "SELECT max(high) FROM chunks WHERE run_id = ? AND stream = ?", run_id, HISTORY
        )
        return -1 if found is None else int(found)

    def last_values(self, reader: Reader, run_id: int) -> dict[str, Any]:
        """The last value of every key: the summary that the rows imply."""
        names = {number: key for key, number in self.keys(reader, run_id, HISTORY).items()}
        live = {
            row["series_id"]
            for row in self.stats(reader, run_id)
            if row["num_numbers"] + row["num_strings"] + row["num_others"] > 0
        }
        values: dict[str, Any] = {}
        for row in reversed(self._chunks(reader, run_id, HISTORY, "first_line >= ?", (0,))):
            missing = {number for number in live if names[number] not in values}
            if not missing:
                break
            _, columns = col.decode(self._bytes(row), missing)
            values |= {names[number]: column.values[-1] for number, column in columns.items()}
        if "_runtime" in values:
            values["_wandb"] = {"runtime": int(values["_runtime"])}
        return values

    # Charts

    def chart(
        self,
        reader: Reader,
        run: Row,
        key: str,
        *,
        x_key: str,
        low: float,
        high: float,
        points: int,
        stream: int = HISTORY,
    ) -> dict[str, Any]:
        """What a line chart of one key needs.

        Args:
            reader: where to read.
            run: the run.
            key: the key on the y axis.
            x_key: the key on the x axis.
            low: smallest x wanted; for ``_step`` it is exact, for others whole blocks are given.
            high: largest x wanted.
            points: about how many points the chart has room for.
            stream: history or system metrics.

        Returns:
            ``{"kind": "rows", "x": [...], "y": [...]}`` while single rows fit, else
            ``{"kind": "blocks", "level": n, "x0", "x1", "min", "max", "mean", "count", "nan",
            ...}``.
        """
        keys = self.keys(reader, run["id"], stream)
        if key not in keys or x_key not in keys:
            return {"kind": "rows", "x": [], "y": []}
        start, stop = self._lines(reader, run, stream, x_key, low, high)
        count = (
            reader.value("SELECT num_numbers FROM series_stats WHERE series_id = ?", keys[key]) or 0
        )
        if stop - start <= 2 * points or (count <= 2 * points and stop - start < 200_000):
            return self._chart_rows(
                reader, run["id"], stream, key, x_key, (start, stop), (low, high)
            )
        level = max(LEVELS[0], math.ceil(math.log2((stop - start) / points)))
        ys = self.blocks(reader, run["id"], stream, key, keys[key], start, stop, level)
        xs = self.blocks(reader, run["id"], stream, x_key, keys[x_key], start, stop, level)
        return _chart_blocks(level, xs, ys)

    def _lines(
        self, reader: Reader, run: Row, stream: int, x_key: str, low: float, high: float
    ) -> tuple[int, int]:
        total = run["history_lines" if stream == HISTORY else "event_lines"] or 0
        if x_key != AXIS[stream]:
            return 0, total
        start = 0 if low == -math.inf else self._line_at(reader, run["id"], stream, low)
        stop = (
            total
            if high == math.inf
            else self._line_at(reader, run["id"], stream, math.nextafter(high, math.inf))
        )
        return start, max(start, stop)

    def _chart_rows(
        self,
        reader: Reader,
        run_id: int,
        stream: int,
        key: str,
        x_key: str,
        lines: tuple[int, int],
        span: tuple[float, float],
    ) -> dict[str, Any]:
        xs: list[Any] = []
        ys: list[Any] = []
        for row in self.read(reader, run_id, stream, *lines, keys=[key, x_key]):
            x, y = row.get(x_key), row.get(key)
            if type(y) in (int, float) and _within(x, span[0], math.nextafter(span[1], math.inf)):
                xs.append(x)
                ys.append(y)
        return {"kind": "rows", "x": xs, "y": ys}

    def blocks(
        self,
        reader: Reader,
        run_id: int,
        stream: int,
        key: str,
        series_id: int,
        start: int,
        stop: int,
        level: int,
    ) -> dict[int, Block]:
        """Blocks of a key over exactly the lines from ``start`` to ``stop``, by block index.

        Args:
            reader: where to read.
            run_id: the run.
            stream: history or system metrics.
            key: the key.
            series_id: its number.
            start: first line.
            stop: line after the last.
            level: blocks of ``2**level`` lines; the first and last may be partial.
        """
        groups: dict[int, list[Block]] = {}
        depth = max(i for i, each in enumerate(LEVELS) if each <= level)
        for each, first, last in _dyadic(start, stop, depth):
            if each < 0:
                self._raw_blocks(reader, run_id, stream, key, first, last, level, groups)
                continue
            shift = level - LEVELS[each]
            for block in self._stored(reader, series_id, LEVELS[each], first, last):
                groups.setdefault(block.index >> shift, []).append(block)
        return {index: rollup.merge(index, groups[index]) for index in sorted(groups)}

    def _raw_blocks(
        self,
        reader: Reader,
        run_id: int,
        stream: int,
        key: str,
        first: int,
        last: int,
        level: int,
        groups: dict[int, list[Block]],
    ) -> None:
        by_index: dict[int, list[Any]] = {}
        for offset, row in enumerate(
            self.read(reader, run_id, stream, first, last, [key], exact=True)
        ):
            if key in row:
                by_index.setdefault((first + offset) >> level, []).append(row[key])
        for index, values in by_index.items():
            found = rollup.numbers(values)
            if found:
                groups.setdefault(index, []).append(rollup.summarise(index, found))

    def _stored(
        self, reader: Reader, series_id: int, level: int, first: int, last: int
    ) -> Iterator[Block]:
        low, high = first >> level, last >> level
        for row in reader.all(
            "SELECT page, data FROM rollups WHERE series_id = ? AND level = ? AND page "
            "BETWEEN ? AND ? "
            "ORDER BY page",
            series_id,
            level,
            low // PAGE_BLOCKS,
            max(low, high - 1) // PAGE_BLOCKS,
        ):
            yield from (block for block in rollup.unpack(row["data"]) if low <= block.index < high)


class _LazyChunk(dict[str, Any]):
    """A chunk's row whose bytes are fetched from the index when they are asked for."""

    def __init__(self, reader: Reader, row: Row) -> None:
        super().__init__(row)
        self._reader = reader

    def __missing__(self, key: str) -> Any:
        if key != "data":
            raise KeyError(key)
        return self._reader.value("SELECT data FROM chunks WHERE rowid = ?", self["at"])


def _within(value: Any, low: float, high: float) -> bool:
    return type(value) in (int, float) and low <= value < high


def spread(total: int, count: int) -> list[int]:
    """Indices of ``count`` of ``total`` things, evenly spaced, with the first and the last."""
    if count <= 1:
        return [total - 1][:count]
    return sorted({round(i * (total - 1) / (count - 1)) for i in range(count)})


def _dyadic(start: int, stop: int, depth: int) -> list[tuple[int, int, int]]:
    """Cut lines into aligned pieces: depth of the stored level or -1 for rows, first, last."""
    if start >= stop:
        return []
    if depth < 0:
        return [(-1, start, stop)]
    size = 1 << LEVELS[depth]
    first, last = -(-start // size) * size, stop // size * size
    if first >= last:
        return _dyadic(start, stop, depth - 1)
    return [
        *_dyadic(start, first, depth - 1),
        (depth, first, last),
        *_dyadic(last, stop, depth - 1),
    ]


def _chart_blocks(level: int, xs: dict[int, Block], ys: dict[int, Block]) -> dict[str, Any]:
    indices = [index for index in ys if index in xs]
    return {
        "kind": "blocks",
        "level": level,
        "x0": [xs[i].low for i in indices],
        "x1": [xs[i].high for i in indices],
        "min": [ys[i].low for i in indices],
        "max": [ys[i].high for i in indices],
        "mean": [ys[i].mean for i in indices],
        "count": [ys[i].count for i in indices],
        "nan": [ys[i].nans for i in indices],
        "plus": [ys[i].plus for i in indices],
        "minus": [ys[i].minus for i in indices],
    }


def history_keys(rows: Rows, reader: Reader, run: Row) -> dict[str, Any]:
    """What is known of a run's keys, in the form clients read as ``historyKeys``."""
    keys: dict[str, Any] = {}
    for row in rows.stats(reader, run["id"]):
        counts = (
            ("number", row["num_numbers"]),
            ("string", row["num_strings"]),
            ("map", row["num_others"]),
        )
        found = [{"type": name, "count": count} for name, count in counts if count]
        if found:
            last = None if row["last"] is None else jsontext.loads_exact(row["last"])
            keys[row["key"]] = {
                "typeCounts": found,
                "monotonic": bool(row["is_monotonic"]),
                "previousValue": jsontext.finite(last) if last is not None else 0,
            }
    return {"keys": keys, "sets": [], "lastStep": rows.last_step(reader, run["id"])}
