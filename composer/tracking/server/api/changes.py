"""What pages change of runs: names, notes, tags, stopping, throwing away and taking back."""

from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from composer.tracking.protocol import jsontext
from composer.tracking.protocol.refusal import BadRequestError, MissingError
from composer.tracking.protocol.shapes import as_list
from composer.tracking.server.api.lookup import posted_project, posted_text, run_of
from composer.tracking.server.services import in_thread, json_response, read_json, services
from composer.tracking.store import runs, trash
from composer.tracking.store.clock import now
from composer.tracking.store.index import Reader, Row
from composer.tracking.store.writer import Tx

_MAX_RUNS: Final = 10_000
_MAX_TEXT: Final = 100_000
_MAX_TAGS: Final = 100

Find = Callable[[Reader, Row, str], Row]


async def edit(request: Request) -> Response:
    """Change the display name, notes or tags of runs."""
    body = await read_json(request)
    changes = _changes(body)

    def change(tx: Tx, run: Row) -> None:
        tx.set("runs", run["id"], **changes, updated_at=now())
        tx.announce(kind="run", run=run["id"])

    return await _each(request, body, run_of, change)


def _changes(body: dict[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for name in ("display_name", "notes"):
        if name in body:
            text = posted_text(body, name)
            if len(text) > _MAX_TEXT or (name == "display_name" and not text.strip()):
                raise BadRequestError(f"{name!r} has {len(text)} characters; that cannot be kept.")
            changes[name] = text
    if "tags" in body:
        tags = as_list(body["tags"])
        if len(tags) > _MAX_TAGS or any(not isinstance(tag, str) or not tag for tag in tags):
            raise BadRequestError(f"'tags' is a list of up to {_MAX_TAGS} texts.")
        changes["tags"] = jsontext.dumps(sorted(set(tags)))
    if not changes:
        raise BadRequestError("give 'display_name', 'notes' or 'tags'.")
    return changes


async def stop(request: Request) -> Response:
    """Ask processes of runs to stop."""
    return await _each(request, await read_json(request), run_of, runs.request_stop)


async def throw_away(request: Request) -> Response:
    """Put runs into the trash."""
    return await _each(request, await read_json(request), run_of, trash.throw_away)


async def restore(request: Request) -> Response:
    """Take runs out of the trash."""
    return await _each(request, await read_json(request), _trashed, trash.restore)


def _trashed(reader: Reader, project: Row, name: str) -> Row:
    for row in runs.in_trash(reader, project["id"]):
        if row["name"] == name:
            return row
    raise MissingError(f"there is no run {name[:80]!r} in the trash.")


async def _each(
    request: Request, body: dict[str, Any], find: Find, change: Callable[[Tx, Row], None]
) -> Response:
    """Change every run that ``runs`` names, or none if one of them cannot be."""
    shared = services(request)
    with shared.store.reading() as reader:
        project = posted_project(shared, request, reader, body)
    names = as_list(body.get("runs"))
    if not names or len(names) > _MAX_RUNS or any(not isinstance(name, str) for name in names):
        raise BadRequestError(f"'runs' is a list of 1 to {_MAX_RUNS} names.")

    def command(tx: Tx) -> None:
        for name in names:
            change(tx, find(tx, project, name))

    await in_thread(lambda: shared.store.do(command))
    return json_response({"runs": names})
