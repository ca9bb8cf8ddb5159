"""Writes the journal anew: what is there now, without what has been replaced or deleted.

A snapshot of every table and every chunk of rows is written to ``journal.new``, which then takes
the place of ``journal``; the index is rebuilt from it. Opening a store finishes or forgets what a
crash cut short: as long as ``journal.old`` is there, the exchange is not over.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from composer.tracking.store.apply import Applier, Op, encode_chunk, encode_ops
from composer.tracking.store.index import Reader
from composer.tracking.store.journal import Journal
from composer.tracking.store.schema import ROW_TABLES

_OPS_PER_RECORD: Final = 200
_LINES_PER_RECORD: Final = 500


def snapshot(reader: Reader, applier: Applier) -> Iterator[bytes]:
    """Framed records that make an empty index equal to this one.

    Args:
        reader: one consistent view.
        applier: gives the next id, and chunks' bytes.
    """
    ops: list[Op] = [["next", applier.next_id]]
    for table in ROW_TABLES:
        # The counts of runs follow from the rows and lines below.
        counts = {"history_lines": 0, "event_lines": 0, "log_lines": 0} if table == "runs" else {}
        for row in reader.each(f"SELECT * FROM {table} ORDER BY id"):
            ops.append(["put", table, row | counts])
            if len(ops) >= _OPS_PER_RECORD:
                yield encode_ops(ops)
                ops = []
    if ops:
        yield encode_ops(ops)
    yield from _logs(reader)
    for row in reader.each("SELECT * FROM chunks ORDER BY run_id, stream, first_line"):
        data = applier.history.chunk_bytes(row)
        yield encode_chunk(row["run_id"], row["stream"], row["first_line"], data)


def _logs(reader: Reader) -> Iterator[bytes]:
    run_id, first, lines = -1, 0, list[Any]()
    for row in reader.each("SELECT * FROM logs ORDER BY run_id, line"):
        is_next = row["run_id"] == run_id and row["line"] == first + len(lines)
        if lines and (not is_next or len(lines) >= _LINES_PER_RECORD):
            yield encode_ops([["log", run_id, first, lines]])
            lines = []
        if not lines:
            run_id, first = row["run_id"], row["line"]
        lines.append(row["text"])
    if lines:
        yield encode_ops([["log", run_id, first, lines]])


def replace(journal: Journal, records: Iterator[bytes]) -> None:
    """Write records to a folder beside the journal and put them in its place.

    Raises:
        OSError: writing failed; the journal is as it was.
    """
    folder = journal.folder
    fresh = Journal(folder.with_name("journal.new"))
    for number in list(fresh.segments):
        fresh.path(number).unlink()
    fresh.segments.clear()
    fresh.open_for_append()
    batch = bytearray()
    for record in records:
        batch += record
        if len(batch) > 4 << 20:
            fresh.prepare(len(batch))
            fresh.append(bytes(batch))
            batch.clear()
    if batch:
        fresh.prepare(len(batch))
        fresh.append(bytes(batch))
    fresh.close()
    old = folder.with_name("journal.old")
    os.replace(folder, old)
    os.replace(folder.with_name("journal.new"), folder)


def finish_exchange(folder: Path) -> None:
    """Put right what a crash during `replace` left; call before the journal is opened.

    Args:
        folder: the store's folder.
    """
    current, old, new = folder / "journal", folder / "journal.old", folder / "journal.new"
    if old.exists():
        if not current.exists():
            os.replace(old, current)
        else:
            # The index still points into the old journal: it must go first.
            for suffix in ("", "-wal", "-shm"):
                (folder / f"index.db{suffix}").unlink(missing_ok=True)
            shutil.rmtree(old)
    if new.exists():
        shutil.rmtree(new)
