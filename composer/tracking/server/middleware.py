"""What happens to every request before an endpoint sees it, and to every answer after.

Host names are checked against DNS rebinding, the proxy's path prefix is taken off, and strict
headers are put on.
"""

import logging
from typing import Final

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from composer.tracking.server.options import ServerOptions

log = logging.getLogger(__name__)

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; "
    "media-src 'self'; font-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS: Final = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


class Gate:
    """ASGI middleware: prefix, host check, headers, last-resort errors."""

    def __init__(self, app: ASGIApp, options: ServerOptions) -> None:
        self._app = app
        self._prefix = options.prefix
        self._hosts = _allowed_hosts(options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = list(message.get("headers", []))
                present = {name for name, _ in headers}
                message["headers"] = headers + [pair for pair in _HEADERS if pair[0] not in present]
            await send(message)

        if not self._is_known_host(scope):
            answer = JSONResponse({"error": "unknown host name; see --allowed-host"}, 421)
            await answer(scope, receive, send_with_headers)
            return
        self._strip_prefix(scope)
        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            log.exception("%s %s failed", scope.get("method"), scope.get("path"))
            if started:
                raise
            answer = JSONResponse({"error": "internal error; see the server's log"}, 500)
            await answer(scope, receive, send_with_headers)

    def _is_known_host(self, scope: Scope) -> bool:
        if self._hosts is None:
            return True
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1").lower()
        return _without_port(host) in self._hosts

    def _strip_prefix(self, scope: Scope) -> None:
        path: str = scope["path"]
        if self._prefix and (path == self._prefix or path.startswith(self._prefix + "/")):
            scope["path"] = path[len(self._prefix) :] or "/"
            scope["raw_path"] = scope["path"].encode()


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0].lstrip("[")
    return host.partition(":")[0]


def _allowed_hosts(options: ServerOptions) -> set[str] | None:
    """Names to answer to; None answers to all.

    A server that others can reach is open to any name, unless names are given: its requests need
    keys, which a rebound page does not have.
    """
    given = {each.lower() for each in options.allowed_hosts}
    if options.public_url is not None:
        given.add(_without_port(options.public_url.split("://", 1)[1].split("/", 1)[0].lower()))
    if not options.is_loopback and not given:
        return None
    return given | {"127.0.0.1", "localhost", "::1", options.host.lower()}
