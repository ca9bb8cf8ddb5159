"""What every GraphQL field works with: who asks, one view of the store, a way to change it."""

from collections.abc import Callable
from typing import Any, TypeVar

from composer.tracking.protocol import ids
from composer.tracking.protocol.refusal import UnauthenticatedError
from composer.tracking.server.urls import Urls
from composer.tracking.store.index import Reader, Row
from composer.tracking.store.store import Store
from composer.tracking.store.writer import Tx

T = TypeVar("T")


class Context:
    """One request's view.

    Attributes:
        store: the store.
        reader: one consistent view of it, renewed after each change.
        urls: makes addresses.
        root: resolves the top-level fields; set by the endpoint.
    """

    def __init__(self, store: Store, reader: Reader, user: Row | None, urls: Urls) -> None:
        self.store = store
        self.reader = reader
        self.urls = urls
        self.root: Any = None
        self._user = user

    @property
    def user(self) -> Row:
        """Who asks.

        Raises:
            UnauthenticatedError: nobody we know.
        """
        if self._user is None:
            raise UnauthenticatedError(
                "no valid API key. Run `wandb login --relogin` with this server's key."
            )
        return self._user

    @property
    def user_or_none(self) -> Row | None:
        """Who asks, or None."""
        return self._user

    def do(self, command: Callable[[Tx], T]) -> T:
        """Change the store, and see the change."""
        result = self.store.do(command)
        self.reader.refresh()
        return result


class Page:
    """A part of a list, as GraphQL connections want it.

    Attributes:
        edges: nodes with cursors.
        page_info: where the part ends and whether more follows.
        total_count: length of the whole list.
    """

    def __init__(self, edges: list[dict[str, Any]], has_next: bool, total: int) -> None:
        self.edges = edges
        cursor = edges[-1]["cursor"] if edges else None
        self.page_info = {"endCursor": cursor, "hasNextPage": has_next}
        self.total_count = total


def page(
    items: list[Any],
    make: Callable[[Any], Any],
    first: int | None,
    after: str | None,
    most: int = 1000,
) -> Page:
    """Cut a list by position; the cursor is the position of the item after it.

    Args:
        items: the whole list.
        make: turns an item into a node.
        first: how many to give; None gives ``most``.
        after: the cursor to go on from.
        most: how many to give at most.
    """
    start = read_cursor(after)
    count = most if first is None else max(0, min(first, most))
    part = items[start : start + count]
    edges = [
        {"node": make(each), "cursor": ids.encode_id("C", start + i + 1)}
        for i, each in enumerate(part)
    ]
    return Page(edges, start + len(part) < len(items), len(items))


def read_cursor(after: str | None) -> int:
    """The position a cursor stands for; 0 for none."""
    return ids.decode_id("C", after) if after else 0
