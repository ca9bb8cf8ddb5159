"""Who is asking: a key in the header, a session cookie, or this machine's own user."""

import base64
import binascii
from typing import Final

from starlette.requests import HTTPConnection

from composer.tracking.protocol.refusal import ForbiddenError, RefusedError
from composer.tracking.server.options import ServerOptions
from composer.tracking.server.urls import Urls
from composer.tracking.store import users
from composer.tracking.store.index import Reader, Row

COOKIE: Final = "composer_session"
SESSION_LASTS_S: Final = 30 * 24 * 3600


def key_of(request: HTTPConnection) -> str | None:
    """The key a client sends, if any."""
    kind, _, text = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return text.strip()
    if kind.lower() == "basic":
        try:
            return (
                base64.b64decode(text, validate=True).decode("utf-8", "replace").partition(":")[2]
            )
        except (binascii.Error, ValueError):
            return ""
    return None


def identify(
    request: HTTPConnection, reader: Reader, urls: Urls, options: ServerOptions
) -> Row | None:
    """The user behind a request; None if there is none.

    A wrong key is never waved through. Without any key, a server that only this machine reaches and
    that has one user takes that user, unless keys are required.

    Raises:
        ForbiddenError: the browser says that another site made it send this.
    """
    key = key_of(request)
    if key is not None:
        return users.by_key(reader, key) if key else None
    refuse_cross_site(request)
    token = request.cookies.get(COOKIE)
    if token:
        try:
            claims = urls.check(token, ("session",))
        except (RefusedError, ValueError, KeyError, TypeError):
            claims = None
        found = reader.by_id("users", claims["n"]) if claims else None
        if found is not None:
            return found
    if options.is_loopback and not options.require_key:
        everyone = users.everyone(reader)
        if len(everyone) == 1:
            return everyone[0]
    return None


def refuse_cross_site(request: HTTPConnection) -> None:
    """Refuse requests that a page of another site made a browser send.

    Raises:
        ForbiddenError: it did.
    """
    if (
        request.headers.get("sec-fetch-site") == "cross-site"
        and request.scope.get("method") != "GET"
    ):
        raise ForbiddenError("requests from other sites are refused.")
    origin = request.headers.get("origin")
    if origin and origin != "null":
        host = origin.split("://", 1)[-1].rstrip("/")
        if host != request.headers.get("host"):
            raise ForbiddenError(
                f"requests from {origin[:100]!r} are refused; open the server's own page."
            )
    elif origin == "null":
        raise ForbiddenError("requests from nowhere are refused; open the server's own page.")
