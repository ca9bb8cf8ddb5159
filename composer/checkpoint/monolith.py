"""One checkpoint in one file of ``torch.save``.

What is written consists of tensors, numbers, strings and containers, so that ``torch.load`` reads
it in its safe mode without further permission. Reading always uses that mode, unless the user says
that the file is trusted. A few harmless types are allowed on top, because MosaicML Composer's files
hold them.
"""

from __future__ import annotations

import datetime
import errno
import logging
import os
import pickle
import zipfile
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch.torch_version import TorchVersion

from composer.checkpoint.pickle_probe import find_entries
from composer.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    CorruptCheckpointError,
    UntrustedCheckpointError,
)

__all__ = ["find_damage", "own_tensors", "read", "write"]

log = logging.getLogger(__name__)

_Allowed = Callable[..., Any] | tuple[Callable[..., Any], str]


def write(contents: dict[str, Any], file: Any) -> None:
    """Write a checkpoint.

    Args:
        contents: nested dicts, lists and tuples of plain values; see
            :func:`composer.checkpoint.plain.as_plain`.
        file: a binary file, or a path.
    """
    torch.save(contents, file)


def read(path: str, *, trust: bool = False) -> dict[str, Any]:
    """Read a checkpoint; no code from the file is run.

    Args:
        path: the file.
        trust: whether to read everything, also what can only be read by running code from the
            file. Whoever wrote the file can then do in this process what they like.

    Returns:
        Its contents, with all tensors on the CPU. Their memory is the file's, read when it is
        looked at: give the tensors that outlive the call to :func:`own_tensors`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or no checkpoint.
        RuntimeError: the file holds something that cannot be read without running code.
    """
    if trust:
        log.warning("reading %s with trust: code in it is run", path)
    try:
        contents = _load(path, trust)
    except FileNotFoundError:
        raise CheckpointNotFoundError(f"there is no checkpoint {path!r}") from None
    except pickle.UnpicklingError as error:
        raise _unreadable(path, error) from error
    except Exception as error:
        # Damaged bytes fail in every way there is; torch seeks to places before a short file.
        if trust or (isinstance(error, OSError) and error.errno != errno.EINVAL):
            raise
        raise CorruptCheckpointError(_damaged(path, error)) from error
    if not isinstance(contents, dict):
        raise CorruptCheckpointError(
            f"{path!r} holds a {type(contents).__name__}, and a checkpoint is a dict"
        )
    return cast("dict[str, Any]", contents)


def own_tensors(value: Any) -> Any:
    """Return contents whose tensors have memory of their own, read from the file now."""
    copies: dict[tuple[Any, ...], torch.Tensor] = {}

    def own(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            key = (value.data_ptr(), value.shape, value.stride(), value.dtype)
            if key not in copies:
                copies[key] = value.detach().clone()
            return copies[key]
        if isinstance(value, dict):
            # In place: an ordered dict of weights has more to it than its items.
            for key, item in cast("dict[Any, Any]", value).items():
                value[key] = own(item)
            return cast("dict[Any, Any]", value)
        if type(value) in (list, tuple):
            return type(value)(own(item) for item in value)
        return value

    return own(value)


def find_damage(path: str) -> str | None:
    """Look for damage in a file that has no manifest, by the checksums of its zip archive.

    Returns:
        What is wrong, for people; ``None`` if nothing is, or if the file has no checksums.
    """
    if not _is_zip(path):
        return None if os.path.getsize(path) else f"{os.path.basename(path)!r} is empty"
    try:
        with zipfile.ZipFile(path) as file:
            entry = file.testzip()
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        return f"{os.path.basename(path)!r} is damaged or truncated: {error}"
    return None if entry is None else f"the checksum of {entry!r} differs"


def _load(path: str, trust: bool) -> Any:
    # Old files are no zip archives and cannot be mapped.
    options: dict[str, Any] = {"map_location": "cpu", "mmap": _is_zip(path) or None}
    if trust:
        return torch.load(path, weights_only=False, **options)
    with torch.serialization.safe_globals(_composer_types()):
        return torch.load(path, weights_only=True, **options)


def _is_zip(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _unreadable(path: str, error: pickle.UnpicklingError) -> CheckpointError:
    text = str(error)
    _, found, rest = text.partition("Unsupported global: GLOBAL ")
    if not found:
        _, found, rest = text.partition("Unsupported class ")
    if not found:
        return CorruptCheckpointError(_damaged(path, error))
    entries = find_entries(path, [name for each in _composer_types() if (name := _name_of(each))])
    named = ", ".join(f"{place!r} ({name})" for place, name in entries[:3])
    what = f"the entries {named}" if named else repr(rest.split()[0])
    return UntrustedCheckpointError(
        f"{path!r} holds {what}, which can only be read by running code from the file; that is "
        "not done. If the file is your own and you trust it, say trust=True "
        "(load_trust=True for the Trainer); better, do so once and save it again without them."
    )


def _name_of(allowed: _Allowed) -> str | None:
    if isinstance(allowed, tuple):
        return allowed[1]
    return f"{allowed.__module__}.{allowed.__qualname__}"


def _damaged(path: str, error: Exception) -> str:
    size = os.path.getsize(path) if os.path.exists(path) else 0
    reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return (
        f"{path!r} ({size} bytes) is damaged, cut short, or no checkpoint: {reason}. Use an older "
        "checkpoint."
    )


def _composer_types() -> list[_Allowed]:
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
