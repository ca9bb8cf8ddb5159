"""Finds what a request names, for the user who asks."""

from typing import Any

from starlette.requests import Request

from composer.tracking.protocol.refusal import BadRequestError, MissingError
from composer.tracking.server.services import Services
from composer.tracking.store import runs
from composer.tracking.store.index import Reader, Row


def find_project(shared: Services, request: Request, reader: Reader) -> Row:
    """The project that a request's ``entity`` and ``project`` name.

    Raises:
        MissingError: there is none for this user.
    """
    query = request.query_params
    return _project(shared, request, reader, query.get("entity"), query.get("project"))


def posted_project(shared: Services, request: Request, reader: Reader, body: dict[str, Any]) -> Row:
    """The project that a posted object's ``entity`` and ``project`` name.

    Raises:
        MissingError: there is none for this user.
    """
    return _project(
        shared, request, reader, posted_text(body, "entity"), posted_text(body, "project")
    )


def _project(
    shared: Services, request: Request, reader: Reader, entity: str | None, name: str | None
) -> Row:
    found = runs.find_project(reader, shared.user(request, reader), entity, name)
    if found is None:
        raise MissingError(f"there is no project {(name or '')[:80]!r}.")
    return found


def find_run(shared: Services, request: Request, reader: Reader) -> Row:
    """The run that a request's ``entity``, ``project`` and ``run`` name.

    Raises:
        MissingError: there is none for this user.
    """
    project = find_project(shared, request, reader)
    return run_of(reader, project, request.query_params.get("run", ""))


def run_of(reader: Reader, project: Row, name: str) -> Row:
    """A project's run by name.

    Raises:
        MissingError: there is none.
    """
    found = runs.find(reader, project["id"], name)
    if found is None:
        raise MissingError(f"there is no run {name[:80]!r}.")
    return found


def posted_text(body: dict[str, Any], name: str) -> str:
    """A text of a posted object.

    Raises:
        BadRequestError: it is missing or no text.
    """
    value = body.get(name)
    if not isinstance(value, str):
        raise BadRequestError(f"give {name!r} as a text.")
    return value


def number(request: Request, name: str, default: float, low: float, high: float) -> float:
    """A number from the query, within bounds.

    Raises:
        BadRequestError: not a number, or out of bounds.
    """
    text = request.query_params.get(name)
    if text is None or text == "":
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise BadRequestError(f"{name}={text[:40]!r} must be a number from {low:g} to {high:g}.")
    return value
