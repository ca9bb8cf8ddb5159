"""Rows in the store: read back, repeated, replaced, cut, rolled up, rebuilt."""

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from composer.tracking.protocol import filestream
from composer.tracking.store import runs, users
from composer.tracking.store.history import HISTORY
from composer.tracking.store.maintenance import rebuild
from composer.tracking.store.store import Store

EVERYTHING = {"low": -math.inf, "high": math.inf}


def _make(store: Store, name: str = "r") -> dict[str, Any]:
    with store.reading() as reader:
        user = users.everyone(reader)[0]
    return store.do(lambda tx: runs.upsert(tx, user, {"modelName": "p", "name": name}))[0]


def _post(store: Store, run: dict[str, Any], offset: int, rows: list[dict[str, Any]]) -> None:
    content = [json.dumps(row) for row in rows]
    body = json.dumps({"files": {"wandb-history.jsonl": {"offset": offset, "content": content}}})
    post = filestream.parse(body.encode())
    store.do(lambda tx: store.ingest.post(tx, runs.reload(tx, run["id"]), post))


def _rows(store: Store, run: dict[str, Any]) -> list[dict[str, Any]]:
    with store.reading() as reader:
        return store.rows.read(reader, run["id"], HISTORY, 0, 10**9)


def _made(start: int, count: int) -> list[dict[str, Any]]:
    return [{"_step": i, "x": math.sin(i) * i} for i in range(start, start + count)]


def test_rows_come_back(store: Store) -> None:
    run = _make(store)
    _post(store, run, 0, _made(0, 10))
    _post(store, run, 10, _made(10, 5000))
    assert _rows(store, run) == _made(0, 5010)


def test_a_repeated_post_changes_nothing(store: Store) -> None:
    run = _make(store)
    _post(store, run, 0, _made(0, 100))
    _post(store, run, 50, _made(50, 80))
    assert _rows(store, run) == _made(0, 130)


def test_a_changed_line_replaces_the_old_one_and_keeps_those_after_it(store: Store) -> None:
    run = _make(store)
    _post(store, run, 0, _made(0, 10))
    _post(store, run, 4, [{"_step": 4, "x": 99}])
    assert [row["x"] for row in _rows(store, run)][3:6] == [math.sin(3) * 3, 99, math.sin(5) * 5]
    assert len(_rows(store, run)) == 10


def test_a_changed_first_line_means_a_fresh_start(store: Store) -> None:
    run = _make(store)
    _post(store, run, 0, _made(0, 10))
    _post(store, run, 0, [{"_step": 0, "x": 7}])
    assert _rows(store, run) == [{"_step": 0, "x": 7}]


def test_a_line_that_is_no_object_keeps_its_number(store: Store) -> None:
    run = _make(store)
    body = {
        "files": {
            "wandb-history.jsonl": {
                "offset": 0,
                "content": ['{"_step": 0}', "oops", '{"_step": 2}'],
            }
        }
    }
    post = filestream.parse(json.dumps(body).encode())
    store.do(lambda tx: store.ingest.post(tx, runs.reload(tx, run["id"]), post))
    assert _rows(store, run) == [{"_step": 0}, {}, {"_step": 2}]


def test_integers_of_any_size_come_back(store: Store) -> None:
    run = _make(store)
    rows = [{"_step": 0, "n": 2**63}, {"_step": 1, "n": 10**40}, {"_step": 2, "n": -(2**63)}]
    _post(store, run, 0, rows)
    assert _rows(store, run) == rows


@pytest.mark.parametrize("num_rows", [1, 63, 64, 65, 1000, 20_000])
def test_a_chart_is_exact_in_its_extremes_over_any_range(store: Store, num_rows: int) -> None:
    run = _make(store)
    random.seed(num_rows)
    made = _made(0, num_rows)
    sent = 0
    while sent < num_rows:
        count = min(random.choice([1, 7, 64, 500, 3000]), num_rows - sent)
        _post(store, run, sent, made[sent : sent + count])
        sent += count
    for _ in range(25):
        low = random.randrange(num_rows)
        high = random.randrange(low, num_rows)
        wanted = [row["x"] for row in made[low : high + 1]]
        assert _extremes(store, run, low, high) == (min(wanted), max(wanted), len(wanted))


