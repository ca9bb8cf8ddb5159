"""When training is stopped because it is good enough."""

from __future__ import annotations

from typing import Any

from composer.callbacks.threshold_stopper import ThresholdStopper
from tests.trainer._runs import loader, make_trainer


def trained(stopper: ThresholdStopper, **arguments: Any) -> tuple[int, int]:
    trainer = make_trainer(callbacks=stopper, max_duration="5ep", **arguments)
    trainer.fit()
    return trainer.state.timestamp.epoch.value, trainer.state.timestamp.batch.value


def test_it_stops_once_an_evaluators_metric_passes() -> None:
    low = ThresholdStopper("MulticlassAccuracy", "eval", -1.0)
    assert trained(low, eval_dataloader=loader()) == (1, 4)


def test_it_goes_on_until_then() -> None:
    high = ThresholdStopper("MulticlassAccuracy", "eval", 2.0)
    assert trained(high, eval_dataloader=loader()) == (5, 20)


def test_a_training_metric_is_looked_at_after_epochs_or_batches() -> None:
    loss = ("loss/train/total", "train", 1e9)
    assert trained(ThresholdStopper(*loss)) == (1, 4)
    assert trained(ThresholdStopper(*loss, stop_on_batch=True)) == (0, 1)


def test_the_direction_can_be_chosen() -> None:
    above = ThresholdStopper("loss/train/total", "train", 1e9, comp="greater", stop_on_batch=True)
    assert trained(above) == (5, 20)
    ours = ThresholdStopper("loss/train/total", "train", 0.0, comp=lambda value, limit: True)
    assert trained(ours) == (1, 4)
