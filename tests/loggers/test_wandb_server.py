"""WandBLogger with a tracker: resuming, files, and a server that is not there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb

from composer.core.callback import Callback
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.loggers.wandb_logger import WandBLogger
from tests.loggers._runs import make_batches, make_trainer
from tests.loggers._wandb import (
    TRAINED,
    forget_wandb,
    read_runs,
    rows_of,
    set_online,
    sync,
    trained_batches,
)
from tests.tracking.tracker import Tracker

pytest.importorskip("starlette", reason="the tracker needs the extra 'tracking'")
pytest.importorskip("graphql", reason="the tracker needs the extra 'tracking'")

QUICK: dict[str, Any] = {"settings": {"init_timeout": 5, "finish_timeout": 2}}


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracker]:
    found = Tracker(tmp_path_factory.mktemp("tracker") / "store")
    yield found
    found.stop()


@pytest.fixture
def project(
    tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any
) -> Iterator[str]:
    """A project of the test's own."""
    name = request.node.name.replace("[", "-").rstrip("]")[-60:]
    set_online(monkeypatch, tracker, tmp_path, name)
    yield name
    forget_wandb()


class LogAtEvaluation(Callback):
    """Logs at the end of an evaluation, in the row of the step that comes next."""

    def eval_end(self, state: State, logger: Logger) -> None:
        logger.log_metrics({"evaluated": state.timestamp.batch.value})


def train(folder: Path, duration: str, **arguments: Any) -> WandBLogger:
    logger = WandBLogger(init_kwargs=arguments.pop("init_kwargs", None))
    trainer = make_trainer(
        logger,
        max_duration=duration,
        save_folder=str(folder),
        save_overwrite=True,
        callbacks=LogAtEvaluation(),
        eval_dataloader=make_batches(1),
        **arguments,
    )
    trainer.fit()
    trainer.close()
    return logger


def test_a_resumed_run_goes_on_in_the_same_curves(project: str, tmp_path: Path) -> None:
    first = train(tmp_path / "a", "3ep")
    # As if it had stopped in the third epoch: what came after the checkpoint is done again.
    second = train(tmp_path / "b", "4ep", load_path=str(tmp_path / "a" / "ep2-ba8-rank0.pt"))
    assert second._run_ids == first._run_ids
    (run,) = read_runs(project)
    rows = rows_of(run)
    assert [row["_step"] for row in rows] == list(range(17))
    assert trained_batches(rows) == list(range(16))
    assert [row["time/batch"] for row in rows] == list(range(17))
    # Logged before the checkpoint, in the row that was not over then.
    assert {row["_step"]: row["evaluated"] for row in rows if "evaluated" in row} == {
        4: 4, 8: 8, 12: 12, 16: 16,
    }  # fmt: skip


def test_a_run_that_had_ended_at_its_checkpoint_goes_on(project: str, tmp_path: Path) -> None:
    train(tmp_path / "a", "1ep")
    train(tmp_path / "a", "2ep", autoresume=True)
    (run,) = read_runs(project)
    rows = rows_of(run)
    assert trained_batches(rows) == list(range(8))
    assert [row["_step"] for row in rows] == list(range(9))
    assert [row["evaluated"] for row in rows if "evaluated" in row] == [4, 8]


def test_never_resuming_makes_a_new_run(project: str, tmp_path: Path) -> None:
    train(tmp_path / "a", "1ep")
    options = {"resume": "never"}
    train(
        tmp_path / "b", "2ep", load_path=str(tmp_path / "a" / "ep1-ba4-rank0.pt"),
        init_kwargs=options,
    )  # fmt: skip
    first, second = read_runs(project)
    assert trained_batches(rows_of(first)) == [0, 1, 2, 3]
    assert trained_batches(rows_of(second)) == [4, 5, 6, 7]


def test_a_run_that_the_server_does_not_know_begins_there(project: str, tmp_path: Path) -> None:
    logger = train(tmp_path / "a", "1ep", init_kwargs={"mode": "offline"})
    train(tmp_path / "b", "2ep", load_path=str(tmp_path / "a" / "ep1-ba4-rank0.pt"))
    (run,) = read_runs(project)
    assert run.id == logger._run_ids[0]
    assert trained_batches(rows_of(run)) == [4, 5, 6, 7]


