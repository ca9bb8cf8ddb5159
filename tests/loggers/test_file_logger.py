from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from composer.core.algorithm import Algorithm
from composer.core.callback import Callback
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.logger_destination import LoggerDestination
from composer.core.state import State
from composer.loggers.file_logger import FileLogger
from tests.loggers._runs import make_batches, make_trainer


class Store(LoggerDestination):
    """Keeps what is uploaded, as it was then."""

    def __init__(self) -> None:
        self.files: list[tuple[str, str, bool]] = []

    def upload_file(
        self, state: State, remote_file_name: str, file_path: Path, *, overwrite: bool
    ) -> None:
        self.files.append((remote_file_name, file_path.read_text(), overwrite))

    def can_upload_files(self) -> bool:
        return True


class Print(Callback):
    """Prints something at the end of each batch."""

    def __init__(self, text: str, stream: str = "stdout", end: str = "\n") -> None:
        self.text, self.stream, self.end = text, stream, end

    def batch_end(self, state: State, logger: Logger) -> None:
        print(self.text, file=getattr(sys, self.stream), end=self.end)


def run(folder: Path, *loggers: Any, **arguments: Any) -> list[str]:
    """Train one epoch, and return the lines of the file."""
    options = arguments.pop("options", {})
    destination = FileLogger(f"{folder}/log.txt", **options)
    trainer = make_trainer([destination, *loggers], **arguments)
    trainer.fit()
    trainer.close()
    return (folder / "log.txt").read_text(encoding="utf-8").splitlines()


def test_metrics_have_the_batch_count_at_which_they_were_logged(tmp_path: Path) -> None:
    class Log(Callback):
        def batch_end(self, state: State, logger: Logger) -> None:
            logger.log_metrics({"mine/ratio": 0.25, "mine/count": 3, "mine/text": "a\nb"})

    lines = run(tmp_path, callbacks=Log(), num_batches=2)
    assert [line for line in lines if "mine" in line] == [
        line
        for n in (1, 2)
        for line in (
            f"[metric][batch={n}]: mine/ratio: 0.2500",
            f"[metric][batch={n}]: mine/count: 3",
            f'[metric][batch={n}]: mine/text: "a',
        )
    ]
    assert '[metric][batch=1]: b"' in lines
    assert "[metric][batch=0]: time/batch: 0" in lines
    assert "[metric][batch=1]: time/batch: 1" in lines


def test_hyperparameters_are_written(tmp_path: Path) -> None:
    lines = run(tmp_path)
    assert "[hyperparameter]: rank_zero_seed: 1" in lines


def test_tables_are_written_as_json(tmp_path: Path) -> None:
    class Log(Callback):
        def fit_start(self, state: State, logger: Logger) -> None:
            logger.log_table(["a", "b"], [[1, "x"]], name="Samples")

    expected = '[table]: Samples: {"columns":["a","b"],"data":[[1,"x"]]}'
    assert expected in run(tmp_path, callbacks=Log())


@pytest.mark.parametrize("log_traces", [False, True])
def test_traces_are_written_unless_switched_off(tmp_path: Path, log_traces: bool) -> None:
    class Act(Algorithm):
        events: ClassVar = {Event.FIT_END: "act"}

        def act(self, state: State, logger: Logger) -> None:
            pass

    lines = run(tmp_path, algorithms=Act(), options={"log_traces": log_traces})
    assert ("[trace]: algorithm_traces/Act/fit_end: 1" in lines) is log_traces


# Names and files.


def test_names_are_filled_in(tmp_path: Path) -> None:
    destination = FileLogger(
        f"{tmp_path}/{{run_name}}/logs-rank{{rank}}.txt", "{run_name}/log-of-{rank}.txt"
    )
    make_trainer(destination).close()
    assert destination.filename == f"{tmp_path}/the-run/logs-rank0.txt"
    assert destination.remote_file_name == "the-run/log-of-0.txt"
    assert Path(destination.filename).is_file()


def test_names_are_not_known_before_the_run() -> None:
    destination = FileLogger(remote_file_name="log.txt")
    for name in ("filename", "remote_file_name"):
        with pytest.raises(RuntimeError, match="cannot be filled in yet"):
            getattr(destination, name)


def test_a_file_without_a_folder_lies_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_trainer(FileLogger("log.txt")).close()
    assert (tmp_path / "log.txt").is_file()


