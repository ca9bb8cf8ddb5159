"""How checkpoints get into a folder, and what may go wrong on the way."""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import threading
import time
from typing import Any

import pytest
import torch

from composer.checkpoint import container
from composer.checkpoint.load_run import read_checkpoint
from composer.checkpoint.manager import CheckpointManager
from composer.checkpoint.manifest import Manifests, Record
from composer.checkpoint.newest import find_newest_valid
from composer.checkpoint.retention import Retention
from composer.errors import CheckpointError, CheckpointNotFoundError
from tests.checkpoint._folders import checkpoints_in, left_aside, visible_files

SERIES = "ba{batch}.pt"


def make_manager(folder: pathlib.Path, **kwargs: Any) -> CheckpointManager:
    kwargs.setdefault("latest", "latest.pt")
    return CheckpointManager(str(folder), "run", SERIES, **kwargs)


def save(manager: CheckpointManager, batch: int, **kwargs: Any) -> None:
    contents = {"state": {"model": {"weight": torch.full((1000,), float(batch))}}}
    manager.save(contents, f"ba{batch}.pt", timestamp={"batch": batch}, **kwargs)


class Gate:
    """Holds up writing until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_open = threading.Event()
        self.reached = threading.Event()
        write = container.monolith.write

        def wait_and_write(contents: Any, file: Any) -> None:
            self.reached.set()
            assert self.is_open.wait(60)
            write(contents, file)

        monkeypatch.setattr(container.monolith, "write", wait_and_write)


def test_a_save_returns_before_anything_is_written(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    manager = make_manager(tmp_path)
    save(manager, 1)
    assert gate.reached.wait(60)
    assert manager.is_saving
    assert visible_files(tmp_path) == set()
    gate.is_open.set()
    manager.wait()
    assert visible_files(tmp_path) == {"ba1.pt", "latest.pt"}
    assert left_aside(tmp_path) == []


def test_what_is_written_is_the_state_at_the_time_of_the_save(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    manager = make_manager(tmp_path)
    contents: dict[str, Any] = {"state": {"weight": torch.ones(10), "seen": [1]}}
    manager.save(contents, "ba1.pt", timestamp={})
    contents["state"]["weight"].zero_()
    contents["state"]["seen"].append(2)
    gate.is_open.set()
    manager.wait()
    found = read_checkpoint(str(tmp_path / "ba1.pt"))["state"]
    assert found["weight"].sum() == 10
    assert found["seen"] == [1]


def test_one_save_is_under_way_and_the_next_one_waits(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    manager = make_manager(tmp_path)
    save(manager, 1)
    threading.Timer(0.3, gate.is_open.set).start()
    start = time.perf_counter()
    save(manager, 2)
    assert time.perf_counter() - start > 0.2
    assert (tmp_path / "ba1.pt").exists()
    manager.wait()


def test_what_fails_beside_training_is_raised_once_at_the_next_check(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = make_manager(tmp_path)
    save(manager, 1)
    manager.wait()

    def fail(contents: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(container.monolith, "write", fail)
        save(manager, 2)
        while manager.is_saving:
            time.sleep(0.01)
        with pytest.raises(OSError, match="No space left"):
            manager.check()
    manager.check()
    assert visible_files(tmp_path) == {"ba1.pt", "latest.pt"}
    assert os.readlink(tmp_path / "latest.pt") == "ba1.pt"
    assert left_aside(tmp_path) == []
    save(manager, 3)
    manager.finish()
    assert os.readlink(tmp_path / "latest.pt") == "ba3.pt"


def test_what_cannot_be_written_is_refused_before_training_goes_on(tmp_path: pathlib.Path) -> None:
    manager = make_manager(tmp_path)
    with pytest.raises(CheckpointError, match="state/callbacks/Mine"):
        manager.save({"state": {"callbacks": {"Mine": object()}}}, "ba1.pt", timestamp={})


def test_without_async_everything_is_there_at_once(tmp_path: pathlib.Path) -> None:
    manager = make_manager(tmp_path, is_async=False)
    save(manager, 1)
    assert visible_files(tmp_path) == {"ba1.pt", "latest.pt"}


def test_the_manifest_says_what_was_written(tmp_path: pathlib.Path) -> None:
    manager = make_manager(tmp_path)
    save(manager, 1, metrics={"loss/train/total": torch.tensor(0.5)})
    save(manager, 2)
    manager.wait()
    first, second = Manifests(str(tmp_path)).all()
    assert (first.name, first.sequence, first.metrics) == ("ba1.pt", 1, {"loss/train/total": 0.5})
    assert (second.sequence, second.timestamp, second.run_name) == (2, {"batch": 2}, "run")
    assert second.size == (tmp_path / "ba2.pt").stat().st_size


def test_what_is_outdated_goes_once_the_new_one_is_there(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = make_manager(tmp_path, retention=Retention(1))
    save(manager, 1)
    manager.wait()
    gate = Gate(monkeypatch)
    save(manager, 2)
    assert gate.reached.wait(60)
    assert checkpoints_in(tmp_path) == {"ba1.pt"}
    gate.is_open.set()
    manager.wait()
    assert checkpoints_in(tmp_path) == {"ba2.pt"}
    assert [record.name for record in Manifests(str(tmp_path)).all()] == ["ba2.pt"]


def test_held_and_pinned_ones_stay(tmp_path: pathlib.Path) -> None:
    manager = make_manager(tmp_path, retention=Retention(1))
    save(manager, 1)
    manager.pin("ba1.pt")
    save(manager, 2, hold=True)
    save(manager, 3)
    manager.wait()
    assert checkpoints_in(tmp_path) == {"ba1.pt", "ba2.pt", "ba3.pt"}
    manager.release(["ba2.pt"])
    manager.finish()
    assert checkpoints_in(tmp_path) == {"ba1.pt", "ba3.pt"}
    manager.close()
    again = make_manager(tmp_path, retention=Retention(1))
    save(again, 4)
    again.finish()
    assert checkpoints_in(tmp_path) == {"ba1.pt", "ba4.pt"}
    again.pin("ba1.pt", pinned=False)
    again.finish()
    assert checkpoints_in(tmp_path) == {"ba4.pt"}
    with pytest.raises(CheckpointNotFoundError, match=r"'ba9\.pt'"):
        again.pin("ba9.pt")


def test_an_uploader_gets_a_checkpoint_before_it_may_be_deleted(tmp_path: pathlib.Path) -> None:
    class Uploader:
        def __init__(self) -> None:
            self.queued: list[str] = []
            self.has_waited = False

        def upload(self, folder: str, record: Record) -> None:
            assert all(os.path.exists(os.path.join(folder, part.name)) for part in record.files)
            self.queued.append(record.name)

        def check(self) -> None:
            pass

        def wait(self) -> None:
            self.has_waited = True

        def close(self) -> None:
            pass

    uploader = Uploader()
    manager = make_manager(tmp_path, retention=Retention(0), uploader=uploader)
    for batch in (1, 2, 3):
        save(manager, batch)
    manager.finish()
    assert uploader.queued == ["ba1.pt", "ba2.pt", "ba3.pt"]
    assert uploader.has_waited
    assert checkpoints_in(tmp_path) == set()


def test_one_name_may_be_used_again_and_again(tmp_path: pathlib.Path) -> None:
    manager = CheckpointManager(str(tmp_path), "run", "model.pt", retention=Retention(1))
    for value in (1.0, 2.0):
        manager.save({"state": {"x": value}}, "model.pt", timestamp={})
    manager.finish()
    assert read_checkpoint(str(tmp_path / "model.pt"))["state"]["x"] == 2.0
    assert [record.sequence for record in manager.records] == [2]


def test_other_runs_and_other_series_are_left_alone(tmp_path: pathlib.Path) -> None:
    first = make_manager(tmp_path)
    save(first, 1)
    first.finish()
    first.close()
    other_run = CheckpointManager(str(tmp_path), "other", SERIES, retention=Retention(1))
    other_series = CheckpointManager(str(tmp_path), "run", "w{batch}.pt", retention=Retention(1))
    for manager, name in ((other_run, "ba2.pt"), (other_series, "w3.pt")):
        manager.save({"state": {}}, name, timestamp={})
        manager.finish()
    assert checkpoints_in(tmp_path) == {"ba1.pt", "ba2.pt", "w3.pt"}
    other_run.adopt(["ba1.pt"])
    other_run.finish()
    assert checkpoints_in(tmp_path) == {"ba2.pt", "w3.pt"}


def test_what_was_left_aside_is_removed_by_the_next_run(tmp_path: pathlib.Path) -> None:
    aside = tmp_path / ".composer" / "aside" / "1234"
    aside.mkdir(parents=True)
    (aside / "ba1.pt").write_bytes(b"half")
    make_manager(tmp_path)
    assert left_aside(tmp_path) == []


def _take(folder: str, answers: Any) -> None:
    try:
        CheckpointManager(folder, "second", SERIES)
    except CheckpointError as error:
        answers.put(str(error))
    else:
        answers.put("taken")


def test_a_second_process_is_refused_and_told_who_is_there(tmp_path: pathlib.Path) -> None:
    context = multiprocessing.get_context("fork")
    answers: Any = context.Queue()

    def ask() -> str:
        process = context.Process(target=_take, args=(str(tmp_path), answers))
        process.start()
        answer = answers.get(timeout=60)
        process.join()
        return answer

    manager = make_manager(tmp_path)
    again = make_manager(tmp_path)
    assert "in use by the run 'run' (process" in ask()
    manager.close()
    assert "in use" in ask()
    again.close()
    assert ask() == "taken"


def test_order_is_that_of_saving_whatever_the_clock_says(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = make_manager(tmp_path, retention=Retention(2))
    now = 2e9
    for batch in range(1, 5):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        save(manager, batch)
        manager.wait()
        os.utime(tmp_path / f"ba{batch}.pt", (now, now))
        now -= 1e6
    assert checkpoints_in(tmp_path) == {"ba3.pt", "ba4.pt"}
    found = find_newest_valid(str(tmp_path), SERIES, "latest.pt")
    assert found.path == str(tmp_path / "ba4.pt")
