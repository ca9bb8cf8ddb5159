"""Tables for people, as lines of text."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["format_table"]


def format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay out rows in columns, with a line under the first.

    Args:
        rows: cells, the same number in each row; the first row is the header.

    Returns:
        The lines, without spaces at their ends.

    Example:
        >>> format_table([("event", "order"), ("init", "1")])
        ['event  order', '-----  -----', 'init   1']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]
