"""A small writer of Parquet: flat columns, plain encoding, no compression.

It writes what a run's rows need and what every reader understands, and saves the server from
loading a library of 60 MB for it. Format: https://parquet.apache.org/docs/file-format/ (Thrift
compact protocol for headers and footer).
"""

import struct
from array import array
from collections.abc import Callable, Sequence
from typing import Any, Final

from composer.tracking.protocol.columns import Column

BOOLEAN, INT64, DOUBLE, TEXT = 0, 2, 5, 6
_MAGIC: Final = b"PAR1"
_I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


class _Thrift:
    """Writes one struct of the compact protocol; fields in ascending order."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._last = 0

    def _head(self, field: int, kind: int) -> None:
        self._data.append((field - self._last) << 4 | kind)
        self._last = field

    def put_int(self, field: int, value: int, kind: int = _I32) -> "_Thrift":
        self._head(field, kind)
        self._data += _varint(value << 1 if value >= 0 else (-value << 1) - 1)
        return self

    def put_long(self, field: int, value: int) -> "_Thrift":
        return self.put_int(field, value, _I64)

    def put_text(self, field: int, value: str) -> "_Thrift":
        self._head(field, _BINARY)
        self._data += _sized(value.encode())
        return self

    def put_struct(self, field: int, inner: "_Thrift") -> "_Thrift":
        self._head(field, _STRUCT)
        self._data += inner.finish()
        return self

    def put_list(self, field: int, kind: int, items: Sequence[bytes]) -> "_Thrift":
        self._head(field, _LIST)
        self._data += (
            bytes([len(items) << 4 | kind])
            if len(items) < 15
            else bytes([0xF0 | kind]) + _varint(len(items))
        )
        for item in items:
            self._data += item
        return self

    def finish(self) -> bytes:
        return bytes(self._data) + b"\0"


def _sized(data: bytes) -> bytes:
    return _varint(len(data)) + data


class ParquetWriter:
    """Writes row groups one by one, then the footer.

    Args:
        write: takes bytes, in order.
        columns: name and type (`BOOLEAN`, `INT64`, `DOUBLE` or `TEXT`) of each column; all
            optional.
    """

    def __init__(self, write: Callable[[bytes], Any], columns: Sequence[tuple[str, int]]) -> None:
        self._write = write
        self._columns = columns
        self._offset = 0
        self._groups: list[bytes] = []
        self._num_rows = 0
        self._emit(_MAGIC)

    def _emit(self, data: bytes) -> None:
        self._write(data)
        self._offset += len(data)

    def group(self, columns: dict[str, Column], num_rows: int) -> None:
        """Write rows. A column that is missing is null in all of them."""
        chunks: list[bytes] = []
        start = self._offset
        for name, kind in self._columns:
            chunks.append(self._chunk(name, kind, columns.get(name, Column([], [])), num_rows))
        group = (
            _Thrift()
            .put_list(1, _STRUCT, chunks)
            .put_long(2, self._offset - start)
            .put_long(3, num_rows)
        )
        self._groups.append(group.finish())
        self._num_rows += num_rows

    def _chunk(self, name: str, kind: int, column: Column, num_rows: int) -> bytes:
        levels = _levels(column, num_rows)
        body = struct.pack("<I", len(levels)) + levels + _plain(kind, column.values)
        page = _Thrift().put_int(1, num_rows).put_int(2, 0).put_int(3, 3).put_int(4, 3)
        head = (
            _Thrift()
            .put_int(1, 0)
            .put_int(2, len(body))
            .put_int(3, len(body))
            .put_struct(5, page)
            .finish()
        )
        at = self._offset
        self._emit(head + body)
        size = len(head) + len(body)
        meta = _Thrift().put_int(1, kind).put_list(2, _I32, [_varint(0), _varint(6)])
        meta.put_list(3, _BINARY, [_sized(name.encode())]).put_int(4, 0).put_long(5, num_rows)
        meta.put_long(6, size).put_long(7, size).put_long(9, at)
        return _Thrift().put_long(2, at).put_struct(3, meta).finish()

    def close(self) -> None:
        """Write the footer."""
        root = _Thrift().put_text(4, "schema").put_int(5, len(self._columns)).finish()
        elements = [root]
        for name, kind in self._columns:
            element = _Thrift().put_int(1, kind).put_int(3, 1).put_text(4, name)
            elements.append((element.put_int(6, 0) if kind == TEXT else element).finish())
        footer = _Thrift().put_int(1, 1).put_list(2, _STRUCT, elements).put_long(3, self._num_rows)
        data = footer.put_list(4, _STRUCT, self._groups).put_text(6, "composer").finish()
        self._emit(data + struct.pack("<I", len(data)) + _MAGIC)


def _levels(column: Column, num_rows: int) -> bytes:
    """Which rows have a value: one run if all do, else a bitmap."""
    if column.present is None:
        return _varint(num_rows << 1) + b"\1"
    if not column.present:
        return _varint(num_rows << 1) + b"\0"
    groups = (num_rows + 7) // 8
    bits = bytearray(groups)
    for offset in column.present:
        bits[offset >> 3] |= 1 << (offset & 7)
    return _varint(groups << 1 | 1) + bytes(bits)


def _plain(kind: int, values: list[Any]) -> bytes:
    if kind == DOUBLE:
        return array("d", values).tobytes()
    if kind == INT64:
        return array("q", values).tobytes()
    if kind == BOOLEAN:
        bits = bytearray((len(values) + 7) // 8)
        for offset, value in enumerate(values):
            bits[offset >> 3] |= value << (offset & 7)
        return bytes(bits)
    texts = [str(value).encode("utf-8", "replace") for value in values]
    return b"".join(struct.pack("<I", len(each)) + each for each in texts)
