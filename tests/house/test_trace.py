"""The order of events is a contract: the sequences of the reference, recorded from it.

They are kept as recorded but for one correction: evaluations that are due at the end of training
run before FIT_END, so that callbacks which finish there see their results. The two shorter ones
were recorded without the events of single microbatches and of the dataloader.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.trainer._runs import Events, loader, make_trainer

GOLDEN = json.loads(Path(__file__).parents[1].joinpath("golden", "events.json").read_text())
WHOLE, BY_EPOCH, BY_BATCH = GOLDEN.values()
FINE = ("forward", "loss", "backward", "dataloader")


def coarse(names: list[str]) -> list[str]:
    return [name for name in names if not name.endswith(FINE)]


def test_training_evaluation_and_prediction_fire_events_as_recorded() -> None:
    events = Events()
    trainer = make_trainer(
        train_dataloader=loader(8),
        eval_dataloader=loader(8),
        max_duration="2ep",
        device_train_microbatch_size=2,
        callbacks=events,
    )
    trainer.fit()
    trainer.eval()
    trainer.predict(loader(8))
    assert events.names == WHOLE


def test_a_run_that_ends_within_an_epoch_evaluates_before_it_ends() -> None:
    events = Events()
    make_trainer(
        train_dataloader=loader(8),
        eval_dataloader=loader(8),
        max_duration="3ba",
        eval_interval="1ep",
        callbacks=events,
    ).fit()
    assert coarse(events.names) == BY_EPOCH


def test_evaluations_of_each_batch_come_before_its_checkpoint() -> None:
    events = Events()
    make_trainer(
        train_dataloader=loader(8),
        eval_dataloader=loader(8),
        max_duration="2ba",
        eval_interval="1ba",
        callbacks=events,
    ).fit()
    assert coarse(events.names) == BY_BATCH
