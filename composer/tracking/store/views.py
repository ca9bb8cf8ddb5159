"""Views of a project that people keep: names for addresses of the dashboard."""

from composer.tracking.protocol.refusal import BadRequestError, MissingError
from composer.tracking.store.clock import now
from composer.tracking.store.index import Reader, Row
from composer.tracking.store.writer import Tx

MAX_NAME = 100
MAX_QUERY = 20_000


def listing(reader: Reader, project_id: int) -> list[Row]:
    """A project's views by name."""
    return reader.all("SELECT * FROM views WHERE project_id = ? ORDER BY name", project_id)


def find(reader: Reader, project_id: int, name: str) -> Row | None:
    """A view by name."""
    return reader.one("SELECT * FROM views WHERE project_id = ? AND name = ?", project_id, name)


def save(tx: Tx, project_id: int, name: str, query: str) -> None:
    """Keep a view, over one of the same name.

    Args:
        tx: the transaction.
        project_id: the project.
        name: what people call it.
        query: the part of the dashboard's address that says what is shown.

    Raises:
        BadRequestError: the name is empty or too long, or the query too long.
    """
    if not name.strip() or len(name) > MAX_NAME:
        raise BadRequestError(f"a view's name has 1 to {MAX_NAME} characters, not {len(name)}.")
    if len(query) > MAX_QUERY:
        raise BadRequestError(f"a view has up to {MAX_QUERY} characters, not {len(query)}.")
    old = find(tx, project_id, name)
    if old is not None:
        tx.set("views", old["id"], query=query, updated_at=now())
        return
    tx.put(
        "views",
        project_id=project_id,
        name=name,
        query=query,
        created_at=now(),
        updated_at=now(),
    )


def delete(tx: Tx, project_id: int, name: str) -> None:
    """Forget a view.

    Raises:
        MissingError: there is none of that name.
    """
    old = find(tx, project_id, name)
    if old is None:
        raise MissingError(f"there is no view {name[:80]!r}.")
    tx.delete("views", old["id"])