def _extremes(
    store: Store, run: dict[str, Any], low: float, high: float
) -> tuple[float, float, int]:
    with store.reading() as reader:
        row = runs.reload(reader, run["id"])
        line = store.rows.chart(reader, row, "x", x_key="_step", low=low, high=high, points=40)
    if line["kind"] == "rows":
        return min(line["y"]), max(line["y"]), len(line["y"])
    return min(line["min"]), max(line["max"]), sum(line["count"])


def test_a_chart_has_about_as_many_points_as_asked_for(store: Store) -> None:
    run = _make(store)
    _post(store, run, 0, _made(0, 20_000))
    with store.reading() as reader:
        row = runs.reload(reader, run["id"])
        line = store.rows.chart(reader, row, "x", x_key="_step", points=100, **EVERYTHING)
    assert line["kind"] == "blocks"
    assert 50 <= len(line["min"]) <= 101


def test_numbers_that_are_not_finite_are_counted_apart(store: Store) -> None:
    run = _make(store)
    rows = [{"_step": i, "x": [1.0, math.nan, math.inf, -math.inf][i % 4]} for i in range(4096)]
    _post(store, run, 0, rows)
    with store.reading() as reader:
        row = runs.reload(reader, run["id"])
        line = store.rows.chart(reader, row, "x", x_key="_step", points=10, **EVERYTHING)
    assert sum(line["count"]) == sum(line["nan"]) == sum(line["plus"]) == sum(line["minus"]) == 1024
    assert set(line["mean"]) == {1.0}


def test_a_rare_key_is_charted_by_its_own_rows(store: Store) -> None:
    run = _make(store)
    rows = [{"_step": i, "x": 1.0} | ({"eval": i} if i % 1000 == 0 else {}) for i in range(10_000)]
    _post(store, run, 0, rows)
    with store.reading() as reader:
        row = runs.reload(reader, run["id"])
        line = store.rows.chart(reader, row, "eval", x_key="_step", points=40, **EVERYTHING)
    assert line["y"] == list(range(0, 10_000, 1000))


@pytest.mark.parametrize("step", [0, 63, 64, 700, 4999])
def test_after_a_rewind_a_chart_shows_what_is_left(store: Store, step: int) -> None:
    run = _make(store)
    _post(store, run, 0, _made(0, 5000))
    store.do(lambda tx: store.ingest.rewind(tx, runs.reload(tx, run["id"]), step))
    assert _rows(store, run) == _made(0, step + 1)
    _post(store, run, step + 1, _made(step + 1, 3000))
    wanted = [row["x"] for row in _made(0, step + 3001)]
    assert _extremes(store, run, 0, 10**9) == (min(wanted), max(wanted), len(wanted))


@given(
    posts=st.lists(st.tuples(st.integers(0, 200), st.integers(1, 150)), min_size=1, max_size=12),
    cut=st.integers(0, 400),
)
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_rebuilt_index_equals_the_one_that_grew(
    tmp_path_factory: pytest.TempPathFactory, posts: list[tuple[int, int]], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("rebuild") / "store"
    store = Store(folder)
    store.ensure_first_user()
    run = _make(store)
    for offset, count in posts:
        _post(store, run, offset, _made(offset, count))
    store.do(lambda tx: store.ingest.rewind(tx, runs.reload(tx, run["id"]), cut))
    before = _dump(store)
    store.close()
    rebuild(folder)
    again = Store(folder)
    assert _dump(again) == before
    again.close()


def _dump(store: Store) -> dict[str, Any]:
    tables = ("runs", "series", "series_stats", "rollups", "logs", "users", "projects")
    with store.reading() as reader:
        found: dict[str, Any] = {
            name: reader.all(f"SELECT * FROM {name} ORDER BY 1, 2, 3") for name in tables
        }
        found["rows"] = [
            store.rows.read(reader, row["id"], HISTORY, 0, 10**9) for row in found["runs"]
        ]
    return found


def test_compacting_keeps_everything_and_frees_room(store: Store, tmp_path: Path) -> None:
    run, gone = _make(store), _make(store, "gone")
    _post(store, run, 0, _made(0, 3000))
    for start in range(0, 20_000, 2000):
        _post(store, gone, start, _made(start, 2000))
    store.do(lambda tx: tx.drop_run(gone["id"]))
    before, size = _dump(store), store.journal.size_bytes()
    store.compact()
    assert store.journal.size_bytes() < size / 2
    after = _dump(store)
    assert after["rows"] == before["rows"]
    assert after["runs"] == before["runs"]
    _post(store, run, 3000, _made(3000, 10))
    assert _rows(store, run) == _made(0, 3010)
