"""Runs thrown away, brought back, and at last gone with all that hangs on them."""

import pytest

from composer.tracking.protocol.refusal import ConflictError
from composer.tracking.store import artifacts, runs, trash, users, views
from composer.tracking.store.history import HISTORY
from composer.tracking.store.store import Store
from tests.tracking.store.making import log_rows, make_run


def _names(store: Store, project_id: int) -> list[str]:
    with store.reading() as reader:
        return [run["name"] for run in runs.in_project(reader, project_id)]


def test_a_run_in_the_trash_is_in_no_project_and_comes_back_whole(store: Store) -> None:
    run = make_run(store, "a")
    log_rows(store, run, 0, 5)
    store.do(lambda tx: trash.throw_away(tx, run))
    assert _names(store, run["project_id"]) == []
    with store.reading() as reader:
        (found,) = runs.in_trash(reader, run["project_id"])
    store.do(lambda tx: trash.restore(tx, found))
    assert _names(store, run["project_id"]) == ["a"]
    with store.reading() as reader:
        assert len(store.rows.read(reader, run["id"], HISTORY, 0, 10)) == 5


def test_a_run_whose_name_was_given_again_is_not_brought_back(store: Store) -> None:
    run = make_run(store, "a")
    store.do(lambda tx: trash.throw_away(tx, run))
    make_run(store, "a")
    with store.reading() as reader:
        (found,) = runs.in_trash(reader, run["project_id"])
    with pytest.raises(ConflictError, match="another run 'a'"):
        store.do(lambda tx: trash.restore(tx, found))


def test_the_trash_is_emptied_of_what_is_old(store: Store) -> None:
    run = make_run(store, "a")
    store.do(lambda tx: trash.throw_away(tx, run))
    assert trash.empty(store) == 0
    assert trash.empty(store, older_than_days=-1) == 1
    with store.reading() as reader:
        assert reader.by_id("runs", run["id"]) is None


def test_the_trash_outlives_a_rebuilt_index_and_a_compaction(store: Store) -> None:
    run = make_run(store, "a")
    store.do(lambda tx: trash.throw_away(tx, run))
    store.compact()
    with store.reading() as reader:
        assert [each["name"] for each in runs.in_trash(reader, run["project_id"])] == ["a"]


def test_what_hangs_on_a_project_goes_with_it(store: Store) -> None:
    run = make_run(store, "a")
    log_rows(store, run, 0, 10)
    store.do(lambda tx: store.ingest.rewind(tx, runs.reload(tx, run["id"]), 5))
    store.do(lambda tx: views.save(tx, run["project_id"], "mine", "?a"))
    store.do(lambda tx: trash.throw_away(tx, runs.reload(tx, run["id"])))
    store.do(
        lambda tx: runs.delete_project(tx, users.everyone(tx)[0], run["project_id"], artifacts)
    )
    with store.reading() as reader:
        for table in ("runs", "views", "branches"):
            assert reader.value(f"SELECT count(*) FROM {table}") == 0
