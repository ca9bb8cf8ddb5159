"""What may happen to a run and its checkpoints, and that the resumed run is the same run.

A child process trains and is killed at random moments, many of them inside a save, and started
again. In the end its weights are compared with those of a run left in peace, to the bit.
"""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from composer.checkpoint.manifest import Manifests, find_defect
from composer.checkpoint.newest import find_newest_valid
from composer.errors import CheckpointError, CorruptCheckpointError
from composer.trainer.trainer import Trainer
from tests._dist import PRELOADED
from tests.checkpoint._folders import checkpoints_in, left_aside
from tests.checkpoint._small_run import (
    DISK_FULL,
    SERIES,
    make_trainer,
    train,
    train_until_the_disk_is_full,
    weights_of,
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    trainer = make_trainer(tmp_path_factory.mktemp("undisturbed"))
    trainer.fit()
    trainer.close()
    return weights_of(trainer)


def assert_same(trainer: Trainer, weights: dict[str, torch.Tensor]) -> None:
    found = weights_of(trainer)
    assert found.keys() == weights.keys()
    # Random states are put back when training goes on, not before.
    was_over = trainer.state.previous_timestamp is None
    for name, tensor in weights.items():
        if name == "rng" and was_over:
            continue
        assert torch.equal(found[name], tensor), name


def run_partly(folder: pathlib.Path, num_batches: int = 6) -> None:
    trainer = make_trainer(folder, max_duration=f"{num_batches}ba")
    trainer.fit()
    trainer.close()


def newest(folder: pathlib.Path) -> pathlib.Path:
    return max(folder.glob("ba*.pt"), key=lambda path: int(path.stem[2:]))


def finish(folder: pathlib.Path) -> Trainer:
    trainer = make_trainer(folder)
    # It may have been killed after its last save.
    if not trainer.state.is_training_done:
        trainer.fit()
    trainer.close()
    return trainer


def start_child(function: Callable[..., None], *args: Any) -> Any:
    """Start a process in which torch is loaded already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, "tests.checkpoint._small_run"])
    child = context.Process(target=function, args=args)
    child.start()
    return child


def kill_at_random_moments(folder: pathlib.Path, num_kills: int, seed: int) -> int:
    """Kill a run again and again, and check after each time that nothing is lost.

    Returns:
        How often it was killed before it had finished.
    """
    random_moment = random.Random(seed)
    kept: set[str] = set()
    for number in range(num_kills):
        child = start_child(train, folder)
        before = len(list(folder.glob("ba*.pt")))
        deadline = time.monotonic() + 120
        while child.is_alive() and len(list(folder.glob("ba*.pt"))) == before:
            assert time.monotonic() < deadline, "the run does not save"
            time.sleep(0.001)
        time.sleep(random_moment.uniform(0, 0.03))
        child.kill()
        child.join()
        records = Manifests(str(folder)).all()
        whole = {each.name for each in records if find_defect(str(folder), each) is None}
        assert kept <= whole, "a checkpoint that was there is gone"
        assert checkpoints_in(folder) <= whole
        kept = whole
        if child.exitcode == 0:
            return number
    return num_kills


@pytest.mark.parametrize(
    "num_kills", [10, pytest.param(50, marks=[pytest.mark.full, pytest.mark.timeout(900)])]
)
def test_killed_at_random_moments_it_ends_as_if_nothing_had_happened(
    tmp_path: pathlib.Path, undisturbed: dict[str, torch.Tensor], num_kills: int
) -> None:
    killed, number = 0, 0
    while killed < num_kills:
        number += 1
        assert number <= num_kills, "the runs end before they can be killed"
        folder = tmp_path / str(number)
        folder.mkdir()
        killed += kill_at_random_moments(folder, num_kills - killed, seed=number)
        assert_same(finish(folder), undisturbed)
        assert left_aside(folder) == []


def test_killed_between_manifest_and_name_the_one_before_is_taken(
    tmp_path: pathlib.Path, undisturbed: dict[str, torch.Tensor]
) -> None:
    run_partly(tmp_path)
    newest(tmp_path).unlink()
    trainer = make_trainer(tmp_path)
    assert trainer.state.timestamp.batch == 5
    trainer.fit()
    trainer.close()
    assert_same(trainer, undisturbed)


def test_killed_in_its_first_save_it_starts_from_the_beginning(
    tmp_path: pathlib.Path, undisturbed: dict[str, torch.Tensor]
) -> None:
    run_partly(tmp_path, num_batches=1)
    newest(tmp_path).unlink()
    (tmp_path / "latest.pt").unlink()
    trainer = make_trainer(tmp_path)
    assert trainer.state.timestamp.batch == 0
    trainer.fit()
    trainer.close()
    assert_same(trainer, undisturbed)


def flip_a_byte(path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: pathlib.Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


def empty(path: pathlib.Path) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [(flip_a_byte, "SHA-256"), (truncate, "truncated"), (empty, "truncated")],
)
def test_a_damaged_newest_checkpoint_is_skipped_and_named(
    tmp_path: pathlib.Path,
    undisturbed: dict[str, torch.Tensor],
    caplog: pytest.LogCaptureFixture,
    damage: Any,
    reason: str,
) -> None:
    run_partly(tmp_path)
    broken = newest(tmp_path)
    damage(broken)
    trainer = make_trainer(tmp_path)
    assert trainer.state.timestamp.batch == 5
    assert f"skipping the checkpoint {broken}" in caplog.text
    assert reason in caplog.text
    trainer.fit()
    trainer.close()
    assert_same(trainer, undisturbed)


def test_a_damaged_file_is_refused_where_it_is_asked_for_by_name(tmp_path: pathlib.Path) -> None:
    run_partly(tmp_path)
    flip_a_byte(newest(tmp_path))
    with pytest.raises(CorruptCheckpointError, match="SHA-256"):
        make_trainer(tmp_path / "other", load_path=str(newest(tmp_path)))


def test_a_missing_part_is_named(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("safetensors")
    run_partly(tmp_path / "a", 2)
    trainer = make_trainer(tmp_path / "b", with_safetensors=True, max_duration="2ba")
    trainer.fit()
    trainer.close()
    (tmp_path / "b" / "ba2.safetensors").unlink()
    found = find_newest_valid(str(tmp_path / "b"), SERIES)
    assert found.path == str(tmp_path / "b" / "ba1.pt")
    assert found.skipped == ((str(tmp_path / "b" / "ba2.pt"), "'ba2.safetensors' is missing"),)


def test_when_all_are_broken_training_does_not_silently_start_over(tmp_path: pathlib.Path) -> None:
    run_partly(tmp_path, 2)
    for path in tmp_path.glob("ba*.pt"):
        truncate(path)
    with pytest.raises(CorruptCheckpointError, match=r"none of them is whole.*ba2\.pt.*ba1\.pt"):
        make_trainer(tmp_path)


def test_a_full_disk_loses_nothing_and_is_reported_at_the_next_step(
    tmp_path: pathlib.Path, undisturbed: dict[str, torch.Tensor]
) -> None:
    run_partly(tmp_path, 3)
    size = newest(tmp_path).stat().st_size
    before = {path.name: path.read_bytes() for path in tmp_path.glob("ba*.pt")}
    child = start_child(train_until_the_disk_is_full, tmp_path, size // 2)
    child.join(120)
    assert child.exitcode == DISK_FULL, "the error did not come"
    assert {path.name: path.read_bytes() for path in tmp_path.glob("ba*.pt")} == before
    assert left_aside(tmp_path) == []
    assert_same(finish(tmp_path), undisturbed)


def test_a_clock_that_goes_backwards_changes_nothing(
    tmp_path: pathlib.Path,
    undisturbed: dict[str, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_partly(tmp_path, 4)
    for age, path in enumerate(sorted(tmp_path.glob("ba*.pt"))):
        os.utime(path, (1e9 - age * 1e5, 1e9 - age * 1e5))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 1e7)
    trainer = make_trainer(tmp_path)
    assert trainer.state.timestamp.batch == 4
    trainer.fit()
    trainer.close()
    assert_same(trainer, undisturbed)


def test_two_runs_in_one_folder_the_second_is_refused(tmp_path: pathlib.Path) -> None:
    child = start_child(train, tmp_path, 0.5)
    try:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("ba*.pt")):
            assert child.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        trainer = make_trainer(tmp_path)
        with pytest.raises(CheckpointError, match=r"in use by the run 'run' \(process"):
            trainer.fit()
        trainer.close()
    finally:
        child.kill()
        child.join()


def test_saving_beside_training_and_in_its_way_give_the_same_run(
    tmp_path: pathlib.Path, undisturbed: dict[str, torch.Tensor]
) -> None:
    trainer = make_trainer(tmp_path, save_async=False)
    trainer.fit()
    trainer.close()
    assert_same(trainer, undisturbed)
