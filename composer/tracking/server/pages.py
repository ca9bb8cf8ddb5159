"""The page and the files it is made of.

Files are asked for under the digest of them all, so that browsers may keep them for ever and never
mix two versions. Texts are held compressed.
"""

import gzip
import hashlib
import html
import mimetypes
import posixpath
import re
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from composer.tracking.protocol.refusal import MissingError
from composer.tracking.server.services import in_thread, services

_STATIC_IMPORT: Final = re.compile(r'from "(\.{1,2}/[^"]+)"')
_KINDS: Final = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}


class _Files(NamedTuple):
    """Every file of the page by its path.

    Attributes:
        plain: as they are.
        digest: of all of them.
        first_modules: scripts that the page's own script imports, directly or not.
    """

    plain: dict[str, bytes]
    digest: str
    first_modules: list[str]


@cache
def _files() -> _Files:
    plain: dict[str, bytes] = {}
    waiting = [("", files("composer.tracking") / "ui")]
    while waiting:
        prefix, folder = waiting.pop()
        for each in folder.iterdir():
            if each.is_dir():
                waiting.append((f"{prefix}{each.name}/", each))
            else:
                plain[prefix + each.name] = each.read_bytes()
    digest = hashlib.sha256()
    for path in sorted(plain):
        digest.update(path.encode() + b"\0" + plain[path])
    return _Files(plain, digest.hexdigest()[:16], _imported(plain, "app.js"))


@cache
def _zipped(path: str) -> bytes:
    return gzip.compress(_files().plain[path], 9, mtime=0)


def _imported(plain: dict[str, bytes], start: str) -> list[str]:
    """The script ``start`` and what it imports when it is loaded, not what it imports later."""
    found: dict[str, None] = {}
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path in found or path not in plain:
            continue
        found[path] = None
        folder = posixpath.dirname(path)
        names = _STATIC_IMPORT.findall(plain[path].decode())
        waiting += [posixpath.normpath(posixpath.join(folder, name)) for name in names]
    return sorted(found)


async def static(request: Request) -> Response:
    """A script or style sheet."""
    path = request.path_params["path"]
    found = _files()
    if path not in found.plain:
        raise MissingError(f"there is no {path[:80]!r}.")
    suffix = path[path.rfind(".") :]
    kind = _KINDS.get(suffix) or mimetypes.guess_type(path)[0] or "application/octet-stream"
    is_current = request.path_params["version"] == found.digest
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable" if is_current else "no-store",
        "Vary": "Accept-Encoding",
        # Frames of charts are of no origin; what they ask for is the same in every installation.
        "Access-Control-Allow-Origin": "*",
    }
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        # The libraries of charts take a moment: other requests need not wait for it.
        return Response(await in_thread(lambda: _zipped(path)), media_type=kind, headers=headers)
    return Response(found.plain[path], media_type=kind, headers=headers)


def static_base(request: Request) -> str:
    """Where the files of the page are found, as an address without a host."""
    return f"{html.escape(services(request).options.prefix)}/ui/{_files().digest}"


def filled(path: str, **values: str) -> str:
    """A file of the page with ``{{name}}`` replaced by values."""
    text = _files().plain[path].decode()
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", value)
    return text


async def page(request: Request) -> Response:
    """The one page; its script shows what the address names."""
    base = static_base(request)
    # What the first page needs is asked for at once instead of one import after another.
    preload = "\n".join(
        f'<link rel="modulepreload" href="{base}/{path}">' for path in _files().first_modules
    )
    prefix = html.escape(services(request).options.prefix)
    text = filled("index.html", prefix=prefix, ui=base, preload=preload)
    return Response(text, media_type="text/html", headers={"Cache-Control": "no-store"})
