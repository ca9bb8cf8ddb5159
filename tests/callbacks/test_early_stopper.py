"""When training is stopped early."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from composer.callbacks.early_stopper import EarlyStopper
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError, UnknownNameError
from composer.testing.verify import verify_resume
from composer.trainer.trainer import Trainer
from tests.core._doubles import make_state
from tests.trainer._runs import loader, make_trainer


class Value:
    """A metric that gives the next of some values."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def compute(self) -> float:
        return self.values.pop(0)


def run(stopper: EarlyStopper, values: list[float], label: str = "eval") -> int:
    """Let epochs pass, each with an evaluation, and return how many are trained."""
    state = make_state(max_duration=f"{len(values)}ep")
    logger = Logger(state)
    metric: Any = Value(*values)
    state.eval_metrics = {label: {"Score": metric}}
    while not state.is_training_done:
        state.timestamp = state.timestamp.to_next_batch(1).to_next_epoch()
        state.set_dataloader(range(2), label)
        stopper.eval_end(state, logger)
        state.set_dataloader(range(4), "train")
        stopper.epoch_end(state, logger)
    return state.timestamp.epoch.value


def test_it_stops_when_more_than_patience_has_passed_since_the_best() -> None:
    assert run(EarlyStopper("Score", "eval", patience=1), [1, 2, 1, 1, 1, 1]) == 4
    assert run(EarlyStopper("Score", "eval", patience=3), [1, 2, 1, 1, 1, 1, 1, 1]) == 6


def test_a_run_that_improves_goes_on() -> None:
    assert run(EarlyStopper("Score", "eval"), [1, 2, 3, 4, 5]) == 5


def test_less_is_better_for_losses_and_where_it_is_said() -> None:
    assert run(EarlyStopper("Score", "eval", comp="less"), [5, 4, 3, 2, 1]) == 5
    assert run(EarlyStopper("Score", "eval", comp=torch.less), [1, 2, 3, 4, 5]) == 3
    assert EarlyStopper("CrossEntropyLoss", "eval").comp is torch.less
    assert EarlyStopper("LanguagePerplexity", "eval").comp is torch.less
    assert EarlyStopper("MulticlassAccuracy", "eval").comp is torch.greater


@pytest.mark.parametrize(("comp", "values"), [("greater", [1, 1.1, 1.2]), ("less", [3, 2.9, 2.8])])
def test_an_improvement_must_exceed_min_delta(comp: str, values: list[float]) -> None:
    stopper = EarlyStopper("Score", "eval", comp=comp, min_delta=0.5, patience=1)
    assert run(stopper, [*values, values[-1], values[-1]]) == 3


def test_a_first_value_of_nan_is_replaced_by_any_other() -> None:
    stopper = EarlyStopper("Score", "eval", patience=1)
    assert run(stopper, [float("nan"), 1, 2, 3]) == 4
    assert stopper.best == 3


def test_a_training_loss_can_be_watched_batch_by_batch() -> None:
    stopper = EarlyStopper("loss/train/total", "train", comp="greater", patience="2ba")
    trainer = make_trainer(callbacks=stopper, max_duration="20ep")
    trainer.fit()
    assert trainer.state.timestamp.batch < 80
    since = trainer.state.timestamp.batch.value - stopper.best_occurred["ba"]
    assert since == 3


def test_a_training_loss_is_known_to_a_run_that_goes_on_at_the_end_of_an_epoch() -> None:
    def make() -> Trainer:
        stopper = EarlyStopper("loss/train/total", "train", patience=50)
        return make_trainer(callbacks=stopper, max_duration="2ep")

    verify_resume(make, interrupt_at="4ba").require()


def test_a_training_metric_is_watched_epoch_by_epoch() -> None:
    stopper = EarlyStopper("MulticlassAccuracy", "train", min_delta=10.0, patience=1)
    trainer = make_trainer(callbacks=stopper, max_duration="9ep")
    trainer.fit()
    assert trainer.state.timestamp.epoch == 3


def test_only_the_evaluator_of_the_label_counts() -> None:
    stopper = EarlyStopper("MulticlassAccuracy", "other")
    trainer = make_trainer(callbacks=stopper, eval_dataloader=loader())
    trainer.fit()
    assert stopper.best is None


def test_a_metric_that_does_not_exist_is_named_with_those_that_do() -> None:
    trainer = make_trainer(
        callbacks=EarlyStopper("MulticlasAccuracy", "eval"), eval_dataloader=loader()
    )
    with pytest.raises(UnknownNameError, match="Did you mean 'MulticlassAccuracy'"):
        trainer.fit()


def test_one_value_of_a_metric_with_several_can_be_watched() -> None:
    class Several:
        def compute(self) -> dict[str, float]:
            return {"map": 0.5, "map_50": 0.75}

    state: State = make_state()
    metrics: Any = {"eval": {"MAP": Several()}}
    state.eval_metrics = metrics
    state.set_dataloader(range(2), "eval")
    stopper = EarlyStopper("MAP/map_50", "eval")
    stopper.eval_end(state, Logger(state))
    assert stopper.best == 0.75


@pytest.mark.parametrize(
    "arguments",
    [
        {"comp": "better"},
        {"min_delta": -1.0},
        {"patience": "5sp"},
        {"patience": "soon"},
    ],
)
def test_arguments_that_cannot_work_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        EarlyStopper("Score", "eval", **arguments)


def test_a_comparison_that_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError, match="comp=3"):
        EarlyStopper("Score", "eval", comp=3)  # pyright: ignore[reportArgumentType]
