"""Reading protocol buffers without their classes: fields by number, as they stand on the wire."""

import struct
from collections.abc import Iterator
from typing import Any, Final

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_MAX_SHIFT: Final = 63


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """Read a varint; returns the value and where it ends.

    Raises:
        ValueError: it is cut short or too long.
    """
    value = shift = 0
    while at < len(data) and shift <= _MAX_SHIFT:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("damaged message: a varint is cut short")


def fields(data: bytes | memoryview) -> Iterator[tuple[int, Any]]:
    """Field numbers and raw values: integers, bytes as views, fixed ones as 8 or 4 bytes.

    Raises:
        ValueError: not a message.
    """
    view = memoryview(data)
    at = 0
    while at < len(view):
        tag, at = varint(view, at)
        kind = tag & 7
        if kind == VARINT:
            value, at = varint(view, at)
            yield tag >> 3, value
            continue
        if kind == BYTES:
            size, at = varint(view, at)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"damaged message: wire type {kind}")
        if at + size > len(view):
            raise ValueError("damaged message: a field is cut short")
        yield tag >> 3, view[at : at + size]
        at += size


def message(data: bytes | memoryview) -> dict[int, list[Any]]:
    """All fields of a message: number to values, in order."""
    found: dict[int, list[Any]] = {}
    for number, value in fields(data):
        found.setdefault(number, []).append(value)
    return found


def text(values: dict[int, list[Any]], number: int, default: str = "") -> str:
    """A text field, the last one given."""
    found = values.get(number)
    return bytes(found[-1]).decode("utf-8", "replace") if found else default


def double(raw: memoryview) -> float:
    """A double from its eight bytes."""
    return struct.unpack("<d", raw)[0]


def signed(value: int) -> int:
    """An ``int64`` from its varint."""
    return value - (1 << 64) if value >= 1 << 63 else value


def zigzag(value: int) -> int:
    """A ``sint64`` from its varint."""
    return (value >> 1) ^ -(value & 1)
