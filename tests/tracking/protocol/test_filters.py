"""The MongoDB dialect of run filters."""

import json
from typing import Any

import pytest

from composer.tracking.protocol import filters
from composer.tracking.protocol.filters import MISSING
from composer.tracking.protocol.refusal import BadRequestError

RUN = {"state": "finished", "lr": 0.1, "tags": ["a", "b"], "none": None, "on": True, "name": "abc"}


def _passes(condition: Any) -> bool:
    return filters.parse(json.dumps(condition))(lambda key: RUN.get(key, MISSING))


@pytest.mark.parametrize(
    "condition",
    [
        {},
        {"state": "finished"},
        {"state": {"$ne": "running"}},
        {"lr": {"$gt": 0, "$lte": 0.1}},
        {"tags": "a"},
        {"tags": {"$in": ["b", "c"]}},
        {"tags": {"$nin": ["c"]}},
        {"missing": None},
        {"missing": {"$exists": False}},
        {"none": {"$exists": True}},
        {"$or": [{"state": "x"}, {"lr": 0.1}]},
        {"$nor": [{"state": "x"}, {"lr": 5}]},
        {"$not": {"state": "x"}},
        {"lr": {"$not": {"$gt": 1}}},
        {"name": {"$regex": "^a.c$"}},
        {"on": True},
    ],
)
def test_these_pass(condition: Any) -> None:
    assert _passes(condition)


@pytest.mark.parametrize(
    "condition",
    [
        {"state": "running"},
        {"lr": {"$gt": 0.1}},
        {"lr": {"$gt": "0"}},
        {"tags": "c"},
        {"on": 1},
        {"missing": {"$gt": 1}},
        {"$and": [{"state": "finished"}, {"lr": 5}]},
        {"name": {"$regex": "^b"}},
    ],
)
def test_these_do_not_pass(condition: Any) -> None:
    assert not _passes(condition)


@pytest.mark.parametrize(
    "condition",
    [
        {"$what": 1},
        {"x": {"$what": 1}},
        {"$and": 1},
        {"x": {"$in": 1}},
        [1],
        {"x": {"$regex": "("}},
    ],
)
def test_what_is_no_filter_is_refused(condition: Any) -> None:
    with pytest.raises(BadRequestError):
        _passes(condition)


def test_a_pattern_that_may_take_forever_is_refused() -> None:
    with pytest.raises(BadRequestError, match="repeats a repetition"):
        _passes({"name": {"$regex": "(a+)+$"}})


def test_values_are_found_by_whole_key_before_along_dots() -> None:
    assert filters.dig({"a.b": 1, "a": {"b": 2}}, "a.b") == 1
    assert filters.dig({"a": {"b": {"c": 3}}}, "a.b.c") == 3
    assert filters.dig({"a": {"b.c": 4}}, "a.b.c") == 4
    assert filters.dig({"a": 1}, "a.b") is MISSING


def test_an_order_names_keys_and_directions() -> None:
    assert filters.parse_order("-created_at,+config.lr") == [
        ("created_at", True),
        ("config.lr", False),
    ]
