"""The data of charts, for pages."""

import math
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from composer.tracking.protocol.refusal import BadRequestError
from composer.tracking.server.api.lookup import find_project, number
from composer.tracking.server.services import in_thread, json_response, services
from composer.tracking.store import branches, runs
from composer.tracking.store.history import AXIS, EVENTS, HISTORY

_MAX_RUNS = 200


async def chart(request: Request) -> Response:
    """A line per run: rows while they fit, else blocks with minimum, maximum, mean and count."""
    shared = services(request)
    query = request.query_params
    names = [name for name in query.get("runs", "").split(",") if name]
    if len(names) > _MAX_RUNS:
        raise BadRequestError(f"{len(names)} runs at once; ask for up to {_MAX_RUNS}.")
    stream = EVENTS if query.get("stream") == "events" else HISTORY
    key, x_key = query.get("key", ""), query.get("x") or AXIS[stream]
    points = int(number(request, "points", 800, 2, 20_000))
    low = number(request, "low", -math.inf, -math.inf, math.inf)
    high = number(request, "high", math.inf, -math.inf, math.inf)

    def read() -> Response:
        lines: dict[str, dict[str, Any]] = {}
        with shared.store.reading() as reader:
            project = find_project(shared, request, reader)
            for name in names:
                run = runs.find(reader, project["id"], name)
                if run is not None:
                    lines[name] = shared.store.rows.chart(
                        reader,
                        run,
                        key,
                        x_key=x_key,
                        low=low,
                        high=high,
                        points=points,
                        stream=stream,
                    )
                    if stream == HISTORY:
                        lines[name]["branches"] = branches.lines(reader, run["id"], key, x_key)
        return json_response({"key": key, "lines": lines})

    return await in_thread(read)
