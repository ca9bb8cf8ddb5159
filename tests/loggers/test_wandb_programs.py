"""The programs users have, run as they stand: offline, and against a tracker."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb

from tests.loggers import programs
from tests.loggers._wandb import read_runs, rows_of, set_online, sync, trained_batches
from tests.tracking.tracker import Tracker

pytest.importorskip("starlette", reason="the tracker needs the extra 'tracking'")
pytest.importorskip("graphql", reason="the tracker needs the extra 'tracking'")

modes = pytest.mark.parametrize("mode", ["online", "offline"])
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracker]:
    found = Tracker(tmp_path_factory.mktemp("tracker") / "store")
    yield found
    found.stop()


@pytest.fixture
def run(tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Returns what runs a program, and returns its run."""

    def run_program(program: Callable[[], None], mode: str, project: str | None = None) -> Any:
        own_project = f"{program.__name__}-{mode}"
        set_online(monkeypatch, tracker, tmp_path, own_project)
        monkeypatch.setenv("WANDB_MODE", mode)
        monkeypatch.chdir(tmp_path)
        program()
        # As W&B does by itself where a program ends.
        wandb.finish()
        if mode == "offline":
            sync(tmp_path, tracker)
        monkeypatch.delenv("WANDB_MODE")
        return read_runs(project or own_project)[-1]

    return run_program


@modes
def test_a_trainer_with_a_plain_logger(run: Run, mode: str) -> None:
    found = run(programs.plain, mode)
    rows = rows_of(found)
    assert found.state == "finished"
    assert trained_batches(rows) == list(range(10))
    assert [row["_step"] for row in rows] == list(range(11))
    evaluated = [row["_step"] for row in rows if "metrics/eval/MulticlassAccuracy" in row]
    assert evaluated == [5, 10]


@modes
def test_a_project_with_artifacts(run: Run, mode: str) -> None:
    found = run(programs.artifacts, mode, "gpt-5")
    assert trained_batches(rows_of(found)) == list(range(10))


@modes
def test_notes_and_config(run: Run, mode: str) -> None:
    found = run(programs.options, mode)
    assert found.notes == "higher learning rate in this experiment"
    assert (found.config["arch"], found.config["use_mixed_precision"]) == ("Llama", True)
    assert trained_batches(rows_of(found)) == list(range(10))


def check_predictions(found: Any) -> None:
    rows = rows_of(found)
    assert trained_batches(rows) == list(range(15))
    assert sum("metrics/eval/MulticlassAccuracy" in row for row in rows) == 3
    tables = [row["sample_table"] for row in rows if "sample_table" in row]
    assert [(table["nrows"], table["ncols"]) for table in tables] == [(0, 3), (0, 3), (20, 3)]
    files = {file.name: file.size for file in found.files()}
    assert files[tables[-1]["path"]] > 0


@modes
def test_a_table_of_predictions(run: Run, mode: str) -> None:
    check_predictions(run(programs.predictions, mode))


def test_a_program_that_ends_without_closing_its_trainer_loses_nothing(
    tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"PYTHONPATH": os.pathsep.join(sys.path), "WANDB_PROJECT": "by-itself"}
    done = subprocess.run(
        [sys.executable, programs.__file__, "predictions"],
        env=tracker.environment(tmp_path) | variables, cwd=tmp_path, capture_output=True,
        text=True, timeout=150, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Traceback" not in done.stderr
    set_online(monkeypatch, tracker, tmp_path, "by-itself")
    (found,) = read_runs("by-itself")
    assert found.state == "finished"
    check_predictions(found)
