"""JSON as wandb clients write it, with bare ``NaN`` and ``Infinity``.

`loads` is fast for strict text and falls back to a tolerant reader for the dialect, for integers
that do not fit 64 bits and for lone surrogates. `dumps` writes the dialect, `dumps_strict` never
does: numbers that JSON lacks become the strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``.
"""

import json
import math
from collections.abc import Callable
from typing import Any

try:
    import orjson as _orjson
except ImportError:  # The extra brings it; without it everything works, slower.
    _orjson = None

_MAX_DEPTH = 200


def loads(text: bytes | str) -> Any:
    """Read JSON in the clients' dialect.

    Args:
        text: UTF-8 bytes or text.

    Returns:
        The value, free of lone surrogates.

    Raises:
        ValueError: not JSON, nested too deeply, or not UTF-8.
    """
    if _orjson is not None:
        try:
            return _orjson.loads(text)
        except _orjson.JSONDecodeError:
            pass
    return loads_exact(text)


def loads_exact(text: bytes | str) -> Any:
    """Read JSON slowly and exactly: integers of any size stay integers.

    Args:
        text: UTF-8 bytes or text.

    Raises:
        ValueError: not JSON, nested too deeply, or not UTF-8.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        return _clean(json.loads(text), 0)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def _clean(value: Any, depth: int) -> Any:
    """Replace lone surrogates, which no database or strict encoder takes."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"the JSON is nested more than {_MAX_DEPTH} levels deep")
    if isinstance(value, str):
        return value if value.isascii() else clean_text(value)
    if isinstance(value, list):
        return [_clean(each, depth + 1) for each in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, dict):
        return {clean_text(str(k)): _clean(v, depth + 1) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return value


def clean_text(text: str) -> str:
    """Replace lone surrogates by ``?``."""
    return text.encode("utf-8", "replace").decode("utf-8")


def dumps(value: Any) -> str:
    """Write the clients' dialect: compact, non-finite numbers bare."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def dumps_strict(value: Any) -> bytes:
    """Write JSON that any reader takes; non-finite numbers become strings.

    Args:
        value: dicts, lists, strings, numbers, booleans and None.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(finite(value), ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def finite(value: Any) -> Any:
    """Copy ``value`` with non-finite numbers spelled as strings."""
    if isinstance(value, float) and not math.isfinite(value):
        return spell(value)
    if isinstance(value, list):
        return [finite(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}  # pyright: ignore[reportUnknownVariableType]
    return value


def spell(value: float) -> float | str:
    """A finite number as it is; others as ``"NaN"``, ``"Infinity"``, ``"-Infinity"``."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def loads_object(text: bytes | str | None) -> dict[str, Any]:
    """Read a JSON object; anything else, or nothing, is an empty one."""
    if not text:
        return {}
    try:
        value = loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def _lines_slow(lines: list[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for line in lines:
        try:
            row = loads(line)
        except ValueError:
            row = None
        rows.append(row if isinstance(row, dict) else {})  # pyright: ignore[reportUnknownArgumentType]
    return rows


def loads_lines(lines: list[str]) -> list[dict[str, Any]]:
    """Read one object per line; a line that is none becomes ``{}`` and keeps its number."""
    if _orjson is None:
        return _lines_slow(lines)
    decode: Callable[[str], Any] = _orjson.loads
    try:
        rows = decode(f"[{','.join(lines)}]")
    except ValueError:
        return _lines_slow(lines)
    # A line holding "1},{2" would pass as two; then the count or a type differs.
    if len(rows) != len(lines) or set(map(type, rows)) - {dict}:
        return _lines_slow(lines)
    return rows
