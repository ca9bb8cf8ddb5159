"""The page and the files it is made of."""

import mimetypes
from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

from composer.tracking.protocol.refusal import MissingError
from composer.tracking.server.services import services

_KINDS = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".svg": "image/svg+xml",
}


@cache
def _files() -> dict[str, bytes]:
    """Every file of the page by its path; only these can be asked for."""
    found: dict[str, bytes] = {}
    waiting = [("", files("composer.tracking") / "ui")]
    while waiting:
        prefix, folder = waiting.pop()
        for each in folder.iterdir():
            if each.is_dir():
                waiting.append((f"{prefix}{each.name}/", each))
            else:
                found[prefix + each.name] = each.read_bytes()
    return found


async def static(request: Request) -> Response:
    """A script or style sheet."""
    path = request.path_params["path"]
    data = _files().get(path)
    if data is None:
        raise MissingError(f"there is no {path[:80]!r}.")
    suffix = path[path.rfind(".") :]
    kind = _KINDS.get(suffix) or mimetypes.guess_type(path)[0] or "application/octet-stream"
    return Response(data, media_type=kind, headers={"Cache-Control": "no-cache"})


async def page(request: Request) -> Response:
    """The one page; its script shows what the address names."""
    prefix = services(request).options.prefix
    text = _files()["index.html"].decode().replace("{{prefix}}", prefix)
    return Response(text, media_type="text/html", headers={"Cache-Control": "no-store"})
