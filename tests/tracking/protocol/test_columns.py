"""Rows survive being columns and bytes, to the bit."""

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.tracking.protocol import columns as col

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8"), max_size=8),
)
rows_of_anything = st.lists(
    st.dictionaries(st.sampled_from("abcd"), scalars), min_size=1, max_size=40
)


def _through_bytes(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    columns = col.transpose(rows)
    names = dict(enumerate(columns))
    data = col.encode({i: columns[name] for i, name in names.items()}, len(rows))
    count, found = col.decode(data)
    return col.to_rows({names[i]: column for i, column in found.items()}, count)


def _typed(rows: list[dict[str, Any]]) -> list[dict[str, tuple[type, Any]]]:
    return [{key: (type(value), value) for key, value in row.items()} for row in rows]


@given(rows_of_anything)
def test_any_rows_come_back_with_their_types(rows: list[dict[str, Any]]) -> None:
    assert _typed(_through_bytes(rows)) == _typed(rows)


def test_every_bit_of_a_double_is_kept() -> None:
    bits = [0x7FF8000000000001, 0xFFF0000000000000, 0x8000000000000000, 1, 0x3FB999999999999A]
    values = [struct.unpack("<d", struct.pack("<Q", each))[0] for each in bits]
    found = _through_bytes([{"x": value} for value in values])
    assert [struct.unpack("<Q", struct.pack("<d", row["x"]))[0] for row in found] == bits


def test_a_missing_key_and_a_null_are_not_the_same() -> None:
    rows = [{"x": None}, {}, {"x": 1}]
    assert _through_bytes(rows) == rows


def test_steps_take_no_room() -> None:
    data = col.encode({0: col.Column(list(range(5, 100_005)))}, 100_000)
    assert len(data) < 64


def test_only_the_wanted_columns_are_read() -> None:
    data = col.encode({1: col.Column([1.0]), 2: col.Column([2.0])}, 1)
    assert set(col.decode(data, {2})[1]) == {2}


@given(rows_of_anything, st.data())
def test_single_rows_can_be_picked(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    columns = col.transpose(rows)
    names = dict(enumerate(columns))
    packed = col.encode({i: columns[name] for i, name in names.items()}, len(rows))
    offsets = sorted(data.draw(st.sets(st.integers(0, len(rows) - 1))))
    found = [{names[i]: value for i, value in row.items()} for row in col.pick(packed, offsets)]
    assert _typed(found) == _typed([rows[i] for i in offsets])


def test_damaged_bytes_are_refused() -> None:
    data = col.encode({0: col.Column([1.5, math.pi])}, 2)
    with pytest.raises(ValueError, match="damaged chunk"):
        col.decode(data[:9])
