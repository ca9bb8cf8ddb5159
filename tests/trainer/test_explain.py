from __future__ import annotations

import logging

import pytest

from composer.algorithms.ema import EMA
from composer.algorithms.label_smoothing import LabelSmoothing
from composer.algorithms.mixup import MixUp
from composer.core.event import Event
from composer.loggers.in_memory_logger import InMemoryLogger
from tests.core._doubles import Deciding, Method
from tests.trainer._runs import make_trainer


def test_a_run_without_methods_says_so() -> None:
    assert str(make_trainer().explain()) == "no methods: a plain training loop"


def test_each_event_lists_its_methods_in_the_order_in_which_they_act() -> None:
    composition = make_trainer(algorithms=[MixUp(), LabelSmoothing()]).explain()
    acts = [(a.event, a.position, type(a.method).__name__) for a in composition.actions]
    assert acts == [
        (Event.BEFORE_FORWARD, 0, "MixUp"),
        (Event.BEFORE_LOSS, 0, "LabelSmoothing"),
        (Event.BEFORE_LOSS, 1, "MixUp"),
        (Event.AFTER_LOSS, 0, "MixUp"),
        (Event.AFTER_LOSS, 1, "LabelSmoothing"),
        (Event.AFTER_BACKWARD, 0, "MixUp"),
    ]


def test_the_text_is_a_table() -> None:
    lines = str(make_trainer(algorithms=LabelSmoothing()).explain()).splitlines()
    assert lines == [
        "methods: LabelSmoothing(smoothing=0.1, target_key=1)",
        "",
        "event        order  method          writes",
        "-----------  -----  --------------  ------",
        "before_loss  1      LabelSmoothing  batch",
        "after_loss   1      LabelSmoothing  batch",
    ]


def test_loggers_are_told_who_acts_when() -> None:
    logger = InMemoryLogger()
    make_trainer(algorithms=[MixUp(), LabelSmoothing()], loggers=logger)
    told = {k: v for k, v in logger.hyperparameters.items() if k.startswith("composition/")}
    assert list(told) == [
        f"composition/{name}"
        for name in ("before_forward", "before_loss", "after_loss", "after_backward")
    ]
    assert [each.split(":")[0] for each in told["composition/before_loss"]] == [
        "LabelSmoothing",
        "MixUp",
    ]
    assert told["composition/before_loss"][0] == "LabelSmoothing: batch"


def test_loggers_of_a_plain_run_are_told_nothing_of_methods() -> None:
    logger = InMemoryLogger()
    make_trainer(loggers=logger)
    assert not [name for name in logger.hyperparameters if name.startswith("composition")]


def test_it_shows_what_a_method_writes() -> None:
    composition = make_trainer(algorithms=LabelSmoothing()).explain()
    assert all(action.writes for action in composition.actions)


def test_methods_that_decide_at_run_time_are_marked() -> None:
    assert "Deciding (where it matches)" in str(
        make_trainer(algorithms=Deciding("d", [], acts=False)).explain()
    )


def test_two_methods_that_mix_samples_are_in_conflict() -> None:
    trainer = make_trainer(algorithms=[Mixing("m", [], Event.INIT), Mixing("n", [], Event.FIT_END)])
    composition = trainer.explain()
    assert [conflict.methods for conflict in composition.conflicts] == [("Mixing", "Mixing")]
    assert "conflict: Mixing and Mixing: both mix the samples" in str(composition)


class Mixing(Method):
    """Mixes samples."""

    interpolates = True


def test_one_method_twice_is_in_conflict() -> None:
    method = Method("m", [], Event.BATCH_END)
    other = Method("n", [], Event.BATCH_END)
    (conflict,) = make_trainer(algorithms=[method, other]).explain().conflicts
    assert "the same method twice" in conflict.reason


def test_a_method_that_acts_on_no_event_is_named() -> None:
    assert "Method acts on no event of the loop" in str(
        make_trainer(algorithms=[Refusing("m", []), LabelSmoothing()]).explain()
    ).replace("Refusing", "Method")


class Refusing(Method):
    """Acts on an event that is none."""

    def __init__(self, name: str, notes: list[str]) -> None:
        super().__init__(name, notes)
        self.events = {"nothing": "act"}  # pyright: ignore[reportAttributeAccessIssue]


def test_the_weights_that_are_judged_are_named() -> None:
    trainer = make_trainer(algorithms=EMA(half_life="2ba"))
    trainer.fit()
    assert "evaluation, checkpoints and export use the weights of" in str(trainer.explain())


def test_it_can_be_asked_without_data() -> None:
    trainer = make_trainer(train_dataloader=None, max_duration=None, algorithms=MixUp())
    assert "before_forward" in str(trainer.explain())


def test_fit_shows_it_to_who_reads_the_debug_log(caplog: pytest.LogCaptureFixture) -> None:
    trainer = make_trainer(algorithms=LabelSmoothing())
    with caplog.at_level(logging.DEBUG, "composer"):
        trainer.fit()
    assert "LabelSmoothing" in caplog.text
