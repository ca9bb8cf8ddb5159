"""``POST /files/{entity}/{project}/{run}/file_stream``: rows, console lines, the end of a run."""

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from composer.tracking.protocol import filestream as protocol
from composer.tracking.protocol.refusal import MissingError
from composer.tracking.server.services import json_response, read_body, services
from composer.tracking.store import runs
from composer.tracking.store.store import Store
from composer.tracking.store.writer import Tx


async def file_stream(request: Request) -> Response:
    """Store a post and say whether the run should stop."""
    shared = services(request)
    names = request.path_params
    with shared.store.reading() as reader:
        user = shared.user(request, reader)
        project = runs.find_project(reader, user, names["entity"], names["project"])
        run = runs.find(reader, project["id"], names["run"]) if project else None
    if run is None:
        raise MissingError(f"run {names['run']!r} does not exist; it may have been deleted.")
    body = await read_body(request, shared.options.max_body_bytes)
    shared.heartbeats.hear(run["id"])
    future = shared.store.submit(_command(shared.store, run["id"], body), len(body))
    stopped = await asyncio.wrap_future(future)
    return json_response({"stopped": stopped})


def _command(store: Store, run_id: int, body: bytes) -> Callable[[Tx], bool]:
    def command(tx: Tx) -> bool:
        run = tx.by_id("runs", run_id)
        if run is None:
            raise MissingError("the run has been deleted.")
        return store.ingest.post(tx, run, protocol.parse(body))

    return command
