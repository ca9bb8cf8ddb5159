"""Leaving parts of a checkpoint out."""

from __future__ import annotations

from typing import Any

import pytest

from composer.checkpoint.remap import leave_out
from composer.errors import ArgumentTypeError


def make_contents() -> dict[str, Any]:
    return {
        "state": {
            "model": {"body.weight": 1, "head.weight": 2, "head.bias": 3},
            "optimizers": {"SGD": {"state": {}}},
            "algorithms": [("EMA", {"a": 1}), ("SAM", {"b": 2})],
        },
        "rng": [{"torch": 1}],
    }


def test_patterns_match_paths_of_keys() -> None:
    contents = make_contents()
    kept = leave_out(contents, ["state/model/head.*", "rng"], "load_ignore_keys")
    assert kept["state"]["model"] == {"body.weight": 1}
    assert "rng" not in kept
    assert contents == make_contents()


def test_a_star_reaches_below_the_next_level() -> None:
    kept = leave_out(make_contents(), ["state/*/SGD*"], "load_ignore_keys")
    assert "optimizers" not in kept["state"]


def test_containers_that_become_empty_go_too_and_others_stay() -> None:
    contents = make_contents()
    contents["state"]["callbacks"] = {}
    kept = leave_out(contents, ["state/model/*"], "load_ignore_keys")
    assert "model" not in kept["state"]
    assert kept["state"]["callbacks"] == {}


def test_items_of_lists_are_numbered() -> None:
    kept = leave_out(make_contents(), ["state/algorithms/0"], "load_ignore_keys")
    assert kept["state"]["algorithms"] == [("SAM", {"b": 2})]


def test_a_pattern_that_matches_nothing_warns() -> None:
    with pytest.warns(UserWarning, match="'state/modle/\\*' matches nothing"):
        leave_out(make_contents(), ["state/modle/*"], "load_ignore_keys")


def test_a_function_edits_a_copy() -> None:
    contents = make_contents()

    def edit(found: dict[str, Any]) -> None:
        del found["state"]["model"]["head.bias"]

    kept = leave_out(contents, edit, "save_ignore_keys")
    assert set(kept["state"]["model"]) == {"body.weight", "head.weight"}
    assert contents == make_contents()


@pytest.mark.parametrize("wrong", ["state/model", [1]])
def test_something_else_is_refused(wrong: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="list of patterns"):
        leave_out(make_contents(), wrong, "load_ignore_keys")
