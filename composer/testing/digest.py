"""Short names for large values, by which two runs are compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import torch

__all__ = ["digest", "flatten"]


def digest(value: Any) -> str:
    """Return a text that is the same exactly if two values are, to the bit.

    Args:
        value: numbers, texts, arrays and tensors, in containers of any depth. Of other objects
            only the type counts.
    """
    hasher = hashlib.blake2b(digest_size=8)
    _update(hasher, value)
    return hasher.hexdigest()


def _update(hasher: Any, value: Any) -> None:
    if isinstance(value, Mapping):
        for key, part in cast("Mapping[Any, Any]", value).items():
            hasher.update(repr(key).encode())
            _update(hasher, part)
    elif isinstance(value, list | tuple):
        parts = cast("list[Any]", value)
        hasher.update(b"[%d]" % len(parts))
        if all(type(part) is int for part in parts):  # states of generators: many, and short
            hasher.update(repr(parts).encode())
            return
        for part in parts:
            _update(hasher, part)
    else:
        hasher.update(_bytes(value))


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a nested value, each with the ``/``-joined path that leads to it."""
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
    elif isinstance(value, list | tuple):
        items = enumerate(cast("list[Any]", value))
    else:
        yield path, value
        return
    for key, part in items:
        yield from flatten(part, f"{path}/{key}" if path else str(key))


def _bytes(leaf: Any) -> bytes:
    if isinstance(leaf, torch.Tensor):
        tensor = leaf.detach().cpu().contiguous()
        kind = f"{tensor.dtype}{tuple(tensor.shape)}".encode()
        return kind + tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
    if isinstance(leaf, np.ndarray):
        array = cast("Any", leaf)
        return f"{array.dtype}{array.shape}".encode() + array.tobytes()
    if isinstance(leaf, float):
        return leaf.hex().encode()
    if leaf is None or isinstance(leaf, bool | int | str | bytes | complex | np.generic):
        return repr(leaf).encode()
    return f"{type(leaf).__module__}.{type(leaf).__qualname__}".encode()
