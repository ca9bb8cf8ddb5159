"""Writing what clients post: rows, system metrics, console lines, summaries, the end of a run.

Everything is idempotent by line number. A repeated line is skipped; a different line at an old
number replaces it; a different *first* line means that another process started the run afresh, and
drops what was there.
"""

from typing import Any, Final

from composer.tracking.protocol import columns as col
from composer.tracking.protocol import filestream, jsontext
from composer.tracking.protocol.columns import Column
from composer.tracking.protocol.filestream import Lines, Post
from composer.tracking.store import branches, runs
from composer.tracking.store.clock import now
from composer.tracking.store.history import EVENTS, HISTORY
from composer.tracking.store.index import Row
from composer.tracking.store.reading import Rows
from composer.tracking.store.writer import Tx

_STREAMS: Final = ((filestream.HISTORY, HISTORY), (filestream.EVENTS, EVENTS))
_PART: Final = 2048
_HUGE: Final = float(2**63)


class Ingest:
    """Writes posts. Remembers the ids of each run's keys, since every post needs them."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._series: dict[tuple[int, int], dict[str, int]] = {}

    def post(self, tx: Tx, run: Row, post: Post) -> bool:
        """Store a post; returns whether the run has been asked to stop."""
        changes: dict[str, Any] = {"heartbeat_at": now()}
        for name, stream in _STREAMS:
            if name in post.streams:
                self.write(tx, run["id"], stream, post.streams[name])
        output = post.streams.get(filestream.OUTPUT)
        if output is not None and self._write_log(tx, run, output):
            changes["reset_pending"] = 0
        if filestream.SUMMARY in post.streams and post.streams[filestream.SUMMARY].content:
            changes["summary"] = _summary(run, post.streams[filestream.SUMMARY].content[-1])
        state = _state(run, post)
        if state != run["state"]:
            changes["state"] = state
            changes["exit_code"] = post.exit_code if post.is_complete else None
        elif post.is_complete:
            changes["exit_code"] = post.exit_code
        tx.set("runs", run["id"], **changes)
        tx.announce(kind="rows", run=run["id"], state=state)
        return bool(run["stop_requested"])

    def write(self, tx: Tx, run_id: int, stream: int, lines: Lines) -> None:
        """Store lines of history or system metrics."""
        content, offset = lines.content, lines.offset
        known = tx.history.num_lines(run_id, stream)
        if content and offset < known:
            content, offset = self._overlap(tx, run_id, stream, lines, known)
        for start in range(0, len(content), _PART):
            part = content[start : start + _PART]
            self._append(tx, run_id, stream, offset + start, jsontext.loads_lines(part), part)

    def _overlap(
        self, tx: Tx, run_id: int, stream: int, lines: Lines, known: int
    ) -> tuple[list[str], int]:
        """Deal with lines whose numbers are taken; returns what is left to append, and where."""
        count = min(known - lines.offset, len(lines.content))
        stored = self._rows.read(tx, run_id, stream, lines.offset, lines.offset + count, exact=True)
        new = jsontext.loads_lines(lines.content[:count])
        if _same(stored, new):
            return lines.content[count:], lines.offset + count
        if lines.offset == 0 and not _same(stored[:1], new[:1]):
            tx.cut(run_id, stream, 0)
            return lines.content, 0
        after = self._rows.read(
            tx, run_id, stream, lines.offset + len(lines.content), known, exact=True
        )
        tx.cut(run_id, stream, lines.offset)
        for start in range(0, len(lines.content), _PART):
            part = lines.content[start : start + _PART]
            self._append(tx, run_id, stream, lines.offset + start, jsontext.loads_lines(part), part)
        if after:
            self._append(tx, run_id, stream, lines.offset + len(lines.content), after, None)
        return [], 0

    def _append(
        self,
        tx: Tx,
        run_id: int,
        stream: int,
        first: int,
        rows: list[dict[str, Any]],
        texts: list[str] | None,
    ) -> None:
        by_key = col.transpose(rows)
        if texts is not None and any(map(_has_huge, by_key.values())):
            by_key = col.transpose([_exact(text) for text in texts])
        columns = {
            self.series_id(tx, run_id, stream, key): column for key, column in by_key.items()
        }
        tx.add_rows(run_id, stream, first, len(rows), columns)

    def append_rows(self, tx: Tx, run_id: int, stream: int, rows: list[dict[str, Any]]) -> None:
        """Append rows after the last line; for importers and forks."""
        for start in range(0, len(rows), _PART):
            first = tx.history.num_lines(run_id, stream)
            self._append(tx, run_id, stream, first, rows[start : start + _PART], None)

    def series_id(self, tx: Tx, run_id: int, stream: int, key: str) -> int:
        """The number of a run's key, given when it is first seen."""
        known = self._series.get((run_id, stream))
        if known is None:
            if len(self._series) > 512:
                self._series.pop(next(iter(self._series)))
            known = self._series[run_id, stream] = {
                row["key"]: row["id"]
                for row in tx.all(
                    "SELECT id, key FROM series WHERE run_id = ? AND stream = ?", run_id, stream
                )
            }
        number = known.get(key)
        if number is None:
            number = known[key] = tx.put("series", run_id=run_id, stream=stream, key=key)
        return number

    def forget(self) -> None:
        """Drop what is remembered, after a command that may have been undone."""
        self._series.clear()

    def _write_log(self, tx: Tx, run: Row, lines: Lines) -> bool:
        is_reset = bool(run["reset_pending"]) and lines.offset == 0
        if is_reset:
            tx.cut_log(run["id"], 0)
        if lines.content:
            tx.log_lines(
                run["id"], lines.offset, [jsontext.clean_text(line) for line in lines.content]
            )
        return is_reset

    def rewind(self, tx: Tx, run: Row, step: float) -> Row:
        """Cut a run's history after a step; its summary becomes that of the rows that stay."""
        keep = self._rows.line_after_step(tx, run["id"], step)
        branches.keep(tx, self._rows, run, keep)
        tx.cut(run["id"], HISTORY, keep)
        summary = self._rows.last_values(tx, run["id"])
        tx.set(
            "runs",
            run["id"],
            summary=jsontext.dumps(summary),
            state="running",
            heartbeat_at=now(),
            exit_code=None,
            updated_at=now(),
        )
        tx.announce(kind="rows", run=run["id"], state="running", rewound=True)
        return runs.reload(tx, run["id"])

    def fork(self, tx: Tx, parent: Row, child: Row, step: float) -> int:
        """Copy the parent's rows up to a step into a new run; returns how many."""
        keep = self._rows.line_after_step(tx, parent["id"], step)
        for start in range(0, keep, _PART):
            rows = self._rows.read(
                tx, parent["id"], HISTORY, start, min(keep, start + _PART), exact=True
            )
            self.append_rows(tx, child["id"], HISTORY, rows)
        return keep


