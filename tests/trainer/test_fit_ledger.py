"""Calls of ``fit`` are made once, however often the program that makes them is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.trainer.trainer import Trainer
from tests.trainer._runs import assert_same, classifier, loader, make_trainer, sgd, weights_of


class Crash(Exception):
    """Ends a program."""


class Crashing(Callback):
    def __init__(self, batch: int | None) -> None:
        self.batch = batch
        self.trained: list[int] = []

    def before_dataloader(self, state: State, logger: Logger) -> None:
        if state.timestamp.batch == self.batch:
            raise Crash

    def batch_end(self, state: State, logger: Logger) -> None:
        self.trained.append(state.timestamp.batch.value)


def program(folder: Path, crash_at: int | None, **arguments: Any) -> tuple[Trainer, list[int]]:
    """Train for three epochs in three calls, as somebody's script might."""
    callback = Crashing(crash_at)
    model = classifier()
    trainer = make_trainer(
        **{
            "model": model,
            "optimizers": sgd(model),
            "train_dataloader": loader(shuffle=True),
            "callbacks": [callback],
            "save_folder": str(folder),
            "save_interval": "1ba",
            "run_name": "run",
            "autoresume": True,
            "max_duration": None,
            **arguments,
        }
    )
    try:
        trainer.fit(duration="1ep")
        trainer.fit(duration="6ba")
        trainer.fit(duration="1ep")
    except Crash:
        pass
    trainer.close()
    return trainer, callback.trained


@pytest.mark.parametrize("crashes", [[2], [6], [4, 9], [1, 5, 11]])
def test_a_program_that_is_started_again_trains_no_batch_twice(
    crashes: list[int], tmp_path: Path
) -> None:
    straight, batches = program(tmp_path / "straight", None)
    assert batches == [*range(1, len(batches) + 1)]
    trained: list[int] = []
    for crash in [*crashes, None]:
        trainer, more = program(tmp_path / "run", crash)
        trained += more
    assert trained == batches
    assert_same(weights_of(straight), weights_of(trainer))


def test_a_program_that_has_finished_trains_nothing_more(tmp_path: Path) -> None:
    first, _ = program(tmp_path, None)
    second, trained = program(tmp_path, None)
    assert trained == []
    assert second.state.timestamp.batch == first.state.timestamp.batch
    assert second.state.timestamp.epoch == first.state.timestamp.epoch
    assert_same(weights_of(first), weights_of(second))


def test_a_run_that_starts_from_anothers_checkpoint_makes_its_own_calls(tmp_path: Path) -> None:
    first, _ = program(tmp_path / "first", None, save_interval="1ep")
    path = first.saved_checkpoints[-1]
    _, trained = program(tmp_path / "second", None, load_path=path)
    assert trained == [*range(13, 25)]


def test_time_is_reset_once(tmp_path: Path) -> None:
    def resetting(crash_at: int | None) -> tuple[int, list[int]]:
        callback = Crashing(crash_at)
        model = classifier()
        trainer = make_trainer(
            model=model, optimizers=sgd(model), callbacks=[callback], save_folder=str(tmp_path),
            save_interval="1ba", run_name="run", autoresume=True, max_duration="2ba",
            save_overwrite=True,
        )  # fmt: skip
        try:
            trainer.fit()
            trainer.fit(duration="7ba", reset_time=True)
        except Crash:
            pass
        trainer.close()
        return trainer.state.timestamp.batch.value, callback.trained

    assert resetting(5) == (5, [1, 2, 1, 2, 3, 4, 5])
    assert resetting(None) == (7, [6, 7])
