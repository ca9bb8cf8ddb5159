"""Runs that clients write offline, read while they are written.

A watched folder is looked through for ``offline-run-*`` and ``run-*`` folders. Each log is followed
from where the last look ended; how far that was is stored together with the rows, so that nothing
is read twice, whatever happens.
"""

import logging
from pathlib import Path
from typing import Any, Final

from composer.tracking.protocol import jsontext, offline
from composer.tracking.protocol.offline import Batch, LogReader
from composer.tracking.protocol.refusal import RefusedError
from composer.tracking.store import files, runs, users
from composer.tracking.store.history import EVENTS, HISTORY
from composer.tracking.store.index import Row
from composer.tracking.store.store import Store
from composer.tracking.store.writer import Tx

log = logging.getLogger(__name__)

_PATTERNS: Final = (
    "offline-run-*/run-*.wandb",
    "run-*/run-*.wandb",
    "wandb/offline-run-*/run-*.wandb",
    "wandb/run-*/run-*.wandb",
    "*/wandb/offline-run-*/run-*.wandb",
    "run-*.wandb",
)
_ROUNDS: Final = 50


class Watcher:
    """Follows every log in some folders.

    Args:
        store: where the runs go.
        folders: where to look.
        online_too: also read logs of runs that were sent to a server, which importing wants.
    """

    def __init__(self, store: Store, folders: tuple[Path, ...], online_too: bool = False) -> None:
        self._store = store
        self._folders = folders
        self._online_too = online_too
        self._logs: dict[Path, _Log] = {}

    def poll(self) -> list[int]:
        """Read what is new; returns the runs that had news."""
        heard: list[int] = []
        for path in self._found():
            follower = self._logs.get(path)
            if follower is None:
                follower = self._logs[path] = _Log(self._store, path)
            try:
                number = follower.poll()
            except (OSError, ValueError, RefusedError) as error:
                if not follower.has_failed:
                    log.warning("cannot read %s: %s", path, error)
                follower.has_failed = True
                continue
            if number is not None:
                heard.append(number)
        return heard

    def _found(self) -> list[Path]:
        found: dict[Path, None] = {}
        for folder in self._folders:
            for pattern in _PATTERNS:
                found |= dict.fromkeys(sorted(folder.glob(pattern)))
        kept = [
            path for path in found if self._online_too or not path.parent.name.startswith("run-")
        ]
        return [
            path
            for path in kept
            if not path.with_name(path.name + ".synced").exists() or path in self._logs
        ]


class _Log:
    """One log on its way into the store."""

    def __init__(self, store: Store, path: Path) -> None:
        self._store = store
        self._path = path
        self._setting = f"watch:{path.resolve()}"
        self._size = -1
        self.has_failed = False
        with store.reading() as reader:
            known = jsontext.loads_object(users.setting(reader, self._setting))
        self._run_id: int | None = known.get("run")
        self._reader = LogReader(path, known.get("offset", 0))
        self._is_done = bool(known.get("done"))

    def poll(self) -> int | None:
        """Read what is new; returns the run if there was anything."""
        size = self._path.stat().st_size
        if self._is_done or size == self._size:
            return None
        had_news = False
        for _ in range(_ROUNDS):
            records = self._reader.read()
            if not records:
                self._size = size
                break
            had_news = True
            batch = offline.gather(records)
            self._run_id = self._store.do(lambda tx, batch=batch: self._write(tx, batch))
        return self._run_id if had_news else None

    def _write(self, tx: Tx, batch: Batch) -> int:
        run = self._run(tx, batch)
        number: int = run["id"]
        if batch.rows:
            self._store.ingest.append_rows(tx, number, HISTORY, batch.rows)
        if batch.events:
            self._store.ingest.append_rows(tx, number, EVENTS, batch.events)
        if batch.output:
            _write_output(tx, run, batch.output)
        for title, text, level in batch.alerts:
            runs.add_alert(tx, run, title, text, level)
        changes = _changes(run, batch)
        if batch.exit_code is not None:
            self._put_files(tx, number)
            self._is_done = True
        tx.set("runs", number, **changes)
        tx.announce(kind="rows", run=number)
        self._remember(tx, number)
        return number

    def _run(self, tx: Tx, batch: Batch) -> Row:
        if self._run_id is not None:
            return runs.reload(tx, self._run_id)
        if batch.run is None or not batch.run["name"]:
            raise ValueError("the log does not begin with a run")
        user = users.everyone(tx)[0]
        entity = users.entity(tx, batch.run["entityName"] or "")
        known = batch.run | {"entityName": entity["name"] if entity else None}
        row, _ = runs.upsert(
            tx, user, {key: value for key, value in known.items() if key != "started_at"}
        )
        if row["history_lines"]:  # Another way brought it in before; the log is the whole of it.
            tx.cut(row["id"], HISTORY, 0)
            tx.cut(row["id"], EVENTS, 0)
            tx.cut_log(row["id"], 0)
        tx.set("runs", row["id"], source="offline")
        return runs.reload(tx, row["id"])

    def _put_files(self, tx: Tx, number: int) -> None:
        """Take the run's files in, now that they are complete."""
        folder = self._path.parent / "files"
        for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
            if path.is_file() and not path.is_symlink():
                files.put(
                    tx,
                    number,
                    path.relative_to(folder).as_posix(),
                    self._store.blobs.put(path.read_bytes()),
                )

    def _remember(self, tx: Tx, number: int) -> None:
        value = jsontext.dumps(
            {"run": number, "offset": self._reader.offset, "done": self._is_done}
        )
        old = tx.one("SELECT id FROM settings WHERE name = ?", self._setting)
        if old:
            tx.set("settings", old["id"], value=value)
        else:
            tx.put("settings", name=self._setting, value=value)


