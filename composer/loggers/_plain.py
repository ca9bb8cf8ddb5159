"""Values as what every tracker can hold: numbers, texts, lists and dicts of those."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

__all__ = ["number", "plain"]

_MAX_LISTED = 32


def number(value: Any) -> float | None:
    """Return a value as a number, if it is one: also from NumPy, or a one-element tensor."""
    if isinstance(value, bool | int | float):
        try:
            return float(value)
        except OverflowError:
            return float("inf") if value > 0 else float("-inf")
    if isinstance(value, torch.Tensor):
        return float(value.item()) if value.numel() == 1 and not value.is_complex() else None
    if isinstance(value, np.ndarray | np.generic):
        return float(value.item()) if value.size == 1 and value.dtype.kind in "biuf" else None
    return None


def plain(value: Any) -> Any:
    """Return a value made of numbers, texts, ``None``, lists and dicts alone.

    Short arrays become lists, longer ones their shape; what is something else becomes text.
    """
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        return _plain_array(value)
    return str(value)


def _plain_array(value: torch.Tensor | np.ndarray[Any, Any] | np.generic) -> Any:
    is_tensor = isinstance(value, torch.Tensor)
    if (value.numel() if is_tensor else value.size) > _MAX_LISTED:
        return f"{'Tensor' if is_tensor else 'array'} of shape {tuple(value.shape)}"
    return plain(value.tolist())
