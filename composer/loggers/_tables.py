"""Tables as text: JSON as pandas writes it (``orient="split"``), and Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from composer.errors import DataError

__all__ = ["check_is_even", "table_to_json", "table_to_markdown"]


def check_is_even(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Refuse a table with a row that is not as long as ``columns``.

    Raises:
        ValueError: naming the row.
    """
    for index, row in enumerate(rows):
        if len(row) != len(columns):
            raise DataError(
                f"row {index} has {len(row)} cells for the {len(columns)} columns {list(columns)}"
            )


def table_to_json(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table as JSON: ``{"columns": [...], "data": [[...], ...]}``.

    NaN and infinity are ``null``; what JSON cannot hold is written as text.
    """
    table = {"columns": list(columns), "data": [[_plain(cell) for cell in row] for row in rows]}
    return json.dumps(table, separators=(",", ":"), ensure_ascii=False)


def table_to_markdown(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table as Markdown.

    Raises:
        ValueError: a row that is not as long as ``columns``.
    """
    check_is_even(columns, rows)
    lines = [columns, ["---"] * len(columns), *([_plain(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: Any) -> str:
    return " ".join(str(value).replace("|", "\\|").split())


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
