"""What a rewound run leaves behind."""

from composer.tracking.store import branches, runs
from composer.tracking.store.store import Store
from tests.tracking.store.making import log_rows, make_run


def test_rewinding_keeps_a_sketch_of_what_is_cut(store: Store) -> None:
    run = make_run(store, "a")
    log_rows(store, run, 0, 500)
    store.do(lambda tx: store.ingest.rewind(tx, runs.reload(tx, run["id"]), 99))
    with store.reading() as reader:
        (line,) = branches.lines(reader, run["id"], "x", "_step")
    assert line["mark"] == 99
    assert (line["x"][0], line["x"][-1]) == (100, 499)
    assert len(line["x"]) == branches.MAX_ROWS
    assert line["y"] == [2 * x for x in line["x"]]


def test_rewinding_to_the_end_is_a_mark_without_a_branch(store: Store) -> None:
    run = make_run(store, "a")
    log_rows(store, run, 0, 10)
    store.do(lambda tx: store.ingest.rewind(tx, runs.reload(tx, run["id"]), 50))
    with store.reading() as reader:
        assert branches.lines(reader, run["id"], "x", "_step") == [{"mark": 9, "x": [], "y": []}]
