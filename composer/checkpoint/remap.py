"""Leave parts of a checkpoint out, by patterns over the paths of its keys."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any, cast

from composer.errors import ArgumentTypeError

__all__ = ["IgnoreKeys", "check_ignore_keys", "leave_out"]

log = logging.getLogger(__name__)

IgnoreKeys = Sequence[str] | Callable[[dict[str, Any]], None] | None


def check_ignore_keys(ignore_keys: IgnoreKeys, name: str) -> None:
    """Refuse what is neither patterns nor a function.

    Raises:
        TypeError: naming the argument.
    """
    is_text = isinstance(ignore_keys, str)
    if ignore_keys is None or callable(ignore_keys):
        return
    if is_text or not all(isinstance(each, str) for each in cast("Sequence[object]", ignore_keys)):
        raise ArgumentTypeError(
            f"{name}={ignore_keys!r} must be a list of patterns such as ['state/model/head.*'], or "
            "a function that edits the checkpoint's dict"
        )


def leave_out(contents: dict[str, Any], ignore_keys: IgnoreKeys, name: str) -> dict[str, Any]:
    """Return the contents without the parts that are to be ignored.

    Args:
        contents: a checkpoint's contents; they are not changed.
        ignore_keys: patterns as in a shell, over the keys joined by ``/`` (``*`` also matches
            ``/``), or a function that deletes from the dict it is given. Containers that become
            empty are left out too.
        name: the name of the argument, for messages.

    Warns:
        UserWarning: a pattern that matches nothing.
    """
    if ignore_keys is None:
        return contents
    check_ignore_keys(ignore_keys, name)
    if callable(ignore_keys):
        edited = _copied(contents)
        ignore_keys(edited)
        return edited
    matched: dict[str, int] = dict.fromkeys(ignore_keys, 0)
    kept = _without(contents, "", matched)
    for pattern, count in matched.items():
        if count == 0:
            warnings.warn(
                f"{name}: {pattern!r} matches nothing in the checkpoint. Paths look like "
                "'state/model/layer.weight' or 'state/optimizers/*'.",
                stacklevel=3,
            )
        else:
            log.info("%s: %r leaves out %d entries", name, pattern, count)
    return kept


def _copied(value: Any) -> Any:
    """Copy the containers, not the tensors: the function edits in place."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list):
        return [_copied(item) for item in cast("list[Any]", value)]
    return value


def _without(value: Any, path: str, matched: dict[str, int]) -> Any:
    if isinstance(value, dict):
        mapping = cast("dict[Any, Any]", value)
        items = _kept_items(mapping.items(), path, matched)
        is_whole = len(items) == len(mapping) and all(mapping[k] is v for k, v in items)
        return mapping if is_whole else dict(items)
    if isinstance(value, list | tuple):
        sequence = cast("Sequence[Any]", value)
        kept = [item for _, item in _kept_items(enumerate(sequence), path, matched)]
        return kept if isinstance(value, list) else tuple(kept)
    return value


def _kept_items(
    items: Iterable[tuple[Any, Any]], path: str, matched: dict[str, int]
) -> list[tuple[Any, Any]]:
    kept: list[tuple[Any, Any]] = []
    for key, item in items:
        item_path = f"{path}/{key}" if path else str(key)
        hits = [pattern for pattern in matched if fnmatchcase(item_path, pattern)]
        for pattern in hits:
            matched[pattern] += 1
        if hits:
            continue
        remaining = _without(item, item_path, matched)
        became_empty = remaining is not item and _is_empty(remaining)
        if not became_empty or _is_empty(item):
            kept.append((key, remaining))
    return kept


def _is_empty(value: Any) -> bool:
    return isinstance(value, dict | list | tuple) and not value