def _same(stored: list[dict[str, Any]], new: list[dict[str, Any]]) -> bool:
    """Whether rows are equal; NaN equals NaN."""
    return stored == new or jsontext.dumps(_sorted(stored)) == jsontext.dumps(_sorted(new))


def _sorted(rows: list[dict[str, Any]]) -> list[list[tuple[str, Any]]]:
    return [sorted(row.items()) for row in rows]


def _has_huge(column: Column) -> bool:
    """Whether a fast reader may have turned an integer beyond 64 bits into a double."""
    values = column.values
    if column.types != {float}:
        if float not in column.types:
            return False
        return any(
            type(value) is float and abs(value) >= _HUGE and value - value == 0 for value in values
        )
    return (max(values) >= _HUGE or min(values) <= -_HUGE) and any(
        abs(value) >= _HUGE and value - value == 0 for value in values
    )


def _exact(text: str) -> dict[str, Any]:
    try:
        row = jsontext.loads_exact(text)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def _summary(run: Row, text: str) -> str:
    try:
        value = jsontext.loads(text)
    except ValueError:
        return run["summary"]
    return jsontext.clean_text(text) if isinstance(value, dict) else run["summary"]


def _state(run: Row, post: Post) -> str:
    if post.is_complete:
        return "finished" if post.exit_code == 0 else "failed"
    if post.is_preempting:
        return "preempting"
    has_news = bool(post.streams)
    if run["state"] in ("running", "preempting") or (run["state"] == "crashed"):
        return "running" if run["state"] == "crashed" else run["state"]
    return "running" if has_news else run["state"]
