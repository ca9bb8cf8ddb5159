"""The certificate: it is given to runs that resume exactly, and says what is wrong with others."""

from __future__ import annotations

import gc
import random
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError, TrainingError
from composer.testing.verify import verify_resume
from composer.trainer.trainer import Trainer
from tests.testing._killed import make_slowly
from tests.trainer._runs import classifier, loader, make_trainer, samples, sgd

NUM_BATCHES = 8


def make(**arguments: Any) -> Trainer:
    return make_trainer(
        **{"train_dataloader": loader(shuffle=True), "max_duration": "2ep", **arguments}
    )


def first_difference(make_trainer: Any, **options: Any) -> str:
    certificate = verify_resume(make_trainer, **{"interrupt_at": 5, **options})
    assert not certificate.is_proven
    with pytest.raises(TrainingError, match="usual causes"):
        certificate.require()
    return str(certificate)


def test_a_plain_run_is_certified() -> None:
    certificate = verify_resume(make, interrupt_at=["3ba", "1ep", 7])
    certificate.require()
    assert certificate.resumed_at == ((3, 0), (4, 1), (7, 1))
    assert (certificate.num_batches, certificate.num_kills) == (NUM_BATCHES, 0)
    assert certificate.num_tensors > 4
    text = str(certificate)
    assert text.startswith("CERTIFICATE: interrupted and resumed, this run is the same run")
    assert "resumed at batch 3 (epoch 0), batch 4 (epoch 1), batch 7 (epoch 1)" in text


def test_a_run_that_goes_on_behind_its_last_batch_logs_the_same() -> None:
    verify_resume(make, interrupt_at=["2ba", "8ba"]).require()


def test_random_batches_follow_from_the_seed() -> None:
    one, other = (verify_resume(make, num_interruptions=2, seed=3) for _ in range(2))
    assert one.resumed_at == other.resumed_at
    assert len(one.resumed_at) == 2


def test_long_runs_and_epochs_are_cut_short() -> None:
    certificate = verify_resume(
        lambda: make(max_duration="100ep"), num_batches=5, batches_per_epoch=2, interrupt_at="2ep"
    )
    certificate.require()
    assert certificate.num_batches == 5
    assert certificate.resumed_at == ((4, 2),)


class Scaling(Callback):
    """Scales the loss by a count it keeps, and forgets when it is interrupted."""

    def __init__(self) -> None:
        self.count = 0

    def after_loss(self, state: State, logger: Logger) -> None:
        self.count += 1
        state.loss = state.loss * self.count


class Logging(Callback):
    """Logs a count it forgets."""

    count = 0

    def batch_end(self, state: State, logger: Logger) -> None:
        self.count += 1
        logger.log_metrics({"count": self.count})


class Drawing(Callback):
    """Draws a number whenever a run starts."""

    def before_dataloader(self, state: State, logger: Logger) -> None:
        if self not in STARTED:
            STARTED.append(self)
            torch.rand(())


STARTED: list[Callback] = []


class Own(Dataset[Any]):
    """Samples with noise from a generator nobody can find."""

    def __init__(self) -> None:
        self.inputs, self.targets = samples(16)
        self.draw = random.Random(1).random

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> Any:
        return self.inputs[index] + self.draw(), self.targets[index]


BROKEN = {
    "a forgotten count that changes steps": (
        lambda: make(callbacks=[Scaling()]),
        "the loss or another metric differ at batch 5",
    ),
    "a forgotten count that is logged": (
        lambda: make(callbacks=[Logging()]),
        "the loss or another metric differ at batch 6 (count: 6.0 and 1.0)",
    ),
    "a draw at each start": (
        lambda: make(callbacks=[Drawing()]),
        "the random states differ at batch 6 (torch)",
    ),
    "noise from a hidden generator": (
        lambda: make(train_dataloader=DataLoader(Own(), 4)),
        "the data differ at batch 6",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_does_not_resume_is_named_where_it_begins(name: str) -> None:
    make_trainer, expected = BROKEN[name]
    text = first_difference(make_trainer)
    assert text.startswith("NOT THE SAME RUN")
    assert expected in text
    assert "in a life that was resumed at batch 5 (epoch 1)" in text


def test_a_run_that_differs_by_itself_is_not_judged() -> None:
    generator = random.Random(1)

    def make_differently() -> Trainer:
        model = classifier(seed=generator.randrange(1000))
        return make(model=model, optimizers=sgd(model))

    text = first_difference(make_differently)
    assert text.startswith("NOT REPRODUCIBLE: two runs that were not interrupted")


def test_metrics_that_tell_time_are_left_out_and_named() -> None:
    class Clock(Callback):
        def batch_end(self, state: State, logger: Logger) -> None:
            logger.log_metrics({"ticks": random.SystemRandom().random(), "gpu_heat": 1})

    certificate = verify_resume(lambda: make(callbacks=[Clock()]), interrupt_at=3)
    certificate.require()
    assert {"ticks", "gpu_heat"} <= set(certificate.not_compared)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"interrupt_at": "3 batches"}, "must be batches or epochs"),
        ({"interrupt_at": "9ba"}, "has ended before"),
        ({"num_interruptions": 0}, "must be at least 1"),
        ({"num_interruptions": 8}, "a run of 8 batches cannot be interrupted 8 times"),
    ],
    ids=str,
)
def test_what_cannot_be_tried_is_refused(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        verify_resume(make, **options)


def test_a_program_that_fails_leaves_no_file_open() -> None:
    class Failing(Callback):
        def batch_end(self, state: State, logger: Logger) -> None:
            raise ArithmeticError("by zero")

    with pytest.raises(ArithmeticError):
        verify_resume(lambda: make(callbacks=[Failing()]))
    gc.collect()  # a file that is still open would be warned of, which is an error here


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.full)])
def test_runs_that_are_killed_at_random_moments_resume_exactly(kills: int) -> None:
    certificate = verify_resume(make_slowly, kill=True, num_interruptions=kills)
    certificate.require()
    assert certificate.num_kills == kills
    assert len(certificate.resumed_at) == kills
    assert f"killed by SIGKILL {kills} times" in str(certificate)
