"""What endpoints share: the store, the settings, and how a request is answered or refused."""

import logging
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from composer.tracking.protocol import jsontext
from composer.tracking.protocol.refusal import (
    BadRequestError,
    RefusedError,
    RetryLaterError,
    TooLargeError,
    UnauthenticatedError,
)
from composer.tracking.server.auth import identify
from composer.tracking.server.heartbeats import Heartbeats
from composer.tracking.server.options import ServerOptions
from composer.tracking.server.urls import Urls
from composer.tracking.store.index import Reader, Row
from composer.tracking.store.store import Store

log = logging.getLogger(__name__)
T = TypeVar("T")
_RETRY_AFTER_S: Final = "5"


@dataclass(frozen=True, slots=True)
class Services:
    """Everything an endpoint needs.

    Attributes:
        store: the store.
        options: the settings.
        heartbeats: when each run was last heard of.
    """

    store: Store
    options: ServerOptions
    heartbeats: Heartbeats

    def urls(self, request: Request) -> Urls:
        """Makes addresses as this client sees the server."""
        if self.options.public_url is not None:
            return Urls(self.options.public_url.rstrip("/"), self.store.secret)
        host = request.headers.get("host") or f"{self.options.host}:{self.options.port}"
        return Urls(f"{request.url.scheme}://{host}{self.options.prefix}", self.store.secret)

    def user(self, request: Request, reader: Reader) -> Row:
        """Who asks.

        Raises:
            UnauthenticatedError: nobody we know.
        """
        found = identify(request, reader, self.urls(request), self.options)
        if found is None:
            raise UnauthenticatedError("no valid API key came with the request.")
        return found


def services(request: Request) -> Services:
    """The services of the running server."""
    return request.app.state.services


async def in_thread(function: Callable[[], T]) -> T:
    """Run something that reads or waits on a worker thread."""
    return await anyio.to_thread.run_sync(function)


def json_response(value: Any, status: int = 200) -> Response:
    """Answer with strict JSON."""
    return Response(jsontext.dumps_strict(value), status, media_type="application/json")


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body, unzipped if need be, never more than ``limit`` bytes of it.

    Raises:
        TooLargeError: it is larger, as sent or unzipped.
        BadRequestError: it is zipped in a way this server does not know, or damaged.
    """
    kind = request.headers.get("content-encoding", "identity").lower()
    if kind not in ("identity", "gzip", ""):
        raise BadRequestError(f"content encoding {kind[:40]!r} is not known; send gzip or none.")
    unzip = zlib.decompressobj(31) if kind == "gzip" else None
    parts: list[bytes] = []
    size = 0
    async for sent in request.stream():
        part = sent
        if unzip is not None:
            try:
                part = unzip.decompress(sent, limit + 1 - size)
            except zlib.error as error:
                raise BadRequestError(f"the body is not gzip: {error}") from None
        size += len(part)
        if size > limit:
            raise TooLargeError(f"the body has more than {limit} bytes.")
        parts.append(part)
    return b"".join(parts)


async def read_json(request: Request, limit: int = 1 << 20) -> dict[str, Any]:
    """A body that is a JSON object.

    Raises:
        BadRequestError: it is not.
    """
    try:
        value = jsontext.loads(await read_body(request, limit) or b"{}")
    except ValueError as error:
        raise BadRequestError(f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadRequestError("the body must be a JSON object.")
    return value  # pyright: ignore[reportUnknownVariableType]


Endpoint = Callable[[Request], Awaitable[Response]]


def guarded(endpoint: Endpoint) -> Endpoint:
    """Turn refusals, and a disk that fails, into answers that clients understand."""

    async def run(request: Request) -> Response:
        try:
            return await endpoint(request)
        except RefusedError as error:
            headers = {"Retry-After": _RETRY_AFTER_S} if isinstance(error, RetryLaterError) else {}
            answer = json_response(
                {"error": str(error), "errors": [{"message": str(error)}]}, error.status
            )
            answer.headers.update(headers)
            return answer
        except OSError as error:
            log.error("%s %s failed: %s", request.method, request.url.path, error)
            answer = json_response({"error": f"storing failed: {error.strerror}"}, 503)
            answer.headers["Retry-After"] = _RETRY_AFTER_S
            return answer

    run.__name__ = getattr(endpoint, "__name__", "endpoint")
    return run
