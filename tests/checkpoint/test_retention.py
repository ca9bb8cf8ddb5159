"""How long checkpoints are kept."""

from __future__ import annotations

from typing import Any

import pytest

from composer.checkpoint.manifest import Record
from composer.checkpoint.retention import Retention
from composer.errors import ConfigError

ACCURACY = "metrics/eval/Accuracy"


def records(*values: float | None, epochs: int = 1) -> list[Record]:
    """Return one record per value; the n-th was saved at batch n."""
    return [
        Record(
            f"ba{number}.pt",
            (),
            sequence=number,
            timestamp={"batch": number, "epoch": number // epochs},
            metrics={} if value is None else {ACCURACY: value},
        )
        for number, value in enumerate(values, start=1)
    ]


def kept(retention: Retention, given: list[Record]) -> list[str]:
    outdated = {record.name for record in retention.outdated(given)}
    return [record.name for record in given if record.name not in outdated]


def test_the_last_are_kept() -> None:
    assert kept(Retention(2), records(*[None] * 5)) == ["ba4.pt", "ba5.pt"]
    assert kept(Retention(0), records(*[None] * 5)) == []
    assert len(kept(Retention(-1), records(*[None] * 5))) == 5
    assert len(kept(Retention(9), records(*[None] * 5))) == 5


def test_the_best_are_kept_by_the_largest_or_the_smallest_value() -> None:
    given = records(0.5, 0.9, 0.7, 0.1, 0.3)
    highest = Retention(1, best=2, metric=ACCURACY, mode="max")
    lowest = Retention(1, best=2, metric=ACCURACY, mode="min")
    assert kept(highest, given) == ["ba2.pt", "ba3.pt", "ba5.pt"]
    assert kept(lowest, given) == ["ba4.pt", "ba5.pt"]


def test_of_equally_good_ones_the_older_is_kept() -> None:
    assert kept(Retention(1, best=1, metric=ACCURACY), records(0.5, 0.5, 0.6)) == [
        "ba1.pt",
        "ba3.pt",
    ]


def test_what_has_no_value_or_no_number_is_not_among_the_best() -> None:
    given = records(None, float("nan"), 0.5, float("-inf"), None)
    assert kept(Retention(1, best=2, metric=ACCURACY), given) == ["ba3.pt", "ba5.pt"]


def test_every_so_many_is_kept_also_when_saves_do_not_fall_on_the_multiple() -> None:
    given = records(*[None] * 7)
    assert kept(Retention(1, every="3ba"), given) == ["ba3.pt", "ba6.pt", "ba7.pt"]
    odd = [given[index] for index in (0, 3, 4, 6)]
    assert kept(Retention(1, every="3ba"), odd) == ["ba4.pt", "ba7.pt"]
    assert kept(Retention(1, every=2), records(*[None] * 5)) == ["ba2.pt", "ba4.pt", "ba5.pt"]


def test_what_a_rule_keeps_stays_kept_once_others_are_deleted() -> None:
    rules = Retention(2, best=1, metric=ACCURACY, mode="max", every="4ba")
    alive: list[Record] = []
    for record in records(*[0.3, 0.8, 0.2, 0.1, 0.4, 0.5, 0.6, 0.1, 0.2, 0.3]):
        alive.append(record)
        outdated = rules.outdated(alive)
        assert record not in outdated
        alive = [each for each in alive if each not in outdated]
    assert [each.name for each in alive] == ["ba2.pt", "ba4.pt", "ba8.pt", "ba9.pt", "ba10.pt"]


def test_pinned_ones_are_kept() -> None:
    import dataclasses

    given = records(*[None] * 4)
    given[0] = dataclasses.replace(given[0], pinned=True)
    assert kept(Retention(1), given) == ["ba1.pt", "ba4.pt"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"last": -2},
        {"best": -1},
        {"best": 1},
        {"metric": ACCURACY},
        {"best": 1, "metric": ACCURACY, "mode": "largest"},
        {"every": "0ba"},
        {"every": "0.5dur"},
        {"every": "10m"},
    ],
)
def test_rules_that_cannot_work_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Retention(**arguments)
