"""Small tools for collections and iterators.

"One or many" arguments become tuples here, and streams of chunks become file objects.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["IteratorFileStream", "ensure_tuple", "iterate_with_callback", "map_collection"]

T = TypeVar("T")


def ensure_tuple(x: T | Sequence[T] | Mapping[Any, T] | None) -> tuple[T, ...]:
    """Return "one or many" as a tuple.

    Args:
        x: ``None`` gives ``()``; a list or tuple gives its items; a mapping gives its values;
            anything else, text and bytes included, gives a tuple of one.

    Example:
        >>> ensure_tuple("a"), ensure_tuple(["a", "b"]), ensure_tuple({"first": "a"})
        (('a',), ('a', 'b'), ('a',))
    """
    if x is None:
        return ()
    if isinstance(x, str | bytes | bytearray):
        return (x,)  # pyright: ignore[reportReturnType]
    if isinstance(x, Mapping):
        return tuple(x.values())
    if isinstance(x, Sequence):
        return tuple(x)
    return (x,)


def map_collection(collection: Any, map_fn: Callable[[Any], Any]) -> Any:
    """Apply a function to each item and keep the container's type; the items are not entered.

    Args:
        collection: a list, a tuple (named ones too) or a mapping, whose values are mapped;
            ``None`` stays ``None``; anything else is one item.
        map_fn: the function.

    Example:
        >>> map_collection({"a": 1, "b": 2}, lambda value: value * 10)
        {'a': 10, 'b': 20}
    """
    if collection is None:
        return None
    if isinstance(collection, Mapping):
        return {key: map_fn(value) for key, value in collection.items()}
    if isinstance(collection, tuple):
        items = [map_fn(item) for item in collection]
        make = getattr(type(collection), "_make", tuple)
        return make(items)
    if isinstance(collection, list):
        return [map_fn(item) for item in collection]
    return map_fn(collection)


def iterate_with_callback(
    iterator: Iterable[bytes],
    total_len: int,
    callback: Callable[[int, int], None] | None = None,
) -> Iterator[bytes]:
    """Pass chunks on and report progress.

    Args:
        iterator: the chunks.
        total_len: length of all chunks together, in bytes; only passed on to ``callback``.
        callback: called with (bytes so far, ``total_len``), once before the first chunk and then
            after each.
    """
    if callback is None:
        yield from iterator
        return
    num_bytes = 0
    callback(num_bytes, total_len)
    for chunk in iterator:
        num_bytes += len(chunk)
        yield chunk
        callback(num_bytes, total_len)


class IteratorFileStream(io.RawIOBase):
    """A read-only file object over an iterator of byte chunks.

    Args:
        iterator: the chunks, of any length; empty ones are skipped.

    Example:
        >>> IteratorFileStream(iter([b"two ", b"chunks"])).read()
        b'two chunks'
    """

    def __init__(self, iterator: Iterable[bytes]) -> None:
        self._chunks = iter(iterator)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Return ``True``."""
        return True

    def readinto(self, b: WriteableBuffer, /) -> int:
        """Fill ``b`` from the current chunk and return the number of bytes; 0 at the end."""
        target = memoryview(b).cast("B")
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        size = min(len(target), len(self._rest))
        target[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
