"""A run that is asked to make room saves at the next boundary, ends with its code, and goes on."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.distributed import comm
from composer.errors import PREEMPTED_EXIT_CODE, Preempted
from composer.loggers.in_memory_logger import InMemoryLogger
from composer.trainer.trainer import Trainer
from tests._dist import run_ranks
from tests.trainer._runs import (
    assert_same,
    classifier,
    fitted,
    loader,
    make_trainer,
    sgd,
    weights_of,
)


class Signalled(Callback):
    """Gets a signal in the middle of a batch of training or of evaluation."""

    def __init__(self, number: int, event: str, batch: int, times: int = 1) -> None:
        self.number = number
        self.event = event
        self.batch = batch
        self.times = times
        self.num_seen = 0

    def before_forward(self, state: State, logger: Logger) -> None:
        self._count("before_forward")

    def eval_before_forward(self, state: State, logger: Logger) -> None:
        self._count("eval_before_forward")

    def _count(self, event: str) -> None:
        self.num_seen += event == self.event
        if event == self.event and self.num_seen == self.batch:
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)
                time.sleep(0.01)


def make(folder: Path | str, **arguments: Any) -> Trainer:
    model = classifier()
    return make_trainer(
        **{
            "model": model,
            "optimizers": sgd(model),
            "train_dataloader": loader(shuffle=True),
            "eval_dataloader": loader(),
            "eval_interval": "2ba",
            "max_duration": "2ep",
            "save_folder": str(folder),
            "save_interval": "100ep",
            "run_name": "run",
            "autoresume": True,
            **arguments,
        }
    )


ROOM = (signal.SIGTERM, signal.SIGUSR1)


@pytest.mark.parametrize("number", ROOM, ids=lambda number: number.name)
def test_asked_for_room_it_saves_behind_the_batch_and_ends_with_its_code(
    number: int, tmp_path: Path
) -> None:
    straight = make(tmp_path / "straight")
    straight.fit()
    callback = Signalled(number, "before_forward", 3, times=3)
    first = make(tmp_path / "run", callbacks=[callback])
    with pytest.raises(SystemExit) as ended:
        first.fit()
    assert ended.value.code == PREEMPTED_EXIT_CODE == 75
    assert first.state.timestamp.batch == 3
    assert [os.path.basename(path) for path in first.saved_checkpoints] == ["ep0-ba3-rank0.pt"]
    first.close()
    second = make(tmp_path / "run")
    assert second.state.timestamp.batch == 3
    second.fit()
    assert_same(weights_of(straight), weights_of(second))


def test_an_evaluation_is_stopped_between_its_batches_and_run_again(tmp_path: Path) -> None:
    def logged(trainer: Trainer, memory: InMemoryLogger) -> dict[str, Any]:
        trainer.close()
        return {k: v for k, v in memory.data.items() if k.startswith(("metrics/eval", "loss"))}

    memory = InMemoryLogger()
    straight = make(tmp_path / "straight", loggers=memory)
    straight.fit()
    expected = logged(straight, memory)

    callback = Signalled(signal.SIGTERM, "eval_before_forward", 6)
    before = InMemoryLogger()
    first = make(tmp_path / "run", callbacks=[callback], loggers=before)
    with pytest.raises(Preempted):
        first.fit()
    # The second evaluation, at batch 4, stops behind its second batch of four.
    assert (first.state.timestamp.batch, callback.num_seen) == (4, 6)
    found = logged(first, before)
    after = InMemoryLogger()
    second = make(tmp_path / "run", loggers=after)
    second.fit()
    assert_same(weights_of(straight), weights_of(second))
    for name, values in logged(second, after).items():
        assert [float(v) for _, v in [*found.get(name, []), *values]] == [
            float(v) for _, v in expected[name]
        ], name


def evaluated(trainer: Trainer) -> list[float]:
    memory = trainer.logger.destinations[0]
    return [float(v) for _, v in memory.data.get("metrics/eval/MulticlassAccuracy", [])]  # pyright: ignore


@pytest.mark.parametrize("interval", ["1ep", "1dur"])
def test_an_evaluation_at_an_end_is_run_again(interval: str, tmp_path: Path) -> None:
    whole = make(tmp_path / "straight", eval_interval=interval, loggers=InMemoryLogger())
    whole.fit()
    callback = Signalled(signal.SIGTERM, "eval_before_forward", 2)
    first = make(
        tmp_path / "run", eval_interval=interval, callbacks=[callback], loggers=InMemoryLogger()
    )
    with pytest.raises(Preempted):
        first.fit()
    assert evaluated(first) == []
    first.close()
    second = make(tmp_path / "run", eval_interval=interval, loggers=InMemoryLogger())
    second.fit()
    assert evaluated(second) == evaluated(whole)
    assert second.state.timestamp.epoch == 2


def test_an_evaluation_due_at_the_last_batch_is_run_once_in_all(tmp_path: Path) -> None:
    # Stopped inside the last evaluation, which began behind the last batch.
    callback = Signalled(signal.SIGTERM, "eval_before_forward", 14)
    first = make(tmp_path, callbacks=[callback], loggers=InMemoryLogger())
    with pytest.raises(Preempted):
        first.fit()
    assert (first.state.timestamp.batch, len(evaluated(first))) == (8, 3)
    first.close()
    second = make(tmp_path, loggers=InMemoryLogger())
    second.fit()
    second.close()
    assert len(evaluated(second)) == 1
    third = make(tmp_path, loggers=InMemoryLogger())
    third.fit()
    assert evaluated(third) == []


def test_what_was_evaluated_at_the_last_batch_is_not_evaluated_again(tmp_path: Path) -> None:
    class Ended(Exception):
        pass

    class Ending(Callback):
        def epoch_end(self, state: State, logger: Logger) -> None:
            if state.is_training_done:
                raise Ended

    first = make(tmp_path, callbacks=[Ending()], save_interval="1ba", loggers=InMemoryLogger())
    with pytest.raises(Ended):
        first.fit()
    assert len(evaluated(first)) == 4
    first.close()
    second = make(tmp_path, save_interval="1ba", loggers=InMemoryLogger())
    second.fit()
    assert evaluated(second) == []


def test_a_last_evaluation_in_the_middle_of_an_epoch_is_run_again(tmp_path: Path) -> None:
    given = {"eval_interval": "1ep", "max_duration": "6ba", "loggers": InMemoryLogger()}
    callback = Signalled(signal.SIGTERM, "eval_before_forward", 6)
    first = make(tmp_path, callbacks=[callback], **given)
    with pytest.raises(Preempted):
        first.fit()
    assert (first.state.timestamp.batch, len(evaluated(first))) == (6, 1)
    first.close()
    second = make(tmp_path, **{**given, "loggers": InMemoryLogger()})
    second.fit()
    assert len(evaluated(second)) == 1


def test_ctrl_c_saves_and_the_same_trainer_may_go_on(tmp_path: Path) -> None:
    straight = make(tmp_path / "straight")
    straight.fit()
    trainer = make(tmp_path / "run", callbacks=[Signalled(signal.SIGINT, "eval_before_forward", 3)])
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert trainer.state.timestamp.batch == 2
    assert len(trainer.saved_checkpoints) == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    trainer.fit()
    assert_same(weights_of(straight), weights_of(trainer))


def test_the_second_ctrl_c_is_instant_and_saves_nothing(tmp_path: Path) -> None:
    trainer = make(
        tmp_path / "run", callbacks=[Signalled(signal.SIGINT, "before_forward", 2, times=2)]
    )
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert trainer.state.timestamp.batch == 1
    assert trainer.saved_checkpoints == []


def test_without_a_folder_it_ends_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    callback = Signalled(signal.SIGTERM, "before_forward", 2)
    with pytest.raises(Preempted):
        fitted(callbacks=[callback], max_duration="9ep")
    assert "nothing is saved" in caplog.text


def test_a_signal_that_the_program_handles_itself_is_left_to_it(tmp_path: Path) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number))
    try:
        make(tmp_path, callbacks=[Signalled(signal.SIGUSR1, "before_forward", 2)]).fit()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard == [signal.SIGUSR1]


def _two_ranks(folder: str, event: str, batch: int) -> tuple[int, int, bool]:
    is_asked = comm.get_global_rank() == 1
    callbacks = [Signalled(signal.SIGTERM, event, batch)] if is_asked else []
    data, other = (loader(24, sampler=comm.get_sampler(range(24))) for _ in range(2))  # pyright: ignore
    trainer = make(
        folder,
        train_dataloader=data,
        eval_dataloader=other,
        eval_interval="2ba" if event.startswith("eval") else "100ba",
        callbacks=callbacks,
    )
    code = 0
    try:
        trainer.fit()
    except SystemExit as ended:
        code = int(ended.code or 0)
    trainer.close()
    return code, trainer.state.timestamp.batch.value, "evaluating" in trainer.state.progress


@pytest.mark.parametrize(
    ("event", "batch", "stops_at"), [("before_forward", 2, 3), ("eval_before_forward", 1, 2)]
)
def test_all_ranks_stop_together_whichever_was_asked(
    event: str, batch: int, stops_at: int, tmp_path: Path
) -> None:
    # The counts of a batch carry what was noted before it, so one more batch is trained.
    found = run_ranks(2, _two_ranks, str(tmp_path), event, batch)
    assert found == [(PREEMPTED_EXIT_CODE, stops_at, event == "eval_before_forward")] * 2
    assert (tmp_path / f"ep0-ba{stops_at}-rank0.pt").exists()
    assert [code for code, _, _ in run_ranks(2, _two_ranks, str(tmp_path), event, 99)] == [0, 0]