def test_files_are_artifacts_and_come_back(
    project: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logger = WandBLogger(log_artifacts=True)
    trainer = make_trainer(logger)
    trainer.fit()
    assert trainer.logger.has_file_upload_destination()
    for text in ("old", "new"):
        (tmp_path / "model.pt").write_text(text)
        trainer.logger.upload_file("{run_name}/model.pt", tmp_path / "model.pt")
    (tmp_path / "notes.txt").write_text("words")
    trainer.logger.upload_file("notes.txt", tmp_path / "notes.txt")
    trainer.close()
    assert "'the-run/model.pt'" in caplog.text

    (run,) = read_runs(project)
    found = {each.name: each for each in run.logged_artifacts()}
    assert set(found) == {"the-run.model.pt:v0", "the-run.model.pt:v1", "notes.txt:v0"}
    newest = found["the-run.model.pt:v1"]
    assert (newest.type, found["notes.txt:v0"].type) == ("model", "txt")
    assert set(newest.aliases) == {"latest", "ep1-ba4"}
    assert newest.metadata["timestamp/batch"] == 4
    assert newest.metadata["timestamp/total_wct"] > 0

    reader = WandBLogger(project=project, entity="local")
    for name, wanted in (
        ("the-run/model.pt", "new"),
        ("the-run/model.pt:v0", "old"),
        (f"local/{project}/the-run.model.pt:ep1-ba4", "new"),
    ):
        destination = tmp_path / "fetched" / "file"
        reader.download_file(name, str(destination), overwrite=True)
        assert destination.read_text() == wanted
    with pytest.raises(FileExistsError, match="overwrite=True"):
        reader.download_file("notes.txt", str(destination))
    with pytest.raises(FileNotFoundError, match="no artifact"):
        reader.download_file("nothing", str(tmp_path / "nothing"))


def test_with_a_wrong_key_the_run_is_written_to_disk(
    project: str, tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    logger = WandBLogger()
    trainer = make_trainer(logger)
    trainer.fit()
    trainer.close()
    assert "W&B is not reached" in caplog.text
    assert logger.run_dir is not None
    assert f"wandb sync {Path(logger.run_dir).parent}" in caplog.text
    sync(tmp_path, tracker, logger.run_dir)
    monkeypatch.setenv("WANDB_API_KEY", tracker.key)
    (run,) = read_runs(project)
    assert trained_batches(rows_of(run)) == [0, 1, 2, 3]


class KillAt(Callback):
    """Kills a server at an event."""

    def __init__(self, tracker: Tracker, event: Event) -> None:
        self.tracker = tracker
        self.event = event

    def run_event(self, event: Event, state: State, logger: Logger) -> None:
        is_late = state.timestamp.batch >= 2 or event in (Event.FIT_START, Event.INIT)
        if event is self.event and is_late and self.tracker.process.poll() is None:
            self.tracker.kill()


PHASES = [None, Event.FIT_START, Event.BATCH_END, Event.EVAL_START, Event.FIT_END]


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.value if phase else "before")
def test_a_server_that_dies_costs_neither_time_nor_values(
    phase: Event | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tracker = Tracker(tmp_path / "store")
    again: Tracker | None = None
    try:
        set_online(monkeypatch, tracker, tmp_path, "dying")
        if phase is None:
            tracker.kill()
        began = time.monotonic()
        logger = WandBLogger(init_kwargs=QUICK)
        trainer = make_trainer(
            logger,
            callbacks=KillAt(tracker, phase) if phase else None,
            eval_dataloader=make_batches(2),
        )
        trainer.fit()
        trainer.close()
        assert time.monotonic() - began < 100
        assert trainer.state.timestamp.batch == 4
        assert "wandb sync" in caplog.text

        again = Tracker(tmp_path / "store", port=tracker.port)
        sync(tmp_path, again, logger.run_dir)
        (run,) = read_runs("dying")
        rows = rows_of(run)
        assert trained_batches(rows) == [0, 1, 2, 3]
        assert [row["_step"] for row in rows] == [0, 1, 2, 3, 4]
    finally:
        forget_wandb()
        for each in (tracker, again):
            if each is not None and each.process.poll() is None:
                each.kill()


def test_a_user_who_ends_the_run_online_loses_nothing(project: str) -> None:
    class End(Callback):
        def eval_end(self, state: State, logger: Logger) -> None:
            with wandb.init() as run:
                run.log({"mine": 1}, step=state.timestamp.batch.value)

    trainer = make_trainer(
        WandBLogger(), callbacks=End(), eval_dataloader=make_batches(1), max_duration="2ep"
    )
    trainer.fit()
    trainer.close()
    (run,) = read_runs(project)
    rows = rows_of(run)
    assert trained_batches(rows) == list(range(8))
    assert sum("mine" in row for row in rows) == 2
    assert TRAINED in run.summary
