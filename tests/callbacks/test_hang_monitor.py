"""What is said when training has stopped moving, and how it ends."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from composer.callbacks._hang_report import RankReport, explain, write_flight_record
from composer.callbacks.hang_monitor import HANG_EXIT_CODE, HangMonitor
from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.logger_destination import LoggerDestination
from composer.core.state import State
from composer.errors import ConfigError
from composer.utils.host import get_free_tcp_port
from tests.house.source import REPOSITORY
from tests.trainer._runs import loader, make_trainer

AT_WORK = RankReport(0, "here", 7, "epoch 0", 9.0, 12, "barrier", 0, 0.0, "File x")


class SleepOnce(Callback):
    """Sleeps before one batch."""

    def __init__(self, seconds: float, batch: int = 2) -> None:
        self.seconds, self.batch = seconds, batch

    def after_dataloader(self, state: State, logger: Logger) -> None:
        if state.timestamp.batch == self.batch:
            time.sleep(self.seconds)


class Tracker(LoggerDestination):
    """Keeps tables and files."""

    def __init__(self) -> None:
        self.tables: dict[str, list[list[Any]]] = {}
        self.files: dict[str, str] = {}

    def log_table(
        self, columns: list[str], rows: list[list[Any]], name: str = "Table",
        step: int | None = None,
    ) -> None:  # fmt: skip
        self.tables[name] = rows

    def upload_file(
        self, state: State, remote_file_name: str, file_path: Path, *, overwrite: bool
    ) -> None:
        self.files[remote_file_name] = file_path.read_text("utf-8")

    def can_upload_files(self) -> bool:
        return True


def test_a_run_that_stands_still_is_reported_once_and_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monitor = HangMonitor(0.4, exit_on_hang=False, folder=str(tmp_path))
    tracker = Tracker()
    with caplog.at_level(logging.ERROR):
        trainer = make_trainer(
            callbacks=[monitor, SleepOnce(2.5)], loggers=tracker, run_name="a-run"
        )
        trainer.fit()
        trainer.close()
    assert trainer.state.timestamp.epoch == 1
    assert caplog.text.count("training hangs:") == 1
    assert "No rank waits in a collective" in caplog.text
    report = (tmp_path / "report.txt").read_text("utf-8")
    assert "after_dataloader" in report
    assert "in sleep" in report or "test_hang_monitor.py" in report
    assert "after_dataloader" in (tmp_path / "rank0.txt").read_text("utf-8")
    assert tracker.tables["hang"][0][0] == 0
    assert tracker.files["a-run/hang/report.txt"] == report


def test_pauses_between_calls_are_no_hang(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    monitor = HangMonitor(0.2, exit_on_hang=False, folder=str(tmp_path))
    trainer = make_trainer(callbacks=monitor, eval_dataloader=loader())
    for call in (trainer.fit, trainer.eval, lambda: trainer.predict(loader())):
        call()
        time.sleep(0.5)
    trainer.close()
    assert not list(tmp_path.iterdir())


def test_an_error_that_was_caught_is_no_hang(tmp_path: Path) -> None:
    class Failing(Callback):
        def batch_end(self, state: State, logger: Logger) -> None:
            raise RuntimeError("over")

    monitor = HangMonitor(0.2, exit_on_hang=False, folder=str(tmp_path))
    trainer = make_trainer(callbacks=[monitor, Failing()])
    with pytest.raises(RuntimeError, match="over"):
        trainer.fit()
    time.sleep(0.6)
    assert not list(tmp_path.iterdir())
    trainer.close()


def test_the_first_batch_may_take_longer(tmp_path: Path) -> None:
    monitor = HangMonitor(0.2, first_timeout_s=60.0, exit_on_hang=False, folder=str(tmp_path))
    trainer = make_trainer(callbacks=[monitor, SleepOnce(0.6, batch=0)], max_duration="1ba")
    trainer.fit()
    trainer.close()
    assert not list(tmp_path.iterdir())


# What the reports say.


def test_the_rank_that_does_not_come_is_named() -> None:
    waiting = [
        replace(AT_WORK, rank=rank, count=13, name="all_reduce", waiting_in=13, waiting_s=8.0)
        for rank in (0, 2)
    ]
    late = replace(AT_WORK, rank=1, count=12, name="barrier")
    text = explain([waiting[0], late, waiting[1]], 3)
    assert "ranks 0, 2 in collective 13 (all_reduce), waiting for rank 1 to begin it" in text
    assert "rank 1 (here, process 7)" in text


def test_a_rank_without_a_report_is_named() -> None:
    text = explain([AT_WORK], 3)
    assert "ranks 1, 2 gave no report" in text


def test_a_report_survives_as_text() -> None:
    assert RankReport.from_json(AT_WORK.to_json()) == AT_WORK


def test_the_flight_recorder_is_written_where_it_holds_something(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "record.json"
    assert write_flight_record(str(path)) is False
    record = b'{"entries": [{"profiling_name": "nccl:all_reduce"}]}'
    monkeypatch.setattr(torch._C._distributed_c10d, "_dump_fr_trace_json", lambda: record)
    assert write_flight_record(str(path)) is True
    assert "nccl:all_reduce" in path.read_text("utf-8")


@pytest.mark.parametrize("name", ["timeout_s", "first_timeout_s", "grace_s"])
def test_times_that_are_not_positive_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        HangMonitor(**{name: 0.0})


# With real processes.

PROGRAM = """
import os, signal, sys, time
import torch
from torch.utils.data import DataLoader, TensorDataset
from composer import Trainer
from composer.callbacks import HangMonitor
from composer.core import Callback
from composer.loggers import FileLogger
from composer.models import ComposerClassifier
from composer.utils import dist

