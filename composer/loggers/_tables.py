"""Tables as text, in the form of pandas' ``to_json(orient="split", index=False)``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

__all__ = ["table_to_json"]


def table_to_json(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table as JSON: ``{"columns": [...], "data": [[...], ...]}``.

    NaN and infinity are ``null``; what JSON cannot hold is written as text.
    """
    table = {"columns": list(columns), "data": [[_plain(cell) for cell in row] for row in rows]}
    return json.dumps(table, separators=(",", ":"), ensure_ascii=False)


def _plain(cell: Any) -> Any:
    if isinstance(cell, float):
        return cell if math.isfinite(cell) else None
    if cell is None or isinstance(cell, str | int):
        return cell
    if isinstance(cell, torch.Tensor):
        return f"Tensor of shape {tuple(cell.shape)}"
    if isinstance(cell, Mapping):
        return {str(key): _plain(each) for key, each in cell.items()}
    if isinstance(cell, list | tuple):
        return [_plain(each) for each in cell]
    return str(cell)
