"""``POST /graphql``."""

import logging
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from composer.tracking.protocol.refusal import BadRequestError, UnauthenticatedError
from composer.tracking.server.auth import identify
from composer.tracking.server.services import (
    Services,
    in_thread,
    json_response,
    read_json,
    services,
)

log = logging.getLogger(__name__)

# What a login check may ask without a valid key.
_OPEN_FIELDS: Final = {"viewer", "serverInfo", "__type", "__schema", "__typename"}


async def graphql(request: Request) -> Response:
    """Execute a GraphQL document."""
    shared = services(request)
    body = await read_json(request, shared.options.max_body_bytes)
    text = body.get("query")
    if not isinstance(text, str):
        raise BadRequestError("'query' must hold a GraphQL document.")
    return await in_thread(lambda: json_response(_execute(shared, request, text, body)))


def _execute(shared: Services, request: Request, text: str, body: dict[str, Any]) -> dict[str, Any]:
    # Imported when first needed: it takes a quarter of a second, and pages do without it.
    from composer.tracking.server.graphql import executor
    from composer.tracking.server.graphql.context import Context
    from composer.tracking.server.graphql.root import Root

    name = body.get("operationName")
    urls = shared.urls(request)
    with shared.store.reading() as reader:
        user = identify(request, reader, urls, shared.options)
        if user is None and executor.requested_fields(text) - _OPEN_FIELDS:
            raise UnauthenticatedError(
                "no valid API key. Run `wandb login --relogin` with this server's key."
            )
        context = Context(shared.store, reader, user, urls)
        context.root = Root(context)
        return executor.execute(
            text, body.get("variables"), name if isinstance(name, str) else None, context
        )
