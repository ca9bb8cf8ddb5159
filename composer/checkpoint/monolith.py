"""One checkpoint in one file of ``torch.save``.

Writing is atomic. What is written consists of tensors, numbers, strings and containers, so that
``torch.load`` reads it in its safe mode without further permission; everything else is refused with
its place. Reading always uses that mode. A few harmless types are allowed on top, because MosaicML
Composer's files hold them.
"""

from __future__ import annotations

import datetime
import errno
import os
import pickle
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, cast

import numpy as np
import torch
from torch.torch_version import TorchVersion

from composer.checkpoint.layout import check_is_plain
from composer.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    CorruptCheckpointError,
    UntrustedCheckpointError,
)
from composer.utils.atomic import atomic_write

__all__ = ["as_plain", "read", "write"]

_LEAVES = (bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size)
_EXACT_CONTAINERS = (dict, OrderedDict, Counter)


def write(contents: dict[str, Any], path: str, *, overwrite: bool = True) -> None:
    """Write a checkpoint; the file appears under its name complete or not at all.

    Args:
        contents: nested dicts, lists and tuples of tensors, numbers and strings.
        path: the file; its folder is made if it is missing.
        overwrite: whether an existing file may be replaced.

    Raises:
        RuntimeError: something in the contents is of another type.
        FileExistsError: the file exists and ``overwrite`` is false.
        ValueError: the name is that of an archive or of a compressed file.
    """
    check_is_plain(path)
    plain = as_plain(contents)
    with atomic_write(path, "wb", overwrite=overwrite) as file:
        torch.save(plain, file)


def read(path: str) -> dict[str, Any]:
    """Read a checkpoint; no code from the file is run.

    Args:
        path: the file.

    Returns:
        Its contents, with all tensors on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or no checkpoint.
        RuntimeError: the file holds something that cannot be read without running code.
    """
    check_is_plain(path)
    try:
        with torch.serialization.safe_globals(_composer_types()):
            contents = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointNotFoundError(f"there is no checkpoint {path!r}") from None
    except pickle.UnpicklingError as error:
        raise _unreadable(path, error) from error
    except Exception as error:
        # Damaged bytes fail in every way there is; torch seeks to places before a short file.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise CorruptCheckpointError(_damaged(path, error)) from error
    if not isinstance(contents, dict):
        raise CorruptCheckpointError(
            f"{path!r} holds a {type(contents).__name__}, and a checkpoint is a dict"
        )
    return cast("dict[str, Any]", contents)


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


def _unreadable(path: str, error: pickle.UnpicklingError) -> CheckpointError:
    text = str(error)
    _, found, rest = text.partition("Unsupported global: GLOBAL ")
    if not found:
        _, found, rest = text.partition("Unsupported class ")
    if not found:
        return CorruptCheckpointError(_damaged(path, error))
    name = rest.split()[0]
    return UntrustedCheckpointError(
        f"{path!r} holds {name!r}, which can only be read by running code from the file; that is "
        "never done. If you trust the file, open it once with torch.load(..., weights_only=False) "
        "in a program of yours, remove the entry, and save it again."
    )


def _damaged(path: str, error: Exception) -> str:
    size = os.path.getsize(path) if os.path.exists(path) else 0
    reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return (
        f"{path!r} ({size} bytes) is damaged, cut short, or no checkpoint: {reason}. Use an older "
        "checkpoint."
    )


def _composer_types() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Return the types in MosaicML Composer's files that torch does not allow by itself."""
    # Asked of numpy itself, which keeps these two in a module of another name in each version.
    reconstruct: Callable[..., Any] = cast("Any", np.zeros(0).__reduce__())[0]
    scalar: Callable[..., Any] = cast("Any", np.float64(0).__reduce__())[0]
    number_types = {type(np.dtype(name)) for name in ("uint8", "uint32", "int32", "int64")}
    number_types |= {type(np.dtype(name)) for name in ("bool", "float32", "float64", "uint64")}
    return [
        datetime.timedelta,
        TorchVersion,
        np.ndarray,
        np.dtype,
        *number_types,
        # A file names the module of the version that wrote it.
        (reconstruct, "numpy.core.multiarray._reconstruct"),
        (reconstruct, "numpy._core.multiarray._reconstruct"),
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
    ]
