"""What holds where several training methods are composed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest

from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.errors import ConfigError
from tests.contract._cases import REFUSED, Case, first_cases
from tests.contract._method_runs import assert_finite, make_trainer
from tests.contract._workloads import VISION, WORKLOADS, Workload

workloads = pytest.mark.parametrize("workload", WORKLOADS, ids=str)
PAIRS = [
    pair
    for workload in WORKLOADS
    for pair in itertools.permutations(first_cases(workload), 2)
    if frozenset({pair[0].name, pair[1].name}) not in REFUSED
]


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
def test_all_methods_train_together(workload: Workload) -> None:
    # Without the model itself, and one of each two that are refused.
    left_out = {"NoOpModel", *(sorted(names)[-1] for names in REFUSED)}
    cases = [case for case in first_cases(workload) if case.name not in left_out]
    trainer = make_trainer([case.make() for case in cases], "1ep", workload, **needs(cases))
    trainer.fit()
    assert_finite(trainer)


@pytest.mark.parametrize("names", REFUSED, ids=lambda names: "-".join(sorted(names)))
def test_two_that_cannot_be_combined_are_refused(names: frozenset[str]) -> None:
    methods = [case.make() for case in first_cases() if case.name in names]
    with pytest.raises(ConfigError, match=REFUSED[names]):
        make_trainer(methods)


@pytest.mark.full
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair[0].name}-{pair[1].name}")
def test_any_two_methods_train_together(pair: tuple[Case, Case]) -> None:
    trainer = make_trainer([case.make() for case in pair], "2ba", pair[0].workload, **needs(pair))
    trainer.fit()
    assert_finite(trainer)
