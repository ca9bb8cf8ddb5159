"""What holds where several training methods are composed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Set
from functools import partial
from typing import Any

import pytest
from torch import Tensor

from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.errors import ComposerError
from tests.contract._cases import Case, first_cases
from tests.contract._method_runs import assert_equal, assert_finite, make_trainer, weights
from tests.contract._properties import REFUSALS, may_depend_on_order
from tests.contract._workloads import VISION, WORKLOADS, Workload

Pair = tuple[Case, Case]

workloads = pytest.mark.parametrize("workload", WORKLOADS, ids=str)
PAIRS: list[Pair] = [
    pair for workload in WORKLOADS for pair in itertools.combinations(first_cases(workload), 2)
]
NEIGHBOURS: list[Pair] = [
    pair for workload in WORKLOADS for pair in itertools.pairwise(first_cases(workload))
]


def combinable(workload: Workload, favour_last: bool) -> list[Case]:
    """The methods of a workload without one of each two that refuse each other."""
    cases, kept = first_cases(workload), list[Case]()
    for case in cases[::-1] if favour_last else cases:
        is_refused = any(frozenset({case.name, other.name}) in REFUSALS for other in kept)
        if case.name != "NoOpModel" and not is_refused:
            kept.append(case)
    return kept[::-1] if favour_last else kept


def each_pair(pairs: list[Pair]) -> pytest.MarkDecorator:
    names = [f"{first.name}+{second.name}" for first, second in pairs]
    return pytest.mark.parametrize("pair", pairs, ids=names)


# One method may have replaced what another looks for, which then says so.
says_no_effect = pytest.mark.filterwarnings("ignore::composer.utils.warnings.NoEffectWarning")


def needs(cases: Iterable[Case]) -> dict[str, Any]:
    """What the Trainer must be given for all of them to act."""
    return {name: value for case in cases for name, value in case.keywords.items()}


def test_what_is_wrapped_last_is_unwrapped_first(monkeypatch: pytest.MonkeyPatch) -> None:
    acted: dict[Event, list[str]] = {Event.BEFORE_LOSS: [], Event.AFTER_LOSS: []}
    methods = [case.make() for case in first_cases(VISION) if case.name != "NoOpModel"]
    methods = [method for method in methods if set(method.events) & acted.keys()]
    for method in methods:
        monkeypatch.setattr(method, "apply", partial(_noted_apply, method, acted))
    make_trainer(methods, "1ba", **needs(first_cases(VISION))).fit()
    assert len(acted[Event.BEFORE_LOSS]) == len(methods) > 1
    assert acted[Event.AFTER_LOSS] == acted[Event.BEFORE_LOSS][::-1]


def _noted_apply(method: Algorithm, acted: Any, event: Event, state: Any, logger: Any) -> Any:
    if event in acted:
        acted[event].append(type(method).__name__)
    return type(method).apply(method, event, state, logger)


@workloads
@pytest.mark.parametrize("is_reversed", [False, True], ids=["in order", "reversed"])
def test_all_methods_train_together(workload: Workload, is_reversed: bool) -> None:
    """Without those that another one refuses; they are tried with neighbours and in all pairs."""
    cases = combinable(workload, favour_last=is_reversed)
    methods = [case.make() for case in cases]
    methods = methods[::-1] if is_reversed else methods
    trainer = make_trainer(methods, "4ba", workload, **needs(cases))
    trainer.fit()
    assert_finite(trainer)


def trained(pair: Pair) -> dict[str, Tensor]:
    trainer = make_trainer([case.make() for case in pair], "3ba", pair[0].workload, **needs(pair))
    trainer.fit()
    assert_finite(trainer)
    return weights(trainer)


def check_pair(pair: Pair) -> None:
    """Two methods train together, as well in the other order; or refuse each other as stated."""
    refusal = REFUSALS.get(frozenset(case.name for case in pair))
    if refusal is not None:
        with pytest.raises(ComposerError, match=refusal.error):
            trained(pair)
        return
    found, other_way = trained(pair), trained(pair[::-1])
    if not may_depend_on_order(pair[0].make(), pair[1].make()):
        assert_equal(found, other_way)


@says_no_effect
@each_pair(NEIGHBOURS)
def test_neighbours_train_together_in_either_order(pair: Pair) -> None:
    check_pair(pair)


@pytest.mark.parametrize("names", REFUSALS, ids=lambda names: "-".join(sorted(names)))
def test_methods_that_do_not_combine_say_so(names: Set[str]) -> None:
    check_pair(next(pair for pair in PAIRS if {case.name for case in pair} == names))


@pytest.mark.full
@says_no_effect
@each_pair(PAIRS)
def test_any_two_methods_train_together_in_either_order(pair: Pair) -> None:
    check_pair(pair)
