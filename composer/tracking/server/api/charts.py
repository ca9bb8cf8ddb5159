"""Custom charts: their specifications, and the frames that logged charts are drawn in.

A specification of a chart is a program of a stranger. It is drawn in a frame of an opaque origin,
whose policy knows two scripts, both ours, no address, and no evaluation of text.
"""

import secrets
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from composer.tracking.protocol import jsontext
from composer.tracking.protocol.refusal import MissingError
from composer.tracking.server.pages import filled, static_base
from composer.tracking.server.services import in_thread, json_response, services
from composer.tracking.store import charts, runs

_FRAMES: Final = ("vega", "plotly")
# Libraries set styles of elements themselves; without addresses a style tells nobody anything.
_POLICY: Final = (
    "sandbox allow-scripts; default-src 'none'; script-src 'nonce-{nonce}'; "
    "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)


async def frame(request: Request) -> Response:
    """The page in which charts of one kind are drawn."""
    kind = request.path_params["kind"]
    if kind not in _FRAMES:
        raise MissingError(f"charts are of kind {' or '.join(_FRAMES)}, not {kind[:40]!r}.")
    nonce = secrets.token_urlsafe(16)
    text = filled("frames/frame.html", ui=static_base(request), kind=kind, nonce=nonce)
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": _POLICY.format(nonce=nonce),
        "X-Frame-Options": "SAMEORIGIN",
    }
    return Response(text, media_type="text/html", headers=headers)


async def show(request: Request) -> Response:
    """The specification that ``name`` names as ``entity/chart``; null if there is none."""
    shared = services(request)
    entity_name, _, name = request.query_params.get("name", "").partition("/")

    def read() -> Response:
        with shared.store.reading() as reader:
            entity = runs.find_entity(reader, shared.user(request, reader), entity_name)
            row = charts.find(reader, entity["id"], name)
        if row is None:
            return json_response({"title": None, "spec": None})
        return json_response(
            {"title": row["display_name"], "spec": jsontext.loads_object(row["spec"])}
        )

    return await in_thread(read)
