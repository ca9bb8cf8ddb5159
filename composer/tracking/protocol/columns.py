"""Rows of a run as columns, and columns as bytes: what the journal and the index store.

A chunk holds some consecutive rows. Each key is one column with its own encoding, chosen so that
what was logged comes back to the bit: doubles stay doubles, integers integers, everything else
JSON. A row that lacks a key is told apart from one that holds ``null``.
"""

import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from composer.tracking.protocol import jsontext

_HEAD: Final = struct.Struct("<II")  # rows, columns
_COLUMN: Final = struct.Struct("<IBBI")  # key id, kind, flags, length in bytes
_RANGE: Final = struct.Struct("<qq")

DOUBLE, INT, RANGE, MIXED, JSON = 0, 1, 2, 3, 4
_SPARSE, _ZIPPED = 1, 2
_EXACT_INT: Final = 2**53
_SWAP: Final = sys.byteorder == "big"


@dataclass(slots=True)
class Column:
    """One key's values in a chunk.

    Attributes:
        values: one per row that has the key, in row order.
        present: row offsets of the values, or None when every row has the key.
    """

    values: list[Any]
    present: list[int] | None = None
    _types: set[type] | None = None

    @property
    def types(self) -> set[type]:
        """Types of the values. Found once: call it only when the values are all there."""
        if self._types is None:
            self._types = set(map(type, self.values))
        return self._types

    def dense(self, num_rows: int) -> list[Any]:
        """One entry per row, None where the row lacks the key."""
        if self.present is None:
            return self.values
        full: list[Any] = [None] * num_rows
        for offset, value in zip(self.present, self.values, strict=True):
            full[offset] = value
        return full


