from __future__ import annotations

from collections.abc import Sequence

import pytest

from composer.core.algorithm import Algorithm, Order
from composer.core.event import Event
from composer.core.passes import (
    sort_low_precision_layernorm_last,
    sort_selective_backprop_first,
    sort_to_back,
    sort_to_front,
)
from composer.errors import ConfigError
from composer.utils.warnings import NotIntendedUseWarning
from tests.core._doubles import Deciding, Method, make_engine

LOSS = (Event.BEFORE_LOSS, Event.AFTER_LOSS, Event.BATCH_END)


class First(Method):
    order = Order.FIRST


class Last(Method):
    order = Order.LAST


class Mixing(Method):
    interpolates = True


def reverse(algorithms: Sequence[Algorithm], event: Event) -> Sequence[Algorithm]:
    return list(reversed(algorithms))


def drop_all(algorithms: Sequence[Algorithm], event: Event) -> Sequence[Algorithm]:
    return []


@pytest.fixture
def notes() -> list[str]:
    return []


def test_after_events_run_in_reverse(notes: list[str]) -> None:
    engine = make_engine([Method("a", notes, *LOSS), Method("b", notes, *LOSS)])
    engine.run_event(Event.BEFORE_LOSS)
    engine.run_event(Event.AFTER_LOSS)
    assert notes == ["a", "b", "b", "a"]


def test_end_events_keep_the_order(notes: list[str]) -> None:
    make_engine([Method("a", notes, *LOSS), Method("b", notes, *LOSS)]).run_event(Event.BATCH_END)
    assert notes == ["a", "b"]


def test_the_order_attribute_moves_a_method_to_the_front_or_the_back(notes: list[str]) -> None:
    given = [Last("z", notes, *LOSS), Method("m", notes, *LOSS), First("a", notes, *LOSS)]
    engine = make_engine(given)
    engine.run_event(Event.BEFORE_LOSS)
    engine.run_event(Event.AFTER_LOSS)
    assert notes == ["a", "m", "z", "z", "m", "a"]


def test_two_methods_that_mix_samples_warn(notes: list[str]) -> None:
    engine = make_engine([Mixing("a", notes, *LOSS), Mixing("b", notes, *LOSS)])
    with pytest.warns(NotIntendedUseWarning, match="Mixing and Mixing all mix samples"):
        engine.run_event(Event.BEFORE_LOSS)


def test_a_user_pass_runs_after_the_default_ones(notes: list[str]) -> None:
    given = [First("a", notes, *LOSS), Last("z", notes, *LOSS)]
    make_engine(given, passes=reverse).run_event(Event.BEFORE_LOSS)
    assert notes == ["z", "a"]


def test_a_user_pass_may_be_placed_before_the_default_ones(notes: list[str]) -> None:
    given = [First("a", notes, *LOSS), Last("z", notes, *LOSS)]
    make_engine(given, passes=(reverse, 0)).run_event(Event.BEFORE_LOSS)
    assert notes == ["a", "z"]


def test_several_user_passes_run_in_turn(notes: list[str]) -> None:
    given = [Method("a", notes, *LOSS), Method("b", notes, *LOSS)]
    make_engine(given, passes=[reverse, (reverse, -1)]).run_event(Event.BEFORE_LOSS)
    assert notes == ["a", "b"]


def test_a_user_pass_may_drop_a_method(notes: list[str]) -> None:
    engine = make_engine([Method("a", notes, *LOSS)], passes=drop_all)
    engine.run_event(Event.BEFORE_LOSS)
    assert notes == []


def test_a_pass_registered_later_takes_effect_at_once(notes: list[str]) -> None:
    engine = make_engine([Method("a", notes, *LOSS), Method("b", notes, *LOSS)])
    engine.run_event(Event.BEFORE_LOSS)
    engine.register_pass(reverse)
    engine.run_event(Event.BEFORE_LOSS)
    assert notes == ["a", "b", "b", "a"]


def test_methods_that_decide_at_run_time_are_ordered_once_with_a_user_pass(
    notes: list[str],
) -> None:
    def keep(algorithms: Sequence[Algorithm], event: Event) -> Sequence[Algorithm]:
        return algorithms

    engine = make_engine([Deciding("a", notes), Deciding("b", notes)], passes=keep)
    engine.run_event(Event.BEFORE_LOSS)
    engine.run_event(Event.AFTER_LOSS)
    assert notes == ["a", "b", "b", "a"]


def test_a_user_pass_sees_only_the_methods_that_act(notes: list[str]) -> None:
    seen: list[int] = []

    def count(algorithms: Sequence[Algorithm], event: Event) -> Sequence[Algorithm]:
        seen.append(len(algorithms))
        return algorithms

    engine = make_engine([Deciding("a", notes), Deciding("b", notes, acts=False)], passes=count)
    engine.run_event(Event.BEFORE_LOSS)
    assert notes == ["a"]
    assert seen[-1] == 1


def test_a_pass_that_is_no_function_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be callable, got 'reverse'"):
        make_engine(passes=["reverse"])


def test_instances_of_a_class_are_moved_and_the_others_keep_their_order() -> None:
    assert sort_to_front([1, "a", 2, "b"], str) == ["a", "b", 1, 2]
    assert sort_to_back([1, "a", 2, "b"], str) == [1, 2, "a", "b"]


def test_the_single_passes_of_the_reference_move_one_end_only(notes: list[str]) -> None:
    last, plain, first = Last("z", notes), Method("m", notes), First("a", notes)
    given = [last, plain, first]
    assert sort_selective_backprop_first(given, Event.INIT) == [first, last, plain]
    assert sort_low_precision_layernorm_last(given, Event.INIT) == [plain, first, last]
