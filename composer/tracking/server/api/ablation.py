"""Takes reports of ablations that are opened in the dashboard."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from composer.tracking.server.services import in_thread, json_response, read_body, services
from composer.tracking.store import reports

_MAX_BYTES: Final = 32 << 20


async def take(request: Request) -> Response:
    """Keep a posted report in the project that ``entity`` and ``project`` name; tells its run."""
    shared = services(request)
    data = await read_body(request, _MAX_BYTES)
    query = request.query_params

    def keep() -> Response:
        with shared.store.reading() as reader:
            user = shared.user(request, reader)
        name = reports.keep(shared.store, user, query.get("entity"), query.get("project", ""), data)
        return json_response({"run": name})

    return await in_thread(keep)
