"""The microbatch size is found by trying, and the run is the one with that size fixed."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import Tensor

from composer.algorithms.mixup import MixUp
from composer.core.callback import Callback
from composer.core.evaluator import Evaluator
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import TrainingError
from composer.models.tasks.classification import ComposerClassifier
from tests.trainer._runs import (
    Events,
    assert_same,
    fitted,
    loader,
    make_trainer,
    mlp,
    sgd,
    weights_of,
)


class Limited(ComposerClassifier):
    """Runs out of memory above a number of samples, after the forward pass has left its traces."""

    limit = 10**9

    def forward(self, batch: Any) -> Tensor:
        outputs = super().forward(batch)
        if len(outputs) > self.limit:
            raise torch.OutOfMemoryError("no more")
        return outputs


class LateShortage(Callback):
    """Runs out of memory in the last microbatch of a batch: some gradients are there already."""

    def __init__(self) -> None:
        self.num_seen = 0

    def before_train_batch(self, state: State, logger: Logger) -> None:
        self.num_seen = 0

    def before_backward(self, state: State, logger: Logger) -> None:
        self.num_seen += 1
        if self.num_seen == 2 and len(state.outputs) == 4:
            raise torch.OutOfMemoryError("no more")


def run(size: Any, limit: int = 10**9, **arguments: Any) -> tuple[Any, list[float], Any]:
    torch.manual_seed(0)
    # Batch norm cannot train on one sample.
    net = torch.nn.Sequential(torch.nn.Dropout(0.2), mlp(with_norm=limit > 1 and size != 1))
    model = Limited(net, num_classes=3)
    model.limit = limit
    return fitted(
        model=model,
        train_dataloader=loader(24, 8, shuffle=True),
        optimizers=sgd(model, momentum=0.9),
        device_train_microbatch_size=size,
        algorithms=MixUp(),
        max_duration="2ep",
        **arguments,
    )


@pytest.mark.parametrize(("limit", "size"), [(100, 8), (4, 4), (3, 2), (1, 1)])
def test_the_run_is_the_one_with_the_size_that_was_found(limit: int, size: int) -> None:
    found, losses, _ = run("auto", limit)
    fixed, expected, _ = run(size)
    assert found.state.device_train_microbatch_size == size
    assert losses == expected
    assert_same(weights_of(found), weights_of(fixed))


def test_gradients_of_a_failed_attempt_are_forgotten() -> None:
    found, losses, _ = run("auto", 4, callbacks=[LateShortage()])
    fixed, expected, _ = run(2)
    assert losses == expected
    assert_same(weights_of(found), weights_of(fixed))


def test_training_metrics_do_not_count_a_batch_twice() -> None:
    _, _, found = run("auto", 4, callbacks=[LateShortage()])
    _, _, fixed = run(2)
    name = "metrics/train/MulticlassAccuracy"
    assert found.series(name) == fixed.series(name)


def test_each_batch_logs_the_size_it_ended_with() -> None:
    _, _, memory = run("auto", 3)
    assert memory.series("trainer/device_train_microbatch_size") == [2] * 6


def test_the_halving_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "composer"):
        run("auto", 4)
    assert "device_train_microbatch_size is now 4" in caplog.text


def test_the_size_stays_for_the_next_fit() -> None:
    trainer, _, _ = run("auto", 3)
    events = Events()
    trainer.state.callbacks.append(events)
    trainer.fit(duration="1ba")
    assert events.names.count("before_forward") == 4


def test_one_sample_that_does_not_fit_ends_the_run_with_advice() -> None:
    with pytest.raises(TrainingError, match="one sample does not fit"):
        run("auto", 0)


def test_a_fixed_size_that_does_not_fit_is_the_users_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        run(8, 4)


def test_an_evaluator_finds_its_own_size() -> None:
    torch.manual_seed(0)
    model = Limited(mlp(), num_classes=3)
    data = loader(20, 8)
    whole = Evaluator(label="whole", dataloader=data)
    found = Evaluator(label="found", dataloader=data, device_eval_microbatch_size="auto")
    trainer = make_trainer(model=model, optimizers=sgd(model))
    trainer.eval(whole)
    model.limit = 3
    trainer.eval(found)
    values = trainer.state.eval_metrics
    name = "MulticlassAccuracy"
    assert found.device_eval_microbatch_size == 2
    assert torch.equal(values["whole"][name].compute(), values["found"][name].compute())
