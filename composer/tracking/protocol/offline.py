"""The log that a wandb client writes on its own disk, and what its records say.

The file is a LevelDB log: blocks of 32 KiB, records with checksum, length and type, split over
blocks where they do not fit. It can be read while it grows: `LogReader` returns the records that
are complete and goes on from there the next time.
"""

import struct
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from composer.tracking.protocol import jsontext, wire

_BLOCK: Final = 32768
_HEAD: Final = struct.Struct("<IHB")
_IDENT: Final = struct.Struct("<4sHB")
_MAGIC: Final = 0xBEE1
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_READ_BYTES: Final = 4 << 20


class LogReader:
    """Reads a client's log from where the last reading stopped.

    Args:
        path: the ``run-ID.wandb`` file.
        offset: where to go on, from an earlier reader's `offset`.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._path = path
        self.offset = offset
        self.is_damaged = False

    def read(self) -> list[bytes]:
        """Complete records that have come since the last call, up to a few megabytes of them.

        Raises:
            ValueError: the file is not such a log.
        """
        with self._path.open("rb") as file:
            if self.offset == 0:
                head = file.read(_IDENT.size)
                if len(head) < _IDENT.size:
                    return []
                ident, magic, _ = _IDENT.unpack(head)
                if ident != b":W&B" or magic != _MAGIC:
                    raise ValueError(f"{self._path} is not a log of wandb")
                self.offset = _IDENT.size
            file.seek(self.offset)
            return self._records(file.read(_READ_BYTES))

    def _records(self, data: bytes) -> list[bytes]:
        records: list[bytes] = []
        parts: list[bytes] = []
        at = start = 0
        while True:
            left = _BLOCK - (self.offset + at) % _BLOCK
            if left < _HEAD.size:
                at += left
                continue
            if at + _HEAD.size > len(data):
                break
            crc, length, kind = _HEAD.unpack_from(data, at)
            end = at + _HEAD.size + length
            if (crc, length, kind) == (0, 0, 0) or end > len(data):
                break  # Not written yet.
            if length > left - _HEAD.size or zlib.crc32(data[at + 6 : end]) != crc:
                self.is_damaged = True
                break
            parts = [] if kind in (_FULL, _FIRST) else parts
            parts.append(data[at + _HEAD.size : end])
            at = end
            if kind in (_FULL, _LAST):
                records.append(b"".join(parts))
                start = at
        self.offset += start
        return records


@dataclass(slots=True)
class Batch:
    """What some records of a run's log say, gathered.

    Attributes:
        run: members of the run's record, if it was among them.
        config: config values by key, as they stand in a run's config.
        config_removed: keys taken out of the config.
        summary: summary values by key path.
        rows: history rows.
        events: rows of system metrics.
        output: pieces of console output with the time and whether it is an error.
        metrics: ``define_metric`` entries, in the numbered form of configs.
        alerts: title, text and level of alerts.
        exit_code: the exit code, once the run has ended.
    """

    run: dict[str, Any] | None = None
    config: dict[str, Any] = field(default_factory=dict[str, Any])
    config_removed: list[str] = field(default_factory=list[str])
    summary: list[tuple[list[str], Any]] = field(default_factory=list[tuple[list[str], Any]])
    rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    output: list[tuple[str, bool, str]] = field(default_factory=list[tuple[str, bool, str]])
    metrics: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    alerts: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    exit_code: int | None = None


def gather(records: list[bytes]) -> Batch:
    """Read records into one batch; records of other kinds are left out.

    Raises:
        ValueError: a record is damaged.
    """
    batch = Batch()
    readers = {
        2: _history,
        3: _summary,
        5: _config,
        7: _stats,
        10: _alert,
        12: _metric,
        13: _output,
        17: _run,
        18: _exit,
    }
    for record in records:
        for number, value in wire.fields(record):
            if number in readers and isinstance(value, memoryview):
                readers[number](batch, wire.message(cast("memoryview", value)))
    return batch


def _items(values: dict[int, list[Any]], number: int) -> list[tuple[list[str], Any]]:
    """Key paths and values of repeated items."""
    found: list[tuple[list[str], Any]] = []
    for raw in values.get(number, []):
        item = wire.message(raw)
        path = [bytes(each).decode("utf-8", "replace") for each in item.get(2, [])]
        found.append((path or [wire.text(item, 1)], _value(item)))
    return found


def _value(item: dict[int, list[Any]]) -> Any:
    """An item's value: typed in new clients, JSON text in all."""
    if 6 in item:
        return wire.double(item[6][-1])
    if 5 in item:
        return wire.zigzag(item[5][-1])
    if 4 in item:
        return bool(item[4][-1])
    if 7 in item:
        return wire.text(item, 7)
    if 3 in item:
        return None
    return jsontext.loads(wire.text(item, 8) or wire.text(item, 16) or "null")


