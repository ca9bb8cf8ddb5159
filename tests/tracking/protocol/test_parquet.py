"""Files of our own writer, read by a library of somebody else's."""

import io
import math
from pathlib import Path

import pytest

from composer.tracking.protocol import parquet
from composer.tracking.protocol.columns import Column

pq = pytest.importorskip("pyarrow.parquet", reason="reads what we wrote")


def _read(
    columns: list[tuple[str, int]], groups: list[tuple[dict[str, Column], int]]
) -> dict[str, list[object]]:
    file = io.BytesIO()
    writer = parquet.ParquetWriter(file.write, columns)
    for group, num_rows in groups:
        writer.group(group, num_rows)
    writer.close()
    file.seek(0)
    return pq.read_table(file).to_pydict()


def test_every_type_is_read_back() -> None:
    columns = [
        ("d", parquet.DOUBLE),
        ("i", parquet.INT64),
        ("s", parquet.TEXT),
        ("b", parquet.BOOLEAN),
    ]
    group = {
        "d": Column([0.1, -math.inf, 5e-324]),
        "i": Column([-(2**63), 0, 2**63 - 1]),
        "s": Column(["", "ü", "x" * 300]),
        "b": Column([True, False, True]),
    }
    assert _read(columns, [(group, 3)]) == {name: column.values for name, column in group.items()}


def test_missing_values_are_null() -> None:
    found = _read(
        [("x", parquet.DOUBLE), ("y", parquet.INT64)], [({"x": Column([1.5, 2.5], [1, 9])}, 11)]
    )
    assert found["x"] == [None, 1.5, None, None, None, None, None, None, None, 2.5, None]
    assert found["y"] == [None] * 11


def test_several_groups_follow_one_another() -> None:
    groups = [({"x": Column([float(i)] * 1000)}, 1000) for i in range(20)]
    assert _read([("x", parquet.DOUBLE)], groups)["x"] == [
        float(i) for i in range(20) for _ in range(1000)
    ]


def test_many_columns_fit(tmp_path: Path) -> None:
    columns = [(f"c{i}", parquet.DOUBLE) for i in range(300)]
    found = _read(columns, [({name: Column([1.0]) for name, _ in columns}, 1)])
    assert len(found) == 300
