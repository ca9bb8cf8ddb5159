from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from composer.algorithms.ema import EMA
from composer.algorithms.mixup import MixUp
from composer.core.callback import Callback
from composer.core.evaluator import Evaluator
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError
from composer.models.tasks.classification import ComposerClassifier
from composer.optim.curves import CosineAnnealingScheduler
from tests.core._doubles import Memory
from tests.trainer._runs import (
    Events,
    assert_same,
    loader,
    make_trainer,
    mlp,
    norm_classifier,
    samples,
    sgd,
    weights_of,
)


class StopAfter(Callback):
    """Stops the run after some batches, once."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def batch_end(self, state: State, logger: Logger) -> None:
        if state.timestamp.batch.value == self.batches:
            state.stop_training()


def composed(**arguments: Any) -> Any:
    model = norm_classifier()
    return make_trainer(
        model=model,
        optimizers=sgd(model, momentum=0.9),
        train_dataloader=loader(shuffle=True),
        eval_dataloader=loader(8, shuffle=True),
        algorithms=[EMA(half_life="2ba"), MixUp()],
        schedulers=CosineAnnealingScheduler(),
        max_duration="2ep",
        **arguments,
    )


def test_a_run_after_a_dry_run_is_the_same_to_the_bit() -> None:
    plain = composed()
    plain.fit()
    tried = composed()
    tried.dry_run()
    tried.fit()
    assert_same(weights_of(plain), weights_of(tried))


def test_it_may_come_in_the_middle_of_a_run() -> None:
    plain = composed()
    plain.fit()
    tried = composed(callbacks=StopAfter(3))
    tried.fit()
    tried.state.max_duration = "2ep"
    tried.dry_run()
    tried.fit()
    assert_same(weights_of(plain), weights_of(tried))


def test_state_and_time_are_what_they_were() -> None:
    trainer = composed()
    state = trainer.state
    before = dict(vars(state))
    values = dict(state.train_metric_values), dict(state.eval_metric_values)
    trainer.dry_run()
    assert vars(state).keys() == before.keys()
    assert all(
        vars(state)[name] is value for name, value in before.items() if name != "dataset_state"
    )
    assert (state.train_metric_values, state.eval_metric_values) == values
    assert state.model.training


def test_callbacks_and_loggers_see_nothing_of_it() -> None:
    class Talking(ComposerClassifier):
        def forward(self, batch: Any) -> Tensor:
            if self.logger is not None:
                self.logger.log_metrics({"from the model": 1})
            return super().forward(batch)

    events, memory = Events(), Memory()
    model = Talking(mlp(), num_classes=3)
    trainer = make_trainer(
        model=model,
        optimizers=sgd(model),
        eval_dataloader=loader(4),
        callbacks=events,
        loggers=memory,
    )
    before = len(events.names)
    trainer.dry_run()
    trainer.logger.flush()
    assert len(events.names) == before
    assert memory.metrics == []
    assert model.logger is trainer.logger


def test_it_reports_what_each_part_took() -> None:
    report = composed(device_train_microbatch_size=2).dry_run()
    assert report.train_s > 0
    assert report.eval_s > 0
    assert report.save_s > 0
    assert report.checkpoint_bytes > 1000
    assert report.peak_memory_bytes is None
    assert report.microbatch_size == 2
    assert str(report).startswith("dry run passed: first batch")


def test_a_failing_evaluator_is_found_and_everything_put_back() -> None:
    inputs, _ = samples(4)
    bad = Evaluator(label="bad", dataloader=[(inputs,)], device_eval_microbatch_size=4)
    trainer = make_trainer(eval_dataloader=bad)
    before = weights_of(trainer)
    with pytest.raises(ValueError, match="unpack"):
        trainer.dry_run()
    assert_same(weights_of(trainer), before)
    assert trainer.state.timestamp.batch == "0ba"
    assert trainer.state.dataloader_label == "train"


def test_a_batch_that_does_not_fit_is_found() -> None:
    class Full(ComposerClassifier):
        def forward(self, batch: Any) -> Tensor:
            raise torch.OutOfMemoryError("no more")

    model = Full(mlp(), num_classes=3)
    with pytest.raises(torch.OutOfMemoryError):
        make_trainer(model=model, optimizers=sgd(model)).dry_run()


def test_a_state_that_cannot_be_saved_is_found() -> None:
    class Unsaveable(MixUp):
        def state_dict(self) -> dict[str, Any]:
            raise TypeError("no state")

    with pytest.raises(TypeError, match="no state"):
        make_trainer(algorithms=Unsaveable()).dry_run()


@pytest.mark.parametrize("missing", ["train_dataloader", "max_duration"])
def test_it_needs_what_fit_needs(missing: str) -> None:
    with pytest.raises(ConfigError, match=f"no {missing}|no duration"):
        make_trainer(**{missing: None}).dry_run()


def test_a_generator_would_lose_its_first_batch_and_is_refused() -> None:
    trainer = make_trainer(train_dataloader=iter([samples(4)] * 3), max_duration="3ba")
    for attempt in (trainer.dry_run, trainer.check_gradients):
        with pytest.raises(ConfigError, match=r"gives its batches only once"):
            attempt()
    trainer.fit()
    assert trainer.state.timestamp.batch == "3ba"


def test_the_found_microbatch_size_is_not_kept() -> None:
    class Limited(ComposerClassifier):
        def forward(self, batch: Any) -> Tensor:
            if len(batch[0]) > 2:
                raise torch.OutOfMemoryError("no more")
            return super().forward(batch)

    model = Limited(mlp(), num_classes=3)
    fresh = make_trainer(model=model, optimizers=sgd(model), device_train_microbatch_size="auto")
    assert fresh.dry_run().microbatch_size == 2
    assert fresh.state.device_train_microbatch_size == 4
