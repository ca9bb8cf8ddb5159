"""Files of runs: names, and which contents they have."""

import mimetypes
import re
from typing import Any

from composer.tracking.protocol import ids
from composer.tracking.store.blobs import Blob
from composer.tracking.store.clock import now
from composer.tracking.store.index import Reader, Row
from composer.tracking.store.writer import Tx


def put(tx: Tx, run_id: int, path: str, blob: Blob) -> int:
    """Give a run a file, over one of the same name.

    Raises:
        BadRequestError: the name is not allowed.
    """
    ids.check_path(path)
    old = tx.one("SELECT id FROM run_files WHERE run_id = ? AND path = ?", run_id, path)
    fields: dict[str, Any] = {
        "sha256": blob.sha256,
        "md5": blob.md5,
        "size": blob.size,
        "updated_at": now(),
        "mimetype": mimetypes.guess_type(path)[0] or "application/octet-stream",
    }
    tx.announce(kind="file", run=run_id, path=path)
    if old:
        tx.set("run_files", old["id"], **fields)
        return old["id"]
    return tx.put("run_files", run_id=run_id, path=path, **fields)


def listing(
    reader: Reader,
    run_id: int,
    names: list[str] | None = None,
    pattern: str | None = None,
    after: int = 0,
    limit: int = 1000,
) -> list[Row]:
    """Files of a run in the order they came.

    Args:
        reader: where to read.
        run_id: the run.
        names: only these, if any are given.
        pattern: only names like this SQL ``LIKE`` pattern.
        after: only files with a greater number.
        limit: how many at most.
    """
    rows = reader.all(
        "SELECT * FROM run_files WHERE run_id = ? AND id > ? ORDER BY id", run_id, after
    )
    wanted = set(names) if names else None
    matcher = _like(pattern) if pattern else None
    found = [
        row
        for row in rows
        if (wanted is None or row["path"] in wanted)
        and (matcher is None or matcher.fullmatch(row["path"]))
    ]
    return found[:limit]


def _like(pattern: str) -> re.Pattern[str]:
    parts = [{"%": ".*", "_": "."}.get(char, re.escape(char)) for char in pattern[:512]]
    # Runs of '%' would make the expression slow, and mean no more than one.
    return re.compile(re.sub(r"(\.\*)+", ".*", "".join(parts)), re.DOTALL)


def find(reader: Reader, run_id: int, path: str) -> Row | None:
    """A run's file by name."""
    return reader.one("SELECT * FROM run_files WHERE run_id = ? AND path = ?", run_id, path)


def count(reader: Reader, run_id: int) -> int:
    """How many files a run has."""
    return reader.value("SELECT count(*) FROM run_files WHERE run_id = ?", run_id)


def used_contents(reader: Reader) -> set[str]:
    """SHA-256 of all contents that something refers to."""
    used: set[str] = set()
    for table in ("run_files", "artifact_files", "manifests"):
        used |= {
            row["sha256"]
            for row in reader.each(f"SELECT DISTINCT sha256 FROM {table} WHERE sha256 IS NOT NULL")
        }
    return used


def delete(tx: Tx, row: Row) -> None:
    """Delete a run's file; its contents go with the next collection."""
    tx.delete("run_files", row["id"])