def transpose(rows: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    """Turn rows into columns.

    Args:
        rows: at least one row.
    """
    keys = rows[0].keys()
    if all(row.keys() == keys for row in rows):
        return {key: Column([row[key] for row in rows]) for key in keys}
    columns: dict[str, Column] = {}
    for offset, row in enumerate(rows):
        for key, value in row.items():
            column = columns.get(key)
            if column is None:
                column = columns[key] = Column([], [])
            column.values.append(value)
            column.present.append(offset)  # pyright: ignore[reportOptionalMemberAccess]
    for column in columns.values():
        if len(column.values) == len(rows):
            column.present = None
    return columns


def to_rows(columns: Mapping[str, Column], num_rows: int) -> list[dict[str, Any]]:
    """The inverse of `transpose`."""
    rows: list[dict[str, Any]] = [{} for _ in range(num_rows)]
    for key, column in columns.items():
        offsets: Iterable[int] = range(num_rows) if column.present is None else column.present
        for offset, value in zip(offsets, column.values, strict=True):
            rows[offset][key] = value
    return rows


def encode(columns: Mapping[int, Column], num_rows: int) -> bytes:
    """Write columns as bytes.

    Args:
        columns: column by the id of its key.
        num_rows: rows in the chunk.
    """
    parts = [_HEAD.pack(num_rows, len(columns))]
    for key_id, column in columns.items():
        kind, flags, body = _encode_values(column.values, column.types)
        if column.present is not None:
            body = _bitmap(column.present, num_rows) + body
            flags |= _SPARSE
        parts += [_COLUMN.pack(key_id, kind, flags, len(body)), body]
    return b"".join(parts)


def _encode_values(values: list[Any], types: set[type]) -> tuple[int, int, bytes]:
    if types == {float}:
        return DOUBLE, 0, _little(array("d", values))
    if types == {int}:
        return _encode_ints(values)
    if types == {int, float} and all(
        abs(value) < _EXACT_INT for value in values if type(value) is int
    ):
        ints = [i for i, value in enumerate(values) if type(value) is int]
        return MIXED, 0, _bitmap(ints, len(values)) + _little(array("d", values))
    return _encode_json(values)


def _encode_ints(values: list[int]) -> tuple[int, int, bytes]:
    first = values[0]
    stride = values[1] - first if len(values) > 1 else 0
    try:
        if values == list(range(first, first + stride * len(values), stride or 1))[: len(values)]:
            return RANGE, 0, _RANGE.pack(first, stride)
        return INT, 0, _little(array("q", values))
    except (OverflowError, struct.error):
        return _encode_json(values)


def _encode_json(values: list[Any]) -> tuple[int, int, bytes]:
    body = jsontext.dumps(values).encode("utf-8", "replace")
    if len(body) > 256:
        small = zlib.compress(body, 1)
        if len(small) < len(body):
            return JSON, _ZIPPED, small
    return JSON, 0, body


def decode(data: bytes, wanted: set[int] | None = None) -> tuple[int, dict[int, Column]]:
    """Read a chunk.

    Args:
        data: what `encode` wrote.
        wanted: ids of keys to read; None reads all.

    Returns:
        Number of rows, and column by key id.

    Raises:
        ValueError: the bytes are not a chunk.
    """
    try:
        return _decode(memoryview(data), wanted)
    except (struct.error, zlib.error, IndexError) as error:
        raise ValueError(f"damaged chunk of {len(data)} bytes: {error}") from error


def _decode(view: memoryview, wanted: set[int] | None) -> tuple[int, dict[int, Column]]:
    num_rows, num_columns = _HEAD.unpack_from(view)
    at = _HEAD.size
    columns: dict[int, Column] = {}
    for _ in range(num_columns):
        key_id, kind, flags, length = _COLUMN.unpack_from(view, at)
        at += _COLUMN.size
        if wanted is None or key_id in wanted:
            columns[key_id] = _decode_column(view[at : at + length], kind, flags, num_rows)
        at += length
    return num_rows, columns


def _decode_column(body: memoryview, kind: int, flags: int, num_rows: int) -> Column:
    present = None
    count = num_rows
    if flags & _SPARSE:
        size = (num_rows + 7) // 8
        present = _set_bits(body[:size])
        body = body[size:]
        count = len(present)
    return Column(_decode_values(body, kind, flags, count), present)


def _decode_values(body: memoryview, kind: int, flags: int, count: int) -> list[Any]:
    if kind == DOUBLE:
        return _from_little("d", body)
    if kind == INT:
        return _from_little("q", body)
    if kind == RANGE:
        first, stride = _RANGE.unpack(body)
        return [first + stride * i for i in range(count)]
    if kind == MIXED:
        size = (count + 7) // 8
        values = _from_little("d", body[size:])
        for offset in _set_bits(body[:size]):
            values[offset] = int(values[offset])
        return values
    text = zlib.decompress(body) if flags & _ZIPPED else bytes(body)
    return jsontext.loads_exact(text)


def _little(values: "array[Any]") -> bytes:
    if _SWAP:
        values.byteswap()
    return values.tobytes()


def _from_little(code: str, body: memoryview) -> list[Any]:
    values: array[Any] = array(code)
    values.frombytes(body)
    if _SWAP:
        values.byteswap()
    return values.tolist()


def _bitmap(offsets: list[int], size: int) -> bytes:
    bits = bytearray((size + 7) // 8)
    for offset in offsets:
        bits[offset >> 3] |= 1 << (offset & 7)
    return bytes(bits)


def _set_bits(bits: memoryview) -> list[int]:
    return [
        index * 8 + bit
        for index, byte in enumerate(bits)
        if byte
        for bit in range(8)
        if byte >> bit & 1
    ]


def pick(data: bytes, offsets: Sequence[int]) -> list[dict[int, Any]]:
    """Read single rows of a chunk, without decoding the rest where the encoding allows.

    Args:
        data: what `encode` wrote.
        offsets: row offsets, ascending.

    Returns:
        One row per offset, values by key id.
    """
    view = memoryview(data)
    num_rows, num_columns = _HEAD.unpack_from(view)
    at = _HEAD.size
    rows: list[dict[int, Any]] = [{} for _ in offsets]
    for _ in range(num_columns):
        key_id, kind, flags, length = _COLUMN.unpack_from(view, at)
        at += _COLUMN.size
        body = view[at : at + length]
        at += length
        if kind in (DOUBLE, INT) and not flags & _SPARSE:
            code = "<d" if kind == DOUBLE else "<q"
            for row, offset in zip(rows, offsets, strict=True):
                row[key_id] = struct.unpack_from(code, body, offset * 8)[0]
            continue
        column = _decode_column(body, kind, flags, num_rows)
        where = (
            {offset: i for i, offset in enumerate(column.present)}
            if column.present is not None
            else None
        )
        for row, offset in zip(rows, offsets, strict=True):
            index = offset if where is None else where.get(offset)
            if index is not None:
                row[key_id] = column.values[index]
    return rows
