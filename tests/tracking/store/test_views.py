"""Views that people keep of a project."""

import pytest

from composer.tracking.protocol.refusal import BadRequestError
from composer.tracking.store import views
from composer.tracking.store.store import Store
from tests.tracking.store.making import make_run


def test_a_view_is_kept_replaced_and_forgotten(store: Store) -> None:
    project = make_run(store, "a")["project_id"]
    store.do(lambda tx: views.save(tx, project, "mine", "?a=1"))
    store.do(lambda tx: views.save(tx, project, "mine", "?a=2"))
    with store.reading() as reader:
        assert [view["query"] for view in views.listing(reader, project)] == ["?a=2"]
    store.do(lambda tx: views.delete(tx, project, "mine"))
    with store.reading() as reader:
        assert views.listing(reader, project) == []


@pytest.mark.parametrize(("name", "query"), [("", "?a"), ("x" * 101, "?a"), ("x", "?" * 20_001)])
def test_a_view_without_measure_is_refused(store: Store, name: str, query: str) -> None:
    project = make_run(store, "a")["project_id"]
    with pytest.raises(BadRequestError, match="a view"):
        store.do(lambda tx: views.save(tx, project, name, query))
