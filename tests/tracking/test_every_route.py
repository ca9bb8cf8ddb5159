"""Whatever is sent to any route, the answer is no failure of the server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import Route

from composer.tracking.server.app import routes
from tests.tracking.test_safety import hostile, values
from tests.tracking.tracker import Tracker, lines

# Never ends by itself, and takes no words but names that are tried elsewhere.
ENDLESS = {"/api/stream"}
ROUTES = sorted(
    (route.path, method)
    for route in routes()
    if isinstance(route, Route) and route.path not in ENDLESS
    for method in (route.methods or set()) - {"HEAD"}
)
NAMES = [
    *("entity", "project", "run", "runs", "key", "keys", "points", "low", "high", "x", "filters"),
    *("order", "group", "search", "limit", "offset", "name", "version", "path", "artifact"),
    *("collection", "type", "step", "query", "ids", "tags", "notes", "columns", "row", "id"),
    *("display_name", "email", "admin", "cursor", "before", "after", "level"),
]
# Words that lead somewhere, so that it is not always the first check that refuses.
words = st.one_of(hostile, st.sampled_from(["local", "fuzz", "r", "x", "0", "-1", "1e999", "{}"]))
queries = st.dictionaries(st.sampled_from(NAMES), words, max_size=6)
bodies = st.one_of(
    values,
    st.dictionaries(
        st.sampled_from(NAMES), st.one_of(values, words, st.lists(words, max_size=3)), max_size=6
    ),
)
known = {"entity": "local", "project": "fuzz"}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracker]:
    tracker = Tracker(tmp_path_factory.mktemp("routes") / "store")
    tracker.make_run("fuzz", "r")
    tracker.post("fuzz", "r", lines(0, 5))
    yield tracker
    assert "Traceback" not in Path(tracker.log).read_text()
    tracker.stop()


def _quoted(text: str) -> str:
    return quote(text.encode("utf-8", "replace"), safe="")


def _filled(path: str, parts: Iterator[str]) -> str:
    return re.sub(r"\{[^}]+\}", lambda _: _quoted(next(parts)) or "x", path)


@pytest.mark.parametrize(("path", "method"), ROUTES, ids=[f"{m} {p}" for p, m in ROUTES])
def test_no_route_fails(own: Tracker, path: str, method: str) -> None:
    @given(
        parts=st.lists(words, min_size=8, max_size=8),
        query=queries,
        body=bodies,
        leads_somewhere=st.booleans(),
    )
    @settings(
        max_examples=30, deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )  # fmt: skip
    def try_it(parts: list[str], query: dict[str, str], body: Any, leads_somewhere: bool) -> None:
        if leads_somewhere:
            query = query | known
            body = body | known if isinstance(body, dict) else body
        words_of_query = urlencode({k: v.encode("utf-8", "replace") for k, v in query.items()})
        status, answer = own.ask(
            f"{_filled(path, iter(parts))}?{words_of_query}",
            None if method == "GET" else json.dumps(body).encode(),
            method=method,
        )
        assert status < 500, (status, answer)

    try_it()
