"""Who is looking, and logging in with a key."""

from starlette.requests import Request
from starlette.responses import Response

from composer.tracking.protocol.refusal import UnauthenticatedError
from composer.tracking.server.auth import COOKIE, SESSION_LASTS_S, refuse_cross_site
from composer.tracking.server.services import json_response, read_json, services
from composer.tracking.store import users


async def show(request: Request) -> Response:
    """The user and the entities they may see."""
    shared = services(request)
    with shared.store.reading() as reader:
        user = shared.user(request, reader)
        entities = [row["name"] for row in users.visible_entities(reader, user)]
    return json_response(
        {"user": user["name"], "is_admin": bool(user["is_admin"]), "entities": entities}
    )


async def login(request: Request) -> Response:
    """Exchange a key for a session cookie."""
    shared = services(request)
    refuse_cross_site(request)
    key = (await read_json(request, 4096)).get("key")
    with shared.store.reading() as reader:
        user = users.by_key(reader, key) if isinstance(key, str) else None
    if user is None:
        raise UnauthenticatedError("this key is not known.")
    urls = shared.urls(request)
    answer = json_response({"user": user["name"]})
    answer.set_cookie(
        COOKIE,
        urls.session(user["id"], SESSION_LASTS_S),
        max_age=SESSION_LASTS_S,
        httponly=True,
        samesite="strict",
        secure=urls.base.startswith("https://"),
        path=shared.options.prefix or "/",
    )
    return answer


async def logout(request: Request) -> Response:
    """Forget the session."""
    answer = json_response({})
    answer.delete_cookie(COOKIE, path=services(request).options.prefix or "/")
    return answer
