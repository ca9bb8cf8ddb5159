"""Bytes in and out: ``PUT /upload/{token}`` and ``GET /download/{token}/{name}``.

The token is all the proof these requests carry. Contents are served so that nothing in them can run
in the dashboard's origin: sandboxed, never sniffed, and as a download unless they are plainly
harmless.
"""

import base64
import mimetypes
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from composer.tracking.protocol import manifest
from composer.tracking.protocol.refusal import (
    BadRequestError,
    ForbiddenError,
    MissingError,
    TooLargeError,
)
from composer.tracking.server.services import Services, in_thread, services
from composer.tracking.store import artifacts, files, runs
from composer.tracking.store.blobs import Blob
from composer.tracking.store.store import Store
from composer.tracking.store.writer import Tx

_INLINE: Final = {
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "video/mp4",
    "video/webm",
    "audio/wav",
    "audio/x-wav",
    "audio/mpeg",
    "audio/ogg",
    "text/plain",
    "application/json",
}
_SANDBOX: Final = (
    "sandbox; default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
)


async def upload(request: Request) -> Response:
    """Take the bytes of a file."""
    shared = services(request)
    claims = _claims(shared, request, ("run", "artifact", "manifest"))
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > shared.options.max_file_bytes:
        raise TooLargeError(
            f"the file has {length} bytes; {shared.options.max_file_bytes} are allowed."
        )
    blob = await _receive(shared, request)
    await in_thread(lambda: shared.store.do(lambda tx: _keep(shared.store, tx, claims, blob)))
    return Response(status_code=200, headers={"ETag": f'"{blob.sha256}"'})


def _claims(shared: Services, request: Request, kinds: tuple[str, ...]) -> dict[str, Any]:
    try:
        return shared.urls(request).check(request.path_params["token"], kinds)
    except (ValueError, KeyError, TypeError):
        raise ForbiddenError("this address was not made by this server.") from None


async def _receive(shared: Services, request: Request) -> Blob:
    incoming = shared.store.blobs.receive()
    try:
        async for part in request.stream():
            if incoming.size + len(part) > shared.options.max_file_bytes:
                raise TooLargeError(
                    f"the file has more than {shared.options.max_file_bytes} bytes."
                )
            if len(part) > 1 << 16:
                await in_thread(lambda part=part: incoming.write(part))
            else:
                incoming.write(part)
        return await in_thread(incoming.finish)
    except BaseException:
        incoming.abandon()
        raise


def _keep(store: Store, tx: Tx, claims: dict[str, Any], blob: Blob) -> None:
    if claims["k"] == "run":
        run = tx.by_id("runs", claims["n"])
        if run is None:
            raise MissingError("the run has been deleted.")
        files.put(tx, run["id"], claims["p"], blob)
    elif claims["k"] == "artifact":
        artifact = artifacts.get_row(tx, claims["n"])
        artifacts.put_file(
            tx, artifact["id"], artifacts.entity_id_of(tx, artifact), claims["p"], blob
        )
    else:
        _keep_manifest(store, tx, claims["n"], blob)


def _keep_manifest(store: Store, tx: Tx, number: int, blob: Blob) -> None:
    if blob.size > manifest.MAX_BYTES:
        raise TooLargeError(
            f"the manifest has {blob.size} bytes; {manifest.MAX_BYTES} are allowed."
        )
    row = tx.by_id("manifests", number)
    if row is None:
        raise MissingError("the manifest does not exist.")
    entries = manifest.read(store.blobs.read(blob.sha256))
    if row["kind"] == "FULL":
        # Clients leave paths of their own machine in manifests; those are nobody's business.
        blob = store.blobs.put(manifest.write(entries))
    tx.set("manifests", number, sha256=blob.sha256)


async def download(request: Request) -> Response:
    """Give the bytes of a file, or a run's rows as Parquet."""
    shared = services(request)
    claims = _claims(shared, request, ("blob", "parquet"))
    name = request.path_params["name"]
    if claims["k"] == "parquet":
        path = await in_thread(lambda: _parquet(shared.store, claims["n"]))
        return FileResponse(path, media_type="application/octet-stream")
    return contents(shared.store, claims["s"], name)


def contents(store: Store, sha256: str, name: str) -> Response:
    """Contents under a name, harmless to whatever page shows them.

    Raises:
        MissingError: they are not here.
    """
    path = store.blobs.path(sha256)
    if not path.exists():
        raise MissingError("the contents of this file are not on the server.")
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return FileResponse(
        path,
        media_type=kind,
        filename=name,
        content_disposition_type="inline" if kind in _INLINE else "attachment",
        headers={
            "Content-Security-Policy": _SANDBOX,
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "private, max-age=86400",
        },
    )


def _parquet(store: Store, run_id: int) -> Path:
    with store.reading() as reader:
        run = reader.by_id("runs", run_id)
        path = store.exports.file(reader, run) if run is not None else None
    if path is None:
        raise MissingError("this run cannot be given as Parquet.")
    return path


async def artifact_file(request: Request) -> Response:
    """Give an artifact's file by its MD5: what clients try when an address failed."""
    shared = services(request)
    names = request.path_params
    try:
        md5 = _base64_of_hex(names["md5"])
    except ValueError:
        raise BadRequestError(f"{names['md5'][:60]!r} is not an MD5 in hex.") from None
    with shared.store.reading() as reader:
        entity = runs.find_entity(reader, shared.user(request, reader), names["entity"])
        found = artifacts.has_content(reader, entity["id"], md5)
    if found is None:
        raise MissingError("there are no such contents.")
    return contents(shared.store, found["sha256"], names.get("name") or names["md5"])


def _base64_of_hex(text: str) -> str:

    return base64.b64encode(bytes.fromhex(text)).decode()
