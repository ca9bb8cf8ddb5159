"""Runs, for pages."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from composer.tracking.protocol import jsontext
from composer.tracking.server.api.lookup import find_project, find_run, number
from composer.tracking.server.services import in_thread, json_response, services
from composer.tracking.store import files as run_files
from composer.tracking.store import logs as run_logs
from composer.tracking.store import runs, users
from composer.tracking.store.history import EVENTS, HISTORY
from composer.tracking.store.index import Row
from composer.tracking.store.select import select_runs

_PLAIN = (
    "id",
    "ordinal",
    "name",
    "display_name",
    "state",
    "exit_code",
    "job_type",
    "notes",
    "created_at",
    "updated_at",
    "heartbeat_at",
    "history_lines",
    "event_lines",
    "log_lines",
)


async def listing(request: Request) -> Response:
    """Runs of a project with config and summary, filtered and ordered as clients do."""
    shared = services(request)

    def read() -> Response:
        query = request.query_params
        offset = int(number(request, "offset", 0, 0, 1e9))
        limit = int(number(request, "limit", 1000, 0, 10_000))
        with shared.store.reading() as reader:
            project = find_project(shared, request, reader)
            rows = select_runs(reader, project["id"], query.get("filters"), query.get("order"))
            names = {row["id"]: row["name"] for row in users.everyone(reader)}
        parts = [_run_text(row, names.get(row["user_id"])) for row in rows[offset : offset + limit]]
        text = f'{{"total":{len(rows)},"runs":[{",".join(parts)}]}}'
        return Response(text.encode("utf-8", "replace"), media_type="application/json")

    return await in_thread(read)


def _run_text(row: Row, user: str | None) -> str:
    """A run as JSON text; stored JSON goes in as it is, which is what makes a long list quick."""
    plain: dict[str, Any] = {name: row[name] for name in _PLAIN}
    plain |= {"group": row["grp"], "user": user, "tags": jsontext.loads(row["tags"] or "[]")}
    text = jsontext.dumps(plain)[:-1]
    return f'{text},"config":{_strict(row["config"])},"summary":{_strict(row["summary"])}}}'


def _strict(text: str | None) -> str:
    text = text or "{}"
    if "NaN" in text or "Infinity" in text:
        return jsontext.dumps_strict(jsontext.loads_object(text)).decode()
    return text


async def show(request: Request) -> Response:
    """One run with what is known of its keys, its alerts and artifacts."""
    shared = services(request)

    def read() -> Response:
        with shared.store.reading() as reader:
            row = find_run(shared, request, reader)
            user = users.by_id(reader, row["user_id"])["name"]
            stats = {"history": HISTORY, "events": EVENTS}
            keys = {
                name: {
                    each["key"]: {
                        "numbers": each["num_numbers"],
                        "others": each["num_strings"] + each["num_others"],
                    }
                    for each in shared.store.rows.stats(reader, row["id"], stream)
                }
                for name, stream in stats.items()
            }
            found = [
                {
                    "title": each["title"],
                    "text": each["text"],
                    "severity": each["severity"],
                    "at": each["created_at"],
                }
                for each in runs.alerts(reader, row["id"])
            ]
        rest = jsontext.dumps_strict({"keys": keys, "alerts": found}).decode()
        text = f"{_run_text(row, user)[:-1]},{rest[1:]}"
        return Response(text.encode("utf-8", "replace"), media_type="application/json")

    return await in_thread(read)


async def trash(request: Request) -> Response:
    """Runs thrown away from a project."""
    shared = services(request)
    with shared.store.reading() as reader:
        rows = runs.in_trash(reader, find_project(shared, request, reader)["id"])
    kept = ("name", "display_name", "trashed_at")
    return json_response([{name: row[name] for name in kept} for row in rows])


async def logs(request: Request) -> Response:
    """Console lines from ``start`` on, or those that hold a text; see `run_logs`."""
    shared = services(request)

    def read() -> Response:
        limit = int(number(request, "limit", 1000, 1, 10_000))
        start = int(number(request, "start", -limit, -1e12, 1e12))
        text = request.query_params.get("search")
        with shared.store.reading() as reader:
            row = find_run(shared, request, reader)
            total = row["log_lines"] or 0
            first = max(0, total + start) if start < 0 else start
            if text:
                rows = run_logs.search(reader, row["id"], text[:1000], max(start, 0), limit)
            else:
                rows = run_logs.read(reader, row["id"], first, first + limit)
        return json_response({"total": total, "lines": [run_logs.parse(each) for each in rows]})

    return await in_thread(read)


async def files(request: Request) -> Response:
    """Files of a run with addresses to get them from."""
    shared = services(request)

    def read() -> Response:
        urls = shared.urls(request)
        with shared.store.reading() as reader:
            row = find_run(shared, request, reader)
            rows = run_files.listing(reader, row["id"], limit=10_000)
        return json_response(
            [
                {
                    "name": each["path"],
                    "size": each["size"],
                    "type": each["mimetype"],
                    "updated_at": each["updated_at"],
                    "url": urls.download(each["sha256"], each["path"]),
                }
                for each in rows
            ]
        )

    return await in_thread(read)