def _put(target: dict[str, Any], path: list[str], value: Any) -> None:
    for key in path[:-1]:
        inner = target.setdefault(key, {})
        if not isinstance(inner, dict):
            inner = target[key] = {}
        target = inner  # pyright: ignore[reportUnknownVariableType]
    target[path[-1]] = value


def _history(batch: Batch, values: dict[int, list[Any]]) -> None:
    row: dict[str, Any] = {}
    for path, value in _items(values, 1):
        _put(row, path, value)
    for raw in values.get(2, []):
        row.setdefault("_step", wire.signed(wire.message(raw).get(1, [0])[-1]))
    batch.rows.append(row)


def _summary(batch: Batch, values: dict[int, list[Any]]) -> None:
    batch.summary += _items(values, 1)
    batch.summary += [(path, ...) for path, _ in _items(values, 2)]


def _config(batch: Batch, values: dict[int, list[Any]]) -> None:
    for path, value in _items(values, 1):
        _put(batch.config, [path[0], "value", *path[1:]], value)
    batch.config_removed += [path[0] for path, _ in _items(values, 2)]


def _stats(batch: Batch, values: dict[int, list[Any]]) -> None:
    row: dict[str, Any] = {"_timestamp": _seconds(values.get(2))}
    for path, value in _items(values, 3):
        row[f"system.{path[0]}"] = value
    batch.events.append(row)


def _seconds(raw: list[Any] | None) -> float:
    stamp = wire.message(raw[-1]) if raw else {}
    return wire.signed(stamp.get(1, [0])[-1]) + stamp.get(2, [0])[-1] / 1e9


def _output(batch: Batch, values: dict[int, list[Any]]) -> None:
    at = datetime.fromtimestamp(_seconds(values.get(2)), UTC).isoformat().replace("+00:00", "Z")
    batch.output.append((at, values.get(1, [0])[-1] == 0, wire.text(values, 3)))


def _metric(batch: Batch, values: dict[int, list[Any]]) -> None:
    entry: dict[str, Any] = {}
    for number, key in ((1, "1"), (2, "2")):
        if wire.text(values, number):
            entry[key] = wire.text(values, number)
    if wire.text(values, 4):
        entry["step"] = wire.text(values, 4)
    batch.metrics.append(entry)


def _alert(batch: Batch, values: dict[int, list[Any]]) -> None:
    batch.alerts.append(
        (wire.text(values, 1), wire.text(values, 2), wire.text(values, 3) or "INFO")
    )


def _exit(batch: Batch, values: dict[int, list[Any]]) -> None:
    batch.exit_code = wire.signed(values.get(1, [0])[-1])


_RUN_TEXTS: Final = {
    1: "name",
    2: "entityName",
    3: "modelName",
    6: "groupName",
    7: "jobType",
    8: "displayName",
    9: "notes",
    13: "host",
}


def _run(batch: Batch, values: dict[int, list[Any]]) -> None:
    batch.run = {name: wire.text(values, number) or None for number, name in _RUN_TEXTS.items()}
    tags = [bytes(each).decode("utf-8", "replace") for each in values.get(10, [])]
    batch.run["tags"] = tags or None
    batch.run["started_at"] = _seconds(values.get(17))
    for raw in values.get(4, []):
        _config(batch, wire.message(raw))
