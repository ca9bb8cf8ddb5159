"""The report's rows, from records written by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

pytest.importorskip("scipy", reason="intervals need the extra 'ablation'")

from composer.ablation.arms import make_arms
from composer.ablation.plot import pareto_front
from composer.ablation.records import Point, Record
from composer.ablation.report import Report


def record(arm: str, seed: int, values: list[float], seconds: float = 10.0, **more: Any) -> Record:
    share = seconds / len(values)
    points = [Point(i + 1, 0, share * (i + 1), value) for i, value in enumerate(values)]
    return Record(arm, seed, {}, points, len(values), seconds, **({"ended": "budget"} | more))


def report(records: list[Record], greater: bool = True, target: float | None = None) -> Report:
    return Report(
        make_arms({"a": "a", "b": "b"}),
        records,
        metric="accuracy",
        greater_is_better=greater,
        target=target,
        conditions={"budget": "10s", "clock": "cpu"},
    )


def both(a: list[float], b: list[float], **more: Any) -> list[Record]:
    return [record("off", 0, a, **more), record("+ a", 0, b, **more)]


def test_a_gain_is_positive_whichever_way_the_metric_improves() -> None:
    assert report(both([0.5], [0.6])).rows[1].gain.mean == pytest.approx(0.1)
    assert report(both([0.5], [0.6]), greater=False).rows[1].gain.mean == pytest.approx(-0.1)


def test_the_step_cost_is_a_ratio_of_time_per_batch() -> None:
    runs = [record("off", 0, [0.1, 0.2], 10.0), record("+ a", 0, [0.1], 10.0)]
    assert report(runs).rows[1].step_cost == 2.0


def test_the_time_to_the_target_is_that_of_the_first_evaluation_there() -> None:
    rows = report(both([0.1, 0.5, 0.4, 0.6], [0.5, 0.4, 0.4, 0.4]), target=0.5).rows
    assert [rows[0].to_target, rows[1].to_target] == [[5.0], [2.5]]
    assert rows[1].speedup == 2.0


def test_a_target_that_was_not_reached_gives_no_time() -> None:
    row = report(both([0.1], [0.9]), target=0.5).rows[1]
    assert math.isnan(report(both([0.1], [0.9]), target=0.5).rows[0].to_target[0])
    assert math.isnan(row.speedup)
    assert "0 of 1" in str(report(both([0.1], [0.9]), target=0.5))


def test_leaving_a_method_out_is_compared_with_all() -> None:
    arms = make_arms({"a": "a", "b": "b", "c": "c"})
    runs = [record(arm.name, 0, [0.5]) for arm in arms]
    found = Report(arms, runs, metric="m", greater_is_better=True, target=None, conditions={})
    assert {row.arm: row.against for row in found.rows}["all - a"] == "all"
    assert {row.arm: row.against for row in found.rows}["all"] == "off"


def test_json_has_no_not_a_number() -> None:
    import json

    runs = [record("off", 0, [math.nan]), record("+ a", 0, [0.5])]
    text = json.dumps(report(runs).to_dict(), allow_nan=False)
    assert json.loads(text)["rows"][0]["finals"] == [None]


def test_the_front_has_what_nothing_beats_in_both() -> None:
    points = [(1.0, 0.5), (2.0, 0.4), (2.0, 0.9), (3.0, 0.9), (0.5, 0.1)]
    assert pareto_front(points) == [4, 0, 2]
    assert pareto_front(points, greater_is_better=False) == [4]


@pytest.mark.parametrize(
    ("gains", "answer"),
    [
        ([0.1, 0.11, 0.12], "yes"),
        ([-0.1, -0.11, -0.12], "no, worse"),
        ([0.1, -0.11, 0.12], "not shown"),
        ([0.0, 0.0, 0.0], "no effect"),
    ],
)
def test_the_table_says_whether_an_arm_is_better(gains: list[float], answer: str) -> None:
    runs = [record("off", seed, [0.1, 0.5]) for seed in range(3)]
    runs += [record("+ a", seed, [0.1, 0.5 + gain]) for seed, gain in enumerate(gains)]
    line = next(each for each in str(report(runs)).splitlines() if each.startswith("+ a"))
    assert f"  {answer}  " in line


def test_an_arm_with_another_path_to_the_same_end_has_an_effect() -> None:
    found = report(both([0.1, 0.5], [0.2, 0.5]))
    assert not any("no effect" in text for text in found.warnings)


def test_what_is_not_known_is_a_dash_and_no_not_a_number() -> None:
    failed = record("+ a", 0, [0.5], error="ValueError: no")
    text = str(report([record("off", 0, [0.5]), failed], target=0.9))
    assert "nan" not in text.lower().replace("failed", "")
    assert "1 seed;" in text


def test_the_table_names_every_arm_that_ran() -> None:
    text = str(report(both([0.5], [0.6])))
    assert "off" in text
    assert "+ a" in text
    assert "runs are still to be made" in text
