"""Choosing and ordering runs by the clients' filters."""

from collections.abc import Callable
from typing import Any, Final

from composer.tracking.protocol import filters, jsontext
from composer.tracking.protocol.filters import MISSING
from composer.tracking.protocol.shapes import as_object
from composer.tracking.store import runs, users
from composer.tracking.store.index import Reader, Row

_COLUMNS: Final = {
    "state": "state",
    "display_name": "display_name",
    "displayName": "display_name",
    "name": "name",
    "group": "grp",
    "groupName": "grp",
    "job_type": "job_type",
    "jobType": "job_type",
    "created_at": "created_at",
    "createdAt": "created_at",
    "updated_at": "updated_at",
    "updatedAt": "updated_at",
    "heartbeat_at": "heartbeat_at",
    "heartbeatAt": "heartbeat_at",
    "sweep": "sweep",
    "notes": "notes",
    "description": "description",
    "commit": "commit_hash",
    "host": "host",
    "program": "program",
}


def select_runs(reader: Reader, project_id: int, text: str | None, order: str | None) -> list[Row]:
    """Runs of a project that pass a filter, in an order; newest first if none is given.

    Raises:
        BadRequestError: the filter or order is not one.
    """
    keep = filters.parse(text)
    rows = runs.in_project(reader, project_id)
    if text:
        names = {row["id"]: row["name"] for row in users.everyone(reader)}
        rows = [row for row in rows if keep(_lookup(row, names))]
    for key, is_falling in reversed(filters.parse_order(order)):
        rows.sort(
            key=lambda row: (filters.sort_key(_lookup(row, {})(key)), row["id"]), reverse=is_falling
        )
    return rows


def _lookup(row: Row, user_names: dict[int, str]) -> Callable[[str], Any]:
    """Looks values of a run up by the keys of filters."""

    def look(key: str) -> Any:
        if key in _COLUMNS:
            return row[_COLUMNS[key]]
        if key in ("username", "user"):
            return user_names.get(row["user_id"], MISSING)
        if key == "tags":
            return jsontext.loads(row["tags"] or "[]")
        head, _, rest = key.partition(".")
        if head == "config":
            return _config_value(jsontext.loads_object(row["config"]), rest)
        if head in ("summary_metrics", "summaryMetrics", "summary"):
            return filters.dig(jsontext.loads_object(row["summary"]), rest)
        return MISSING

    return look


def _config_value(config: dict[str, Any], path: str) -> Any:
    """A config value: each key holds an object with a ``value``, which paths may leave out."""
    plain: dict[str, Any] = {
        key: as_object(value).get("value", value) for key, value in config.items()
    }
    found = filters.dig(plain, path)
    if found is MISSING and path.endswith(".value"):
        found = filters.dig(plain, path.removesuffix(".value"))
    return found if found is not MISSING else filters.dig(config, path)
