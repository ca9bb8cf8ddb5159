"""What the loop adds to a step, as a number that no machine changes: calls of functions.

Time is measured in `benchmarks/overhead.py`. Here Python and C calls are counted, over those that
the same step takes in a loop written by hand.
"""

from __future__ import annotations

import io
import statistics
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
import torch

from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.loggers.progress_bar_logger import ProgressBarLogger
from composer.trainer.trainer import Trainer
from tests.trainer._runs import NUM_FEATURES, Regression, sgd

NUM_STEPS = 24


class CountedBatches:
    """Gives batches and counts the calls from one being asked for to the next."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self._batch = torch.randn(8, NUM_FEATURES), torch.randn(8)

    def __iter__(self) -> Iterator[Any]:
        count = 0

        def profile(frame: FrameType, event: str, arg: Any) -> None:
            nonlocal count
            del frame, arg
            count += event in ("call", "c_call")

        before = sys.getprofile()
        sys.setprofile(profile)
        try:
            for _ in range(NUM_STEPS):
                begin = count
                yield self._batch
                self.calls.append(count - begin)
        finally:
            sys.setprofile(before)

    @property
    def typical(self) -> float:
        """Calls of a step; some steps also draw the progress or collect garbage."""
        return statistics.median(self.calls[2:])


def by_hand() -> float:
    model, batches = Regression(), CountedBatches()
    optimizer = sgd(model, momentum=0.9)
    for batch in batches:
        optimizer.zero_grad()
        model.loss(model(batch), batch).backward()
        optimizer.step()
    return batches.typical


def trained(**arguments: Any) -> float:
    model, batches = Regression(), CountedBatches()
    trainer = Trainer(
        model=model,
        train_dataloader=batches,
        max_duration="1ep",
        optimizers=sgd(model, momentum=0.9),
        progress_bar=False,
        **arguments,
    )
    trainer.fit()
    trainer.close()
    return batches.typical


class Idle(Callback):
    def batch_end(self, state: State, logger: Logger) -> None:
        pass


@pytest.mark.parametrize("shows_progress", [False, True])
def test_a_step_adds_few_calls_to_one_by_hand(shows_progress: bool) -> None:
    loggers = [ProgressBarLogger(stream=io.StringIO())] if shows_progress else []
    assert 0 < trained(loggers=loggers) - by_hand() <= 250


def test_an_idle_callback_adds_one_call_a_step() -> None:
    some, many = (trained(callbacks=[Idle() for _ in range(n)]) for n in (10, 30))
    assert (many - some) / 20 <= 2


def test_a_number_logged_adds_few_calls_a_step() -> None:
    class Values(Callback):
        def __init__(self, count: int) -> None:
            self.values = {f"number/{i}": float(i) for i in range(count)}

        def batch_end(self, state: State, logger: Logger) -> None:
            logger.log_metrics(self.values)

    def run(count: int) -> float:
        return trained(callbacks=[Values(count)], loggers=[ProgressBarLogger(stream=io.StringIO())])

    assert (run(30) - run(10)) / 20 <= 5
