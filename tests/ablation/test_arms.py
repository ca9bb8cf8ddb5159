"""Which runs an ablation makes."""

from __future__ import annotations

import pytest

from composer.ablation.arms import Arm, make_arms, name_methods
from composer.algorithms.cutmix import CutMix
from composer.algorithms.ema import EMA
from composer.algorithms.label_smoothing import LabelSmoothing
from composer.errors import ArgumentTypeError, ConfigError


def test_four_questions_make_the_arms() -> None:
    arms = make_arms({"a": "a", "b": "b", "c": "c"})
    assert {arm.name: list(arm) for arm in arms} == {
        "off": [],
        "+ a": ["a"],
        "+ b": ["b"],
        "+ c": ["c"],
        "all": ["a", "b", "c"],
        "all - a": ["b", "c"],
        "all - b": ["a", "c"],
        "all - c": ["a", "b"],
    }


@pytest.mark.parametrize(("count", "expected"), [(1, 2), (2, 4)])
def test_equal_sets_run_once(count: int, expected: int) -> None:
    assert len(make_arms({name: name for name in "abc"[:count]})) == expected


def test_off_is_always_there() -> None:
    assert [arm.name for arm in make_arms({"a": "a"}, ["each"])] == ["off", "+ a"]


def test_every_run_gets_algorithms_of_its_own() -> None:
    arm = Arm("x", name_methods([CutMix, LabelSmoothing(0.2), EMA("5ba")]))
    first, second = arm.algorithms, arm.algorithms
    assert [type(each) for each in first] == [CutMix, LabelSmoothing, EMA]
    assert not {id(each) for each in first} & {id(each) for each in second}
    assert isinstance(second[1], LabelSmoothing)
    assert second[1].smoothing == 0.2


def test_a_method_is_described_by_its_arguments() -> None:
    methods = Arm("x", name_methods([LabelSmoothing(0.2), "muon"])).methods
    assert methods["muon"] == "muon"
    assert methods["LabelSmoothing"].startswith("LabelSmoothing(smoothing=0.2")


def test_methods_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(ConfigError, match="two methods are called 'EMA'"):
        name_methods([EMA("1ba"), EMA("2ba")])
    assert list(name_methods({"short": EMA("1ba"), "long": EMA("2ba")})) == ["short", "long"]


def test_what_is_no_method_is_refused() -> None:
    with pytest.raises(ArgumentTypeError, match="must be an Algorithm"):
        name_methods({"x": 3})  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="has no name"):
        name_methods([lambda: CutMix(alpha=0.5)])
    for methods in ("CutMix", CutMix):
        with pytest.raises(ArgumentTypeError, match="must be a list of methods"):
            name_methods(methods)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="at least one"):
        name_methods([])
