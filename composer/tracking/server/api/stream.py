"""Server-sent events: what was stored, told to pages as it happens."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from composer.tracking.protocol import jsontext
from composer.tracking.server.api.lookup import find_project
from composer.tracking.server.services import services
from composer.tracking.store.store import Store

_KEEPALIVE_S = 20.0
_GATHER_S = 0.5


async def events(request: Request) -> Response:
    """Tell which runs of a project have news, at most twice a second."""
    shared = services(request)
    with shared.store.reading() as reader:
        project = find_project(shared, request, reader)
    lines = _lines(shared.store, project["id"])
    return StreamingResponse(
        lines,
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _lines(store: Store, project_id: int) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    news: dict[int, dict[str, Any]] = {}
    woken = asyncio.Event()

    def listener(notices: list[dict[str, Any]]) -> None:
        loop.call_soon_threadsafe(take, notices)

    def take(notices: list[dict[str, Any]]) -> None:
        for notice in notices:
            if "run" in notice:
                news[notice["run"]] = news.get(notice["run"], {}) | notice
        woken.set()

    stop = store.listen(listener)
    try:
        yield b": connected\n\n"
        while True:
            try:
                await asyncio.wait_for(woken.wait(), _KEEPALIVE_S)
            except TimeoutError:
                yield b": still here\n\n"
                continue
            await asyncio.sleep(_GATHER_S)
            woken.clear()
            batch, news = news, {}
            for text in _texts(store, project_id, batch):
                yield text
    finally:
        stop()


def _texts(store: Store, project_id: int, batch: dict[int, dict[str, Any]]) -> list[bytes]:
    texts: list[bytes] = []
    with store.reading() as reader:
        rows = reader.by_ids("runs", list(batch))
    for number, notice in batch.items():
        row = rows.get(number)
        if row is not None and project_id not in (row["project_id"], row["trashed_from"]):
            continue
        # What is there now counts: a run may have been thrown away and brought back in between.
        there = row if row is not None and row["project_id"] is not None else None
        if there is None and notice.get("state") != "deleted":
            continue
        found: dict[str, Any] = {
            "run": there["name"] if there else None,
            "id": number,
            "state": there["state"] if there else "deleted",
            "history_lines": there["history_lines"] if there else 0,
            "kind": notice["kind"],
        }
        if notice["kind"] == "alert":
            found |= {
                "title": notice["title"],
                "text": notice["text"],
                "severity": notice["severity"],
            }
        texts.append(b"data: " + jsontext.dumps_strict(found) + b"\n\n")
    return texts