def test_what_is_logged_before_the_run_is_kept_for_it(tmp_path: Path) -> None:
    destination = FileLogger(f"{tmp_path}/log.txt")
    destination.log_hyperparameters({"early": 1})
    make_trainer(destination).close()
    assert (tmp_path / "log.txt").read_text().startswith("[hyperparameter]: early: 1\n")


def test_a_file_that_exists_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("precious")
    with pytest.raises(FileExistsError, match=r"log\.txt.*exists already.*overwrite=True"):
        make_trainer(FileLogger(f"{tmp_path}/log.txt"))
    assert (tmp_path / "log.txt").read_text() == "precious"


def test_stdout_is_left_alone_where_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("precious")
    before = sys.stdout.write
    with pytest.raises(FileExistsError):
        make_trainer(FileLogger(f"{tmp_path}/log.txt"))
    assert sys.stdout.write == before


def test_a_file_may_be_replaced_where_that_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("precious")
    assert "precious" not in run(tmp_path, options={"overwrite": True})


@pytest.mark.parametrize("name", ["flush_interval", "buffer_size"])
def test_a_number_that_makes_no_sense_is_refused(name: str) -> None:
    options: dict[str, Any] = {name: -2}
    with pytest.raises(ValueError, match=f"{name}=-2 must be"):
        FileLogger(**options)


# When.


def test_each_line_is_written_at_once_by_default(tmp_path: Path) -> None:
    lines: list[str] = []

    class Read(Callback):
        def batch_checkpoint(self, state: State, logger: Logger) -> None:
            lines[:] = (tmp_path / "log.txt").read_text().splitlines()

    run(tmp_path, callbacks=Read(), num_batches=3)
    assert "[metric][batch=2]: time/batch: 2" in lines


def test_the_file_is_forced_to_disk_at_intervals_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forced: list[int] = []

    class Count(Callback):
        num_batches = 0

        def before_dataloader(self, state: State, logger: Logger) -> None:
            Count.num_batches = state.timestamp.batch_in_epoch.value

    monkeypatch.setattr(os, "fsync", lambda file: forced.append(Count.num_batches))
    run(tmp_path, callbacks=Count(), num_batches=9, options={"flush_interval": 4})
    # The start of the epoch, twice in it, the end of the run, and closing.
    assert len(forced) == 5


def test_the_file_is_uploaded_when_it_is_flushed(tmp_path: Path) -> None:
    store = Store()
    options = {"remote_file_name": "{run_name}.txt", "flush_interval": 2}
    run(tmp_path, store, options=options, eval_dataloader=make_batches(1))
    assert {(name, overwrite) for name, _, overwrite in store.files} == {("the-run.txt", True)}
    # The start of the epoch, two batches of four, the evaluation, the end, closing.
    assert len(store.files) == 6
    assert store.files[-1][1] == (tmp_path / "log.txt").read_text()


def test_the_end_of_training_has_everything(tmp_path: Path) -> None:
    store = Store()
    trainer = make_trainer([FileLogger(f"{tmp_path}/log.txt", "log.txt"), store])
    trainer.fit()
    assert "[metric][batch=4]: time/batch: 4\n" in store.files[-1][1]
    trainer.close()


def test_nothing_is_uploaded_without_a_remote_name(tmp_path: Path) -> None:
    store = Store()
    run(tmp_path, store)
    assert store.files == []


