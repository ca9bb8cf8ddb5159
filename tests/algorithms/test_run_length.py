"""Plans that a run is too short for are told of before it begins."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest

from composer.algorithms.progressive_resizing import ProgressiveResizing
from composer.algorithms.selective_backprop import SelectiveBackprop
from composer.algorithms.stochastic_depth import StochasticDepth
from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.utils.warnings import NoEffectWarning
from tests.algorithms._runs import HandRun, classifier, conv_net

METHODS = {
    "thins out a batch": lambda: SelectiveBackprop(start=0.5, end=0.9),
    "trains at full size": lambda: ProgressiveResizing(finetune_fraction=0.4),
    "leaves out a block": lambda: StochasticDepth("Conv2d", drop_warmup=0.5),
}
each_method = pytest.mark.parametrize(("what", "make"), METHODS.items())


def look_ahead(make: Callable[[], Algorithm], max_duration: str) -> None:
    HandRun(make(), classifier(conv_net()), max_duration=max_duration).run(Event.FIT_START)


@each_method
def test_one_epoch_is_too_short_for_a_plan_that_moves_at_its_end(
    what: str, make: Callable[[], Algorithm]
) -> None:
    with pytest.warns(NoEffectWarning, match=f"never {what} in a run of max_duration='1ep'.*'1000"):
        look_ahead(make, "1ep")


@each_method
@pytest.mark.parametrize("max_duration", ["3ep", "10ba"])
def test_enough_epochs_and_any_number_of_batches_are_not_told_of(
    what: str, make: Callable[[], Algorithm], max_duration: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        look_ahead(make, max_duration)


def test_a_plan_without_full_size_is_not_told_of() -> None:
    look_ahead(lambda: ProgressiveResizing(finetune_fraction=0.0), "1ep")
