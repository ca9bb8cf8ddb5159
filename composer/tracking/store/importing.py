"""Bringing runs in: offline folders, TensorBoard's events, ablations, projects of a W&B server."""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from composer.errors import MissingDependencyError
from composer.tracking.protocol import jsontext, tensorboard
from composer.tracking.store import files, reports, runs
from composer.tracking.store.history import EVENTS, HISTORY
from composer.tracking.store.index import Row
from composer.tracking.store.store import Store
from composer.tracking.store.watch import Watcher
from composer.tracking.store.writer import Tx


def import_offline(store: Store, folder: Path) -> int:
    """Import every run that a wandb client wrote below a folder; returns how many had news."""
    return len(set(Watcher(store, (folder, folder.parent), online_too=True).poll()))


def import_tensorboard(store: Store, user: Row, folder: Path, project: str) -> int:
    """Import each folder of event files as one run; returns how many."""
    by_folder: dict[Path, list[Path]] = {}
    for path in sorted(folder.rglob("*tfevents*")):
        by_folder.setdefault(path.parent, []).append(path)
    for place, paths in by_folder.items():
        name = (
            place.relative_to(folder).as_posix().replace("/", "-")
            if place != folder
            else folder.name
        )
        rows = _tensorboard_rows(paths)
        store.do(
            lambda tx, name=name, rows=rows: _write(
                store, tx, user, {"modelName": project, "name": name}, rows
            )
        )
    return len(by_folder)


def import_ablation(store: Store, user: Row, source: Path, project: str) -> int:
    """Import the report of every ablation below a folder, or one file; returns how many."""
    paths = [source] if source.is_file() else sorted(source.rglob(reports.FILE))
    for path in paths:
        reports.keep(store, user, None, project, path.read_bytes())
    return len(paths)


def _tensorboard_rows(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """One row per step; a tag logged twice at a step keeps its last value."""
    by_step: dict[int, dict[str, Any]] = {}
    start: float | None = None
    for path in paths:
        for scalar in tensorboard.read(path):
            start = scalar.wall_time if start is None else start
            row = by_step.setdefault(scalar.step, {"_step": scalar.step})
            row[scalar.tag] = scalar.value
            row["_timestamp"] = scalar.wall_time
            row["_runtime"] = scalar.wall_time - start
    return [by_step[step] for step in sorted(by_step)]


def _write(
    store: Store, tx: Tx, user: Row, args: dict[str, Any], rows: list[dict[str, Any]]
) -> int:
    run, _ = runs.upsert(tx, user, {"displayName": args["name"], **args})
    if run["history_lines"]:
        tx.cut(run["id"], HISTORY, 0)
        tx.cut(run["id"], EVENTS, 0)
    store.ingest.append_rows(tx, run["id"], HISTORY, rows)
    summary: dict[str, Any] = {}
    for row in rows:
        summary |= row
    if "summaryMetrics" not in args:
        tx.set("runs", run["id"], summary=jsontext.dumps(summary))
    tx.set("runs", run["id"], state="finished", source="import")
    return run["id"]


def import_wandb(store: Store, user: Row, path: str, with_files: bool) -> int:
    """Import a project of a W&B server, read with the client's own key; returns how many runs.

    Args:
        store: where to.
        user: who will own the runs.
        path: ``entity/project``.
        with_files: also fetch the runs' files.

    Raises:
        MissingDependencyError: wandb is not installed.
    """
    try:
        import wandb
    except ImportError:
        raise MissingDependencyError(
            "importing from a W&B server needs wandb: pip install wandb"
        ) from None
    api: Any = wandb.Api()
    count = 0
    for run in api.runs(path):
        _import_one(store, user, path.rpartition("/")[2], run, with_files)
        count += 1
    return count


def _import_one(store: Store, user: Row, project: str, run: Any, with_files: bool) -> None:
    rows = [dict(row) for row in run.scan_history()]
    config = {key: {"value": value} for key, value in run.config.items()}
    args = {
        "modelName": project,
        "name": run.id,
        "displayName": run.name,
        "notes": run.notes,
        "tags": list(run.tags),
        "groupName": run.group,
        "jobType": run.job_type,
        "config": jsontext.dumps(config),
        "summaryMetrics": jsontext.dumps(dict(run.summary._json_dict)),
    }

    def command(tx: Tx) -> int:
        number = _write(store, tx, user, args, rows)
        tx.set(
            "runs",
            number,
            state=run.state if run.state != "running" else "finished",
            created_at=run.created_at,
        )
        return number

    number = store.do(command)
    found: list[Any] = list(run.files()) if with_files else []
    for file in found:
        _keep_file(store, number, str(file.name), _fetch(file))


def _keep_file(store: Store, number: int, name: str, data: bytes) -> None:
    blob = store.blobs.put(data)
    store.do(lambda tx: files.put(tx, number, name, blob))


def _fetch(file: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        with file.download(root=folder, replace=True) as handle:
            name = handle.name
        return Path(name).read_bytes()