def _write_output(tx: Tx, run: Row, output: list[tuple[str, bool, str]]) -> None:
    """Console output comes in pieces; lines end where a newline does."""
    lines: list[str] = []
    for at, is_error, text in output:
        for part in text.split("\n"):
            line = part.rsplit("\r", 1)[-1]
            if line:
                lines.append(f"{'ERROR ' if is_error else ''}{at} {jsontext.clean_text(line)}")
    if lines:
        tx.log_lines(run["id"], run["log_lines"] or 0, lines)


def _changes(run: Row, batch: Batch) -> dict[str, Any]:
    config = jsontext.loads_object(run["config"])
    for key, value in batch.config.items():
        if key == "_wandb" and isinstance(config.get(key), dict):
            config[key]["value"] = {**config[key].get("value", {}), **value["value"]}
        else:
            config[key] = value
    for key in batch.config_removed:
        config.pop(key, None)
    _add_metrics(config, batch.metrics)
    summary = jsontext.loads_object(run["summary"])
    for path, value in batch.summary:
        _merge(summary, path, value)
    for row in batch.rows:
        summary |= {
            key: value
            for key, value in row.items()
            if not isinstance(value, dict) or "_type" in value
        }
    state = run["state"]
    if batch.exit_code is not None:
        state = "finished" if batch.exit_code == 0 else "failed"
    elif state == "crashed":
        state = "running"
    return {
        "config": jsontext.dumps(config),
        "summary": jsontext.dumps(summary),
        "state": state,
        "exit_code": batch.exit_code,
        "heartbeat_at": runs.now(),
    }


def _add_metrics(config: dict[str, Any], metrics: list[dict[str, Any]]) -> None:
    if not metrics:
        return
    inner: dict[str, Any] = config.setdefault("_wandb", {"value": {}}).setdefault("value", {})
    known: list[dict[str, Any]] = inner.setdefault("m", [])
    for metric in metrics:
        step = metric.pop("step", None)
        if step:
            names = [each.get("1") for each in known]
            if step not in names:
                known.append({"1": step})
                names.append(step)
            metric["5"] = names.index(step) + 1
        if metric not in known:
            known.append(metric)


def _merge(target: dict[str, Any], path: list[str], value: Any) -> None:
    for key in path[:-1]:
        inner = target.get(key)
        if not isinstance(inner, dict):
            inner = target[key] = {}
        target = inner  # pyright: ignore[reportUnknownVariableType]
    if value is ...:
        target.pop(path[-1], None)
    else:
        target[path[-1]] = value
