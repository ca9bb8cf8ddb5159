"""Runs thrown away, brought back, and at last gone; views and branches that go with them."""

import pytest

from composer.tracking.protocol.refusal import BadRequestError, ConflictError
from composer.tracking.store import artifacts, branches, runs, trash, users, views
from composer.tracking.store.history import HISTORY
from composer.tracking.store.index import Row
from composer.tracking.store.store import Store


def _make(store: Store, name: str) -> Row:
    def command(tx):
        return runs.upsert(tx, users.everyone(tx)[0], {"modelName": "p", "name": name})[0]

    return store.do(command)


def _log(store: Store, run: Row, start: int, count: int) -> None:
    rows = [{"_step": i, "x": i * 2, "text": "t"} for i in range(start, start + count)]
    store.do(lambda tx: store.ingest.append_rows(tx, run["id"], HISTORY, rows))


def _names(store: Store, project_id: int) -> list[str]:
    with store.reading() as reader:
        return [run["name"] for run in runs.in_project(reader, project_id)]


def test_a_run_in_the_trash_is_in_no_project_and_comes_back_whole(store: Store) -> None:
    run = _make(store, "a")
    _log(store, run, 0, 5)
    store.do(lambda tx: trash.throw_away(tx, run))
    assert _names(store, run["project_id"]) == []
    with store.reading() as reader:
        (found,) = runs.in_trash(reader, run["project_id"])
    store.do(lambda tx: trash.restore(tx, found))
    assert _names(store, run["project_id"]) == ["a"]
    with store.reading() as reader:
        assert len(store.rows.read(reader, run["id"], HISTORY, 0, 10)) == 5


def test_a_run_whose_name_was_given_again_is_not_brought_back(store: Store) -> None:
    run = _make(store, "a")
    store.do(lambda tx: trash.throw_away(tx, run))
    _make(store, "a")
    with store.reading() as reader:
        (found,) = runs.in_trash(reader, run["project_id"])
    with pytest.raises(ConflictError, match="another run 'a'"):
        store.do(lambda tx: trash.restore(tx, found))


def test_the_trash_is_emptied_of_what_is_old(store: Store) -> None:
    run = _make(store, "a")
    store.do(lambda tx: trash.throw_away(tx, run))
    assert trash.empty(store) == 0
    assert trash.empty(store, older_than_days=-1) == 1
    with store.reading() as reader:
        assert reader.by_id("runs", run["id"]) is None


def test_the_trash_outlives_a_rebuilt_index_and_a_compaction(store: Store) -> None:
    run = _make(store, "a")
    store.do(lambda tx: trash.throw_away(tx, run))
    store.compact()
    with store.reading() as reader:
        assert [each["name"] for each in runs.in_trash(reader, run["project_id"])] == ["a"]


def test_a_view_is_kept_replaced_and_forgotten(store: Store) -> None:
    project = _make(store, "a")["project_id"]
    store.do(lambda tx: views.save(tx, project, "mine", "?a=1"))
    store.do(lambda tx: views.save(tx, project, "mine", "?a=2"))
    with store.reading() as reader:
        assert [view["query"] for view in views.listing(reader, project)] == ["?a=2"]
    store.do(lambda tx: views.delete(tx, project, "mine"))
    with store.reading() as reader:
        assert views.listing(reader, project) == []


@pytest.mark.parametrize(("name", "query"), [("", "?a"), ("x" * 101, "?a"), ("x", "?" * 20_001)])
def test_a_view_without_measure_is_refused(store: Store, name: str, query: str) -> None:
    project = _make(store, "a")["project_id"]
    with pytest.raises(BadRequestError, match="a view"):
        store.do(lambda tx: views.save(tx, project, name, query))


def test_rewinding_keeps_a_sketch_of_what_is_cut(store: Store) -> None:
    run = _make(store, "a")
    _log(store, run, 0, 500)
    store.do(lambda tx: store.ingest.rewind(tx, runs.reload(tx, run["id"]), 99))
    with store.reading() as reader:
        (line,) = branches.lines(reader, run["id"], "x", "_step")
    assert line["mark"] == 99
    assert (line["x"][0], line["x"][-1]) == (100, 499)
    assert len(line["x"]) == branches.MAX_ROWS
    assert line["y"] == [2 * x for x in line["x"]]


def test_rewinding_to_the_end_is_a_mark_without_a_branch(store: Store) -> None:
    run = _make(store, "a")
    _log(store, run, 0, 10)
    store.do(lambda tx: store.ingest.rewind(tx, runs.reload(tx, run["id"]), 50))
    with store.reading() as reader:
        assert branches.lines(reader, run["id"], "x", "_step") == [{"mark": 9, "x": [], "y": []}]


def test_what_hangs_on_a_project_goes_with_it(store: Store) -> None:
    run = _make(store, "a")
    _log(store, run, 0, 10)
    store.do(lambda tx: store.ingest.rewind(tx, runs.reload(tx, run["id"]), 5))
    store.do(lambda tx: views.save(tx, run["project_id"], "mine", "?a"))
    store.do(lambda tx: trash.throw_away(tx, runs.reload(tx, run["id"])))
    store.do(
        lambda tx: runs.delete_project(tx, users.everyone(tx)[0], run["project_id"], artifacts)
    )
    with store.reading() as reader:
        for table in ("runs", "views", "branches"):
            assert reader.value(f"SELECT count(*) FROM {table}") == 0
