"""Writing runs out: rows as Parquet, or JSON lines where that cannot hold them."""

import shutil
from pathlib import Path
from typing import Any

from composer.tracking.protocol import jsontext
from composer.tracking.store import files, logs, runs
from composer.tracking.store.history import EVENTS, HISTORY
from composer.tracking.store.index import Reader, Row
from composer.tracking.store.store import Store


def export_run(store: Store, reader: Reader, run: Row, target: Path, with_files: bool) -> None:
    """Write a run into a folder: its rows, values, console and files.

    Args:
        store: the store.
        reader: where to read.
        run: the run.
        target: the folder, made if there is none.
        with_files: also copy the run's files.
    """
    target.mkdir(parents=True, exist_ok=True)
    (target / "run.json").write_bytes(jsontext.dumps_strict(describe(run)))
    path = store.exports.file(reader, run) if run["history_lines"] else None
    if path is not None:
        shutil.copyfile(path, target / "history.parquet")
    elif run["history_lines"]:
        _write_rows(store, reader, run, HISTORY, target / "history.jsonl")
    if run["event_lines"]:
        _write_rows(store, reader, run, EVENTS, target / "events.jsonl")
    if run["log_lines"]:
        with (target / "output.log").open("w", encoding="utf-8") as file:
            for row in logs.read(reader, run["id"], 0, run["log_lines"]):
                file.write(f"{logs.parse(row)['line']}\n")
    if with_files:
        for row in files.listing(reader, run["id"], limit=1_000_000):
            copy = target / "files" / row["path"]
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(store.blobs.path(row["sha256"]), copy)


def describe(run: Row) -> dict[str, Any]:
    """A run's own values, with config and summary as objects."""
    kept = {
        key: value
        for key, value in run.items()
        if key not in ("id", "project_id", "user_id", "reset_pending")
    }
    return kept | {
        "tags": jsontext.loads(run["tags"] or "[]"),
        "config": jsontext.loads_object(run["config"]),
        "summary": jsontext.loads_object(run["summary"]),
    }


def _write_rows(store: Store, reader: Reader, run: Row, stream: int, path: Path) -> None:
    total = run["history_lines" if stream == HISTORY else "event_lines"]
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, total, 5000):
            for row in store.rows.read(reader, run["id"], stream, start, start + 5000):
                file.write(jsontext.dumps(row) + "\n")


def export_project(
    store: Store, reader: Reader, project: Row, target: Path, with_files: bool
) -> int:
    """Write every run of a project into a folder of its own; returns how many."""
    rows = runs.in_project(reader, project["id"])
    for run in rows:
        export_run(store, reader, run, target / run["name"], with_files)
    return len(rows)
