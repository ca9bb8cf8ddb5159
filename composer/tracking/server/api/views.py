"""Views that people keep of a project."""

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from composer.tracking.server.api.lookup import find_project, posted_project, posted_text
from composer.tracking.server.services import in_thread, json_response, read_json, services
from composer.tracking.store import views
from composer.tracking.store.writer import Tx


async def listing(request: Request) -> Response:
    """A project's views: what they are called, and the part of the address they stand for."""
    shared = services(request)
    with shared.store.reading() as reader:
        rows = views.listing(reader, find_project(shared, request, reader)["id"])
    kept = ("name", "query", "updated_at")
    return json_response([{name: row[name] for name in kept} for row in rows])


async def save(request: Request) -> Response:
    """Keep a view."""
    body = await read_json(request)
    name, query = posted_text(body, "name"), posted_text(body, "query")
    return await _change(request, body, lambda tx, number: views.save(tx, number, name, query))


async def delete(request: Request) -> Response:
    """Forget a view."""
    body = await read_json(request)
    name = posted_text(body, "name")
    return await _change(request, body, lambda tx, number: views.delete(tx, number, name))


async def _change(
    request: Request, body: dict[str, Any], change: Callable[[Tx, int], None]
) -> Response:
    shared = services(request)
    with shared.store.reading() as reader:
        project = posted_project(shared, request, reader, body)
    await in_thread(lambda: shared.store.do(lambda tx: change(tx, project["id"])))
    return json_response({})
