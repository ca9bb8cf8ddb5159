"""Turn a state into types that can be read without running code."""

from __future__ import annotations

import datetime
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, cast

import numpy as np
import torch

from composer.errors import CheckpointError

__all__ = ["as_plain"]

_LEAVES = (bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size)
_EXACT_CONTAINERS = (dict, OrderedDict, Counter)


def as_plain(value: Any, path: str = "") -> Any:
    """Return a value with everything in it turned into types that the safe mode reads.

    Durations become seconds, enumerations and versions text, numpy's numbers Python's. Containers
    in which nothing changes are returned as they are.

    Args:
        value: the value.
        path: where it stands, for messages.

    Raises:
        RuntimeError: a type that has no plain form.
    """
    if value is None or type(value) in _LEAVES or isinstance(value, torch.Tensor):
        return value
    if isinstance(value, Mapping):
        return _plain_mapping(cast("Mapping[Any, Any]", value), path)
    if isinstance(value, list | tuple | set | frozenset):
        return _plain_items(cast("Sequence[Any]", value), path)
    return _plain_leaf(value, path)


def _plain_leaf(value: Any, path: str) -> Any:
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, np.generic):
        return cast("Any", value).item()
    if isinstance(value, Enum):
        return as_plain(value.value, path)
    for plain in (int, float, str, bytes):
        if isinstance(value, plain):
            return cast("Any", plain)(value)
    if _is_array_of_numbers(value):
        return value
    raise CheckpointError(
        f"{path or 'the checkpoint'!r} is {value!r} ({type(value).__name__}), which a checkpoint "
        "cannot hold: state_dict() may return tensors, numbers, strings, None, and lists and dicts "
        "of these."
    )


def _is_array_of_numbers(value: Any) -> bool:
    return type(value) is np.ndarray and not cast("Any", value).dtype.hasobject


def _plain_mapping(value: Mapping[Any, Any], path: str) -> Any:
    plain = {as_plain(k, f"{path} (a key)"): as_plain(v, _join(path, k)) for k, v in value.items()}
    is_same = type(value) in _EXACT_CONTAINERS and all(
        a is b for a, b in zip(plain.values(), value.values(), strict=True)
    )
    # As it is, an ordered dict of weights keeps the versions that modules have noted in it.
    return value if is_same else plain


def _plain_items(value: Sequence[Any], path: str) -> Any:
    plain = [as_plain(item, _join(path, index)) for index, item in enumerate(value)]
    if type(value) in (list, tuple, set) and all(a is b for a, b in zip(plain, value, strict=True)):
        return value
    if isinstance(value, set | frozenset):
        return set(plain)
    return plain if isinstance(value, list) else tuple(plain)


def _join(path: str, key: object) -> str:
    return f"{path}/{key}" if path else str(key)
