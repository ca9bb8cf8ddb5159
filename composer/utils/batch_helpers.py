"""Read and replace parts of a batch, whatever a batch is.

A *key* says where in the batch something lies: an index, a name, a sequence of those, a callable,
or a (get, set) pair of callables. Methods take keys from users, and call these two functions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, cast

from composer.errors import ConfigError, DataError

__all__ = ["batch_get", "batch_set"]


def batch_get(batch: Any, key: int | str | Callable[..., Any] | Sequence[Any] | Any) -> Any:
    """Return the part of a batch under a key.

    Args:
        batch: a tensor, array, list, tuple (named ones too), mapping, or an object with attributes.
        key: an index or a name; a sequence of those, which gives a tuple (arrays and tensors are
            indexed with the whole sequence, where they can be); a callable ``f(batch)``; or a pair
            ``(get, set)`` of callables, of which ``get(batch)`` is called.

    Returns:
        The part, not copied.

    Raises:
        KeyError: a mapping does not have the name.
        IndexError: the index is out of range.
        AttributeError: an object does not have the attribute.

    Example:
        >>> batch_get({"image": 1, "label": 7}, "label"), batch_get([4, 5, 6], (0, 2))
        (7, (4, 6))
    """
    if isinstance(key, int | str):
        return _get_one(batch, key)
    if callable(key):
        return key(batch)
    if _is_pair(key):
        return key[0](batch)
    if isinstance(key, Sequence):
        return _get_many(batch, key)
    return batch[key]


def batch_set(
    batch: Any, key: int | str | Callable[..., Any] | Sequence[Any] | Any, value: Any
) -> Any:
    """Replace the part of a batch under a key and return the batch.

    Lists, mappings, arrays, tensors and objects are changed in place; tuples and frozen data
    classes are rebuilt. Names a batch does not have are refused, not added.

    Args:
        batch: as in :func:`batch_get`.
        key: as in :func:`batch_get`; a callable is called as ``f(batch, value)``, of a pair
            ``set(batch, value)``, and must return the batch.
        value: what to put there; for a sequence of keys, one value for each.

    Returns:
        The batch to use from now on.

    Raises:
        KeyError: a mapping does not have the name.
        IndexError: the index is out of range.
        ValueError: the batch has no such part or does not let it be replaced, or the number of
            values is not the number of keys.

    Example:
        >>> batch_set((1, 2), 1, "new")
        (1, 'new')
    """
    if isinstance(key, int | str):
        return _set_one(batch, key, value)
    if callable(key):
        return key(batch, value)
    if _is_pair(key):
        return key[1](batch, value)
    if isinstance(key, Sequence):
        return _set_many(batch, key, value)
    return _set_one(batch, key, value)


def _is_pair(key: Any) -> bool:
    if not isinstance(key, Sequence) or not key or not all(callable(item) for item in key):
        return False
    if len(key) != 2:
        raise ConfigError(
            f"a key of callables is a pair (get, set), got {len(key)} callables; "
            "for a getter alone give the callable itself"
        )
    return True


def _get_one(batch: Any, key: Any) -> Any:
    try:
        return batch[key]
    except (TypeError, IndexError):
        # Not subscriptable, or not with a name; what has names without [] has attributes.
        if not isinstance(key, str):
            raise
    return attrgetter(key)(batch)


def _get_many(batch: Any, keys: Sequence[Any]) -> Any:
    if not isinstance(batch, list | tuple | Mapping) or _is_own_key(batch, keys):
        try:
            return cast("Any", batch)[keys]
        except (TypeError, IndexError, KeyError):
            pass
    return tuple(_get_one(batch, key) for key in keys)


def _is_own_key(batch: Any, keys: Sequence[Any]) -> bool:
    """Whether a mapping uses the tuple itself as one key."""
    return isinstance(batch, Mapping) and isinstance(keys, tuple) and keys in batch


def _set_one(batch: Any, key: Any, value: Any) -> Any:
    if isinstance(batch, tuple):
        return _rebuild_tuple(batch, key, value)
    if isinstance(batch, Mapping):
        if key not in batch:
            raise KeyError(f"the batch has no {key!r}; it has {list(batch)}")
        batch[key] = value  # pyright: ignore[reportIndexIssue]
        return batch
    try:
        # Look before writing, so that no container makes a new entry.
        batch[key]
        batch[key] = value
    except (TypeError, IndexError):
        if not isinstance(key, str):
            raise
        return _set_attribute(batch, key, value)
    return batch


def _rebuild_tuple(batch: tuple[Any, ...], key: Any, value: Any) -> tuple[Any, ...]:
    fields: tuple[str, ...] = getattr(batch, "_fields", ())
    if isinstance(key, str):
        if key not in fields:
            raise DataError(
                f"a {type(batch).__name__} has no field {key!r}; "
                + (f"it has {list(fields)}" if fields else "use an index")
            )
        key = fields.index(key)
    items = list(batch)
    items[key] = value
    return type(batch)._make(items) if fields else tuple(items)  # pyright: ignore


def _set_attribute(batch: Any, name: str, value: Any) -> Any:
    if not hasattr(batch, name):
        raise DataError(
            f"a batch of type {type(batch).__name__} has no {name!r}; give another key, or a pair "
            "of callables (get, set)"
        )
    if getattr(getattr(batch, "__dataclass_params__", None), "frozen", False):
        return dataclasses.replace(batch, **{name: value})
    setattr(batch, name, value)
    return batch


def _set_many(batch: Any, keys: Sequence[Any], values: Any) -> Any:
    if _is_own_key(batch, keys):
        return _set_one(batch, keys, values)
    if not isinstance(batch, list | tuple | Mapping):
        try:
            # Arrays and tensors take the whole sequence as an index.
            batch[keys]
            batch[keys] = values
            return batch
        except (TypeError, IndexError, KeyError):
            pass
    if isinstance(values, str) or not hasattr(values, "__len__"):
        raise DataError(f"{len(keys)} keys need a sequence of {len(keys)} values, got {values!r}")
    if len(values) != len(keys):
        raise DataError(f"{len(keys)} keys need as many values, got {len(values)}")
    for key, value in zip(keys, values, strict=True):
        batch = _set_one(batch, key, value)
    return batch
