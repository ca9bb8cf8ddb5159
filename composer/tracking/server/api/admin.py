"""Users, for administrators: the same as ``composer track user``, over HTTP."""

from starlette.requests import Request
from starlette.responses import Response

from composer.tracking.protocol import ids
from composer.tracking.protocol.refusal import BadRequestError, ForbiddenError
from composer.tracking.server.services import (
    Services,
    in_thread,
    json_response,
    read_json,
    services,
)
from composer.tracking.store import users


def _admin(shared: Services, request: Request) -> None:
    with shared.store.reading() as reader:
        if not shared.user(request, reader)["is_admin"]:
            raise ForbiddenError("only administrators may manage users.")


async def listing(request: Request) -> Response:
    """Every user."""
    shared = services(request)
    _admin(shared, request)
    with shared.store.reading() as reader:
        rows = users.everyone(reader)
    return json_response(
        [
            {
                "name": row["name"],
                "email": row["email"],
                "is_admin": bool(row["is_admin"]),
                "created_at": row["created_at"],
            }
            for row in rows
        ]
    )


async def add(request: Request) -> Response:
    """Add a user with a given or new key; the answer holds the key, which is shown only now."""
    shared = services(request)
    _admin(shared, request)
    body = await read_json(request)
    name, key, email = body.get("name"), body.get("key"), body.get("email") or ""
    if (
        not isinstance(name, str)
        or not isinstance(email, str)
        or not isinstance(key, (str, type(None)))
    ):
        raise BadRequestError("give 'name', and if wanted 'key', 'email' and 'is_admin'.")
    secret = key or ids.make_key()
    is_admin = body.get("is_admin") is True
    await in_thread(
        lambda: shared.store.do(
            lambda tx: users.add(tx, name, secret, email[:256], is_admin=is_admin)
        )
    )
    return json_response({"name": name, "key": secret, "entity": name}, 201)


async def remove(request: Request) -> Response:
    """Take a user's key away; runs stay."""
    shared = services(request)
    _admin(shared, request)
    await in_thread(
        lambda: shared.store.do(lambda tx: users.remove(tx, request.path_params["name"]))
    )
    return json_response({})