# What is printed.


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_what_is_printed_is_written_and_still_printed(
    tmp_path: Path, stream: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = run(tmp_path, callbacks=Print("one\n\ntwo", stream), num_batches=1)
    assert [line for line in lines if line.startswith(f"[{stream}]")] == [
        f"[{stream}]: one",
        f"[{stream}]: ",
        f"[{stream}]: two",
    ]
    assert getattr(capsys.readouterr(), stream[3:]) == "one\n\ntwo\n"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_capturing_can_be_switched_off(tmp_path: Path, stream: str) -> None:
    options = {f"capture_{stream}": False}
    lines = run(tmp_path, callbacks=Print("one", stream), options=options)
    assert f"[{stream}]: one" not in lines


def test_a_line_printed_in_pieces_is_one_line(tmp_path: Path) -> None:
    lines = run(tmp_path, callbacks=Print("piece ", end=""), num_batches=3)
    assert lines[-1] == "[stdout]: piece piece piece "


def test_of_a_line_drawn_over_the_last_state_is_written(tmp_path: Path) -> None:
    class Draw(Callback):
        def batch_end(self, state: State, logger: Logger) -> None:
            sys.stderr.write(f"\r{state.timestamp.batch.value} of 3")

        def epoch_end(self, state: State, logger: Logger) -> None:
            sys.stderr.write("\x1b[A\n")

    lines = run(tmp_path, callbacks=Draw(), num_batches=3)
    assert [line for line in lines if line.startswith("[stderr]")] == ["[stderr]: 3 of 3"]


def test_a_line_that_ends_as_on_windows_is_kept(tmp_path: Path) -> None:
    lines = run(tmp_path, callbacks=Print("one", end="\r\n"), num_batches=1)
    assert "[stdout]: one" in lines


def test_log_messages_are_captured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handler = logging.StreamHandler(sys.stderr)
    log = logging.getLogger("tests.loggers.of-a-user")
    log.addHandler(handler)

    class Warn(Callback):
        def fit_start(self, state: State, logger: Logger) -> None:
            log.warning("something is odd")

    try:
        assert "[stderr]: something is odd" in run(tmp_path, callbacks=Warn())
    finally:
        log.removeHandler(handler)
    assert capsys.readouterr().err == "something is odd\n"


def test_text_that_is_not_valid_is_escaped(tmp_path: Path) -> None:
    destination = FileLogger(f"{tmp_path}/log.txt")
    trainer = make_trainer(destination)
    destination.write("[note]: ", "\udcff größe")
    trainer.close()
    assert "[note]: \\udcff größe\n" in (tmp_path / "log.txt").read_text(encoding="utf-8")


def test_stdout_and_stderr_are_given_back_at_close(tmp_path: Path) -> None:
    # Libraries that capture output too may have replaced `write` before: theirs stays, or none.
    own = vars(sys.stdout).get("write")
    before = sys.stdout.write, sys.stderr.write
    trainer = make_trainer(FileLogger(f"{tmp_path}/log.txt"))
    assert (sys.stdout.write, sys.stderr.write) != before
    trainer.close()
    assert (sys.stdout.write, sys.stderr.write) == before
    assert vars(sys.stdout).get("write") is own


def test_stdout_is_given_back_after_an_error(tmp_path: Path) -> None:
    before = sys.stdout.write

    class Fail(Callback):
        def batch_end(self, state: State, logger: Logger) -> None:
            raise RuntimeError("on purpose")

    trainer = make_trainer(FileLogger(f"{tmp_path}/log.txt"), callbacks=Fail())
    with pytest.raises(RuntimeError, match="on purpose"):
        trainer.fit()
    assert sys.stdout.write != before
    trainer.close()
    assert sys.stdout.write == before


def test_stdout_is_given_back_where_the_last_upload_fails(tmp_path: Path) -> None:
    before = sys.stdout.write

    class Broken(Store):
        def upload_file(self, *args: Any, **kwargs: Any) -> None:
            raise OSError("the network is gone")

    destination = FileLogger(f"{tmp_path}/log.txt", "log.txt")
    trainer = make_trainer([destination, Broken()])
    trainer.close()
    assert sys.stdout.write == before


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_of_them_can_be_closed_in_any_order(tmp_path: Path, order: tuple[int, int]) -> None:
    before = sys.stdout.write
    trainers = [make_trainer(FileLogger(f"{tmp_path}/{n}.txt")) for n in range(2)]
    print("to both")
    trainers[order[0]].close()
    print("to the other")
    trainers[order[1]].close()
    print("to neither")
    texts = [(tmp_path / f"{n}.txt").read_text() for n in order]
    assert ["to both" in text for text in texts] == [True, True]
    assert ["to the other" in text for text in texts] == [False, True]
    assert ["to neither" in text for text in texts] == [False, False]
    assert sys.stdout.write == before


def test_nothing_is_written_after_close(tmp_path: Path) -> None:
    destination = FileLogger(f"{tmp_path}/log.txt")
    trainer = make_trainer(destination)
    trainer.close()
    before = (tmp_path / "log.txt").read_text()
    destination.log_metrics({"late": torch.tensor(1.0)}, 3)
    destination.close(trainer.state, trainer.logger)
    assert (tmp_path / "log.txt").read_text() == before