folder, how = sys.argv[1:]

class Stop(Callback):
    def after_dataloader(self, state, logger):
        if state.timestamp.batch == 3 and dist.get_global_rank() == 1:
            open(os.path.join(folder, "stuck"), "w").close()
            if how == "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            never_comes_back()

def never_comes_back():
    time.sleep(1000)

dist.initialize_dist("cpu", timeout=600.0)
data = TensorDataset(torch.randn(64, 4), torch.zeros(64, dtype=torch.int64))
Trainer(
    model=ComposerClassifier(torch.nn.Linear(4, 2), num_classes=2),
    train_dataloader=DataLoader(data, 4, sampler=dist.get_sampler(data)),
    max_duration="5ep", device="cpu", progress_bar=False, run_name="hanging",
    callbacks=[HangMonitor(3.0, first_timeout_s=60.0, folder=folder, grace_s=3.0), Stop()],
    loggers=FileLogger(os.path.join(folder, "log-rank{rank}.txt")),
).fit()
"""


def start_two_ranks(folder: Path, how: str) -> list[subprocess.Popen[str]]:
    port = get_free_tcp_port()
    processes = []
    for rank in range(2):
        contract = {
            "RANK": rank, "WORLD_SIZE": 2, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": 2,
            "NODE_RANK": 0, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
            "OMP_NUM_THREADS": 1,
        }  # fmt: skip
        environment = os.environ | {name: str(value) for name, value in contract.items()}
        environment.setdefault("PYTHONPATH", str(REPOSITORY))
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(folder), how],
                env=environment, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
    return processes


def end(processes: list[subprocess.Popen[str]]) -> list[str]:
    try:
        return [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()


def test_two_processes_say_who_is_missing_and_end_with_their_own_code(tmp_path: Path) -> None:
    processes = start_two_ranks(tmp_path, "sleep")
    errors = end(processes)
    assert [process.returncode for process in processes] == [HANG_EXIT_CODE] * 2, errors
    report = (tmp_path / "report.txt").read_text("utf-8")
    assert "waiting for rank 1 to begin it" in report
    assert "never_comes_back" in report.split("--- rank 1 ---")[1]
    assert "never_comes_back" in (tmp_path / "rank1.txt").read_text("utf-8")
    assert "training hangs" in errors[0]
    assert "hang" in (tmp_path / "log-rank0.txt").read_text("utf-8")


@pytest.mark.full
def test_a_process_that_was_stopped_is_missed_by_the_others(tmp_path: Path) -> None:
    processes = start_two_ranks(tmp_path, "stop")
    try:
        error = processes[0].communicate(timeout=120)[1]
    finally:
        processes[1].send_signal(signal.SIGKILL)
        processes[1].communicate()
    assert processes[0].returncode == HANG_EXIT_CODE
    assert "rank 1 gave no report" in error
