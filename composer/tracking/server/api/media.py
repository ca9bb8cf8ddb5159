"""What runs logged besides numbers: values of a key by step, and the files they name."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from composer.tracking.protocol.refusal import MissingError
from composer.tracking.server.api.lookup import find_run, number
from composer.tracking.server.services import Services, in_thread, json_response, services
from composer.tracking.server.uploads import contents
from composer.tracking.store import artifacts, files
from composer.tracking.store.history import HISTORY
from composer.tracking.store.index import Reader

# A page of logged HTML or SVG, shown in a frame: of no origin, without scripts, asking nobody.
_FRAME_POLICY: Final = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; "
    "font-src data:; frame-ancestors 'self'"
)
_FRAME_KINDS: Final = {".html": "text/html; charset=utf-8", ".svg": "image/svg+xml"}


async def values(request: Request) -> Response:
    """Every value of a key that is no number, with its step."""
    shared = services(request)
    key = request.query_params.get("key", "")

    def read() -> Response:
        limit = int(number(request, "limit", 2000, 1, 20_000))
        with shared.store.reading() as reader:
            run = find_run(shared, request, reader)
            found = shared.store.rows.others(reader, run["id"], HISTORY, key, limit)
        return json_response(found)

    return await in_thread(read)


async def file(request: Request) -> Response:
    """A run's file by name, as harmless as `composer.tracking.server.uploads` serves all."""
    return await in_thread(lambda: _file(request))


def _file(request: Request) -> Response:
    shared = services(request)
    path = request.query_params.get("path", "")
    with shared.store.reading() as reader:
        sha256 = _content(shared, request, reader, path)
    if sha256 is None:
        raise MissingError(f"the run has no file {path[:80]!r}.")
    return contents(shared.store, sha256, path.rsplit("/", 1)[-1])


def _content(shared: Services, request: Request, reader: Reader, path: str) -> str | None:
    """A file of the run, or of the artifact that ``artifact`` names by its client's id.

    Tables keep themselves and the pictures in their cells in artifacts.
    """
    run = find_run(shared, request, reader)
    client_id = request.query_params.get("artifact")
    if not client_id:
        row = files.find(reader, run["id"], path)
        return row["sha256"] if row else None
    user = shared.user(request, reader)
    artifact = artifacts.by_client_id(reader, user, client_id)
    row = artifacts.manifest_of(reader, artifact["id"]) if artifact else None
    if artifact is None or row is None:
        return None
    entry = shared.store.manifests.entries(row["sha256"]).get(path)
    owner = artifacts.entity_id_of(reader, artifact)
    found = artifacts.has_content(reader, owner, entry["digest"]) if entry else None
    return found["sha256"] if found else None


async def frame(request: Request) -> Response:
    """A logged page for a frame of the dashboard."""

    def read() -> Response:
        answer = _file(request)
        path = request.query_params.get("path", "")
        kind = _FRAME_KINDS.get(path[path.rfind(".") :].lower())
        if kind is None:
            raise MissingError("only HTML and SVG are shown in frames.")
        answer.headers["Content-Type"] = kind
        answer.headers["Content-Disposition"] = "inline"
        answer.headers["Content-Security-Policy"] = _FRAME_POLICY
        answer.headers["X-Frame-Options"] = "SAMEORIGIN"
        return answer

    return await in_thread(read)
