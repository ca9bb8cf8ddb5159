"""Checkpoints in a bucket: saved there, loaded from there, gone on from, and never half there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from composer.callbacks.checkpoint_saver import CheckpointSaver
from composer.checkpoint.owner_mark import OwnerMark
from composer.checkpoint.retention import Retention
from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import CheckpointError, UploadError
from composer.storage.uri import store_of
from composer.trainer.trainer import Trainer
from tests.checkpoint._remote_runs import make_remote_trainer
from tests.storage._servers import S3Server

pytestmark = pytest.mark.usefixtures("waiting_folder")

FOLDER = "s3://bucket/{run_name}/checkpoints"
MANIFESTS = "run/checkpoints/.composer/manifests"


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.state.model.state_dict().items()}


def assert_same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert torch.equal(value, right[name]), name


def straight(**arguments: Any) -> dict[str, torch.Tensor]:
    trainer = make_remote_trainer(**arguments)
    trainer.fit()
    trainer.close()
    return weights(trainer)


@pytest.mark.parametrize("folder", [FOLDER, "memory://saved/{run_name}/checkpoints"])
def test_checkpoints_arrive_with_manifests_and_link(
    folder: str, s3: S3Server, waiting_folder: Path
) -> None:
    trainer = make_remote_trainer(save_folder=folder)
    trainer.fit()
    trainer.close()
    names = store_of(folder).list_objects("run/checkpoints")
    assert names == [
        f"{MANIFESTS}/ep1-ba2-rank0.pt.json",
        f"{MANIFESTS}/ep2-ba4-rank0.pt.json",
        "run/checkpoints/ep1-ba2-rank0.pt",
        "run/checkpoints/ep2-ba4-rank0.pt",
        "run/checkpoints/latest-rank0.pt.symlink",
    ]
    # Nothing stays behind here.
    assert [path for path in waiting_folder.rglob("*") if path.is_file()] == []


def test_the_manifest_comes_after_the_file_and_the_link_last(s3: S3Server) -> None:
    trainer = make_remote_trainer(save_folder=FOLDER)
    trainer.fit()
    trainer.close()
    for name in ("ep1-ba2", "ep2-ba4"):
        file = s3.uploads.index(f"run/checkpoints/{name}-rank0.pt")
        manifest = s3.uploads.index(f"{MANIFESTS}/{name}-rank0.pt.json")
        assert file < manifest
    assert s3.uploads[-1] == "run/checkpoints/latest-rank0.pt.symlink"


@pytest.mark.parametrize("name", ["ep1-ba2-rank{rank}.pt", "latest-rank{rank}.pt"])
def test_a_run_starts_from_an_address(name: str, s3: S3Server) -> None:
    first = make_remote_trainer(save_folder=FOLDER)
    first.fit()
    first.close()
    second = make_remote_trainer(
        run_name="other", load_path=f"s3://bucket/run/checkpoints/{name}", seed=99
    )
    assert second.state.timestamp.batch == (2 if name.startswith("ep1") else 4)
    if name.startswith("ep1"):
        second.fit()
    second.close()
    assert_same(weights(first), weights(second))


def test_a_run_starts_from_a_store_and_a_name(s3: S3Server) -> None:
    first = make_remote_trainer(save_folder=FOLDER)
    first.fit()
    first.close()
    second = make_remote_trainer(
        run_name="other",
        load_object_store=s3.store(prefix="run"),
        load_path="checkpoints/ep2-ba4-rank{rank}.pt",
        load_weights_only=True,
    )
    second.close()
    assert_same(weights(first), weights(second))


def test_a_missing_checkpoint_is_named(s3: S3Server) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        make_remote_trainer(load_path="s3://bucket/missing.pt")


def test_a_damaged_download_is_refused(s3: S3Server, tmp_path: Path) -> None:
    first = make_remote_trainer(save_folder=FOLDER)
    first.fit()
    first.close()
    flip_byte(s3, "run/checkpoints/ep2-ba4-rank0.pt", tmp_path)
    with pytest.raises(ValueError, match="damaged"):
        make_remote_trainer(load_path="s3://bucket/run/checkpoints/ep2-ba4-rank0.pt")


def flip_byte(s3: S3Server, name: str, folder: Path) -> None:
    path = folder / "flipped"
    s3.store().download_object(name, path, overwrite=True)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    s3.store().upload_object(name, path)


class StopAt(Callback):
    """Fails at a batch, as a crash would."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def batch_start(self, state: State, logger: Logger) -> None:
        if state.timestamp.batch == self.batch:
            raise RuntimeError("on purpose")


def interrupted(batch: int = 3, **arguments: Any) -> None:
    trainer = make_remote_trainer(callbacks=StopAt(batch), **arguments)
    with pytest.raises(RuntimeError, match="on purpose"):
        trainer.fit()
    trainer.close()


def test_an_interrupted_run_goes_on_from_the_bucket(s3: S3Server) -> None:
    interrupted(save_folder=FOLDER)
    trainer = make_remote_trainer(save_folder=FOLDER, autoresume=True, seed=99)
    assert trainer.state.timestamp.batch == 2
    trainer.fit()
    trainer.close()
    assert_same(weights(trainer), straight())


def test_a_broken_checkpoint_in_the_bucket_is_skipped(
    s3: S3Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    interrupted(5, save_folder=FOLDER, max_duration="4ep")
    flip_byte(s3, "run/checkpoints/ep2-ba4-rank0.pt", tmp_path)
    trainer = make_remote_trainer(save_folder=FOLDER, autoresume=True, max_duration="4ep")
    assert trainer.state.timestamp.batch == 2
    assert "SHA-256 differs" in caplog.text
    trainer.fit()
    trainer.close()
    assert_same(weights(trainer), straight(max_duration="4ep"))


def test_a_file_that_came_without_its_manifest_does_not_count(s3: S3Server) -> None:
    interrupted(5, save_folder=FOLDER, max_duration="4ep")
    s3.store().delete_object(f"{MANIFESTS}/ep2-ba4-rank0.pt.json")
    trainer = make_remote_trainer(save_folder=FOLDER, autoresume=True, max_duration="4ep")
    assert trainer.state.timestamp.batch == 2
    trainer.fit()
    trainer.close()
    assert_same(weights(trainer), straight(max_duration="4ep"))


def test_a_folder_of_another_program_is_gone_on_from_by_its_link(s3: S3Server) -> None:
    interrupted(save_folder=FOLDER)
    for name in s3.store().list_objects(MANIFESTS):
        s3.store().delete_object(name)
    trainer = make_remote_trainer(save_folder=FOLDER, autoresume=True)
    assert trainer.state.timestamp.batch == 2
    trainer.close()


def test_without_checkpoints_a_run_begins(s3: S3Server) -> None:
    trainer = make_remote_trainer(save_folder=FOLDER, autoresume=True)
    assert trainer.state.timestamp.batch == 0
    trainer.close()


def test_later_checkpoints_of_another_run_are_not_overwritten(s3: S3Server) -> None:
    first = make_remote_trainer(save_folder=FOLDER)
    first.fit()
    first.close()
    second = make_remote_trainer(save_folder=FOLDER)
    with pytest.raises(FileExistsError, match="ep1-ba2"):
        second.fit()
    second.close()
    third = make_remote_trainer(save_folder=FOLDER, save_overwrite=True)
    third.fit()
    third.close()


def test_a_slow_or_failing_store_does_not_stop_training(s3: S3Server) -> None:
    s3.failures_left, s3.delay_s = 3, 0.1
    trainer = make_remote_trainer(save_folder=FOLDER)
    trainer.fit()
    trainer.close()
    assert "run/checkpoints/latest-rank0.pt.symlink" in s3.store().list_objects()


def test_a_store_that_is_gone_at_the_end_loses_nothing(s3: S3Server) -> None:
    class GoneAtTheEnd(Callback):
        def batch_start(self, state: State, logger: Logger) -> None:
            if state.timestamp.batch == 3:
                s3.stop()

    trainer = make_remote_trainer(save_folder=FOLDER, callbacks=GoneAtTheEnd(), upload_timeout_s=1)
    try:
        with pytest.raises(UploadError, match="next start uploads them"):
            trainer.fit()
        trainer.close()
    finally:
        s3.start()
    again = make_remote_trainer(save_folder=FOLDER, autoresume=True)
    assert again.state.timestamp.batch == 4
    again.close()
    assert_same(weights(again), straight())


def test_only_the_newest_stays_on_this_machine_while_training(
    s3: S3Server, waiting_folder: Path
) -> None:
    most = 0

    class Count(Callback):
        def epoch_start(self, state: State, logger: Logger) -> None:
            nonlocal most
            epoch, batch = state.timestamp.epoch.value, state.timestamp.batch.value
            while epoch and f"{MANIFESTS}/ep{epoch}-ba{batch}-rank0.pt.json" not in s3.uploads:
                time.sleep(0.01)
            files = waiting_folder.glob("**/ep*-rank0.pt")
            most = max(most, len(list(files)))

    trainer = make_remote_trainer(save_folder=FOLDER, callbacks=Count(), max_duration="6ep")
    trainer.fit()
    trainer.close()
    assert 1 <= most <= 2
    assert len([n for n in s3.store().list_objects() if n.endswith("rank0.pt")]) == 6


def stored(s3: S3Server) -> list[str]:
    names = s3.store().list_objects("run/checkpoints")
    return [os.path.basename(name) for name in names if name.endswith("rank0.pt")]


@pytest.fixture
def on_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def move() -> None:
        monkeypatch.setenv("COMPOSER_UPLOAD_FOLDER", str(tmp_path / "another-machine"))

    return move


def test_a_rule_decides_what_stays_in_the_bucket_also_after_a_resumption(
    s3: S3Server, on_another_machine: Callable[[], None]
) -> None:
    rule = Retention(last=1, every="2ep")
    given = {"save_folder": FOLDER, "save_retention": rule, "max_duration": "6ep"}
    interrupted(7, **given)
    assert stored(s3) == ["ep2-ba4-rank0.pt", "ep3-ba6-rank0.pt"]
    on_another_machine()
    trainer = make_remote_trainer(autoresume=True, **given)
    trainer.fit()
    kept = ["ep2-ba4-rank0.pt", "ep4-ba8-rank0.pt", "ep6-ba12-rank0.pt"]
    assert stored(s3) == kept
    assert [os.path.basename(path) for path in trainer.saved_checkpoints] == kept
    assert len(s3.store().list_objects(MANIFESTS)) == 3
    trainer.close()
    assert_same(weights(trainer), straight(max_duration="6ep"))


def test_a_pinned_checkpoint_stays_in_the_bucket(
    s3: S3Server, on_another_machine: Callable[[], None]
) -> None:
    given = {"save_folder": FOLDER, "save_retention": Retention(last=1)}
    first = make_remote_trainer(**given)
    first.fit()
    saver = next(each for each in first.state.callbacks if isinstance(each, CheckpointSaver))
    saver.pin(first.saved_checkpoints[0])
    with pytest.raises(FileNotFoundError, match="has no checkpoint 'ep9"):
        saver.pin("s3://bucket/run/checkpoints/ep9.pt")
    first.close()
    on_another_machine()
    second = make_remote_trainer(autoresume=True, max_duration="4ep", **given)
    second.fit()
    second.close()
    assert stored(s3) == ["ep2-ba4-rank0.pt", "ep4-ba8-rank0.pt"]


def test_a_second_run_on_another_machine_is_refused(
    s3: S3Server, on_another_machine: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OwnerMark.__init__, "__kwdefaults__", {"renew_s": 0.2, "lease_s": 30.0})
    first = make_remote_trainer(save_folder=FOLDER)
    on_another_machine()
    with pytest.raises(CheckpointError, match="s3://bucket/run/checkpoints' is in use by the run"):
        make_remote_trainer(save_folder=FOLDER, autoresume=True)
    first.fit()
    first.close()
    second = make_remote_trainer(save_folder=FOLDER, autoresume=True)
    assert second.state.timestamp.batch == 4
    second.close()


def test_checkpoints_that_are_only_in_the_bucket_count_in_the_order(
    s3: S3Server, on_another_machine: Callable[[], None]
) -> None:
    first = make_remote_trainer(save_folder=FOLDER, max_duration="3ep")
    first.fit()
    first.close()
    on_another_machine()
    # Starts over without reading what is there, and saves under other names.
    second = make_remote_trainer(
        save_folder=FOLDER, save_overwrite=True, save_interval="1ba", max_duration="1ba"
    )
    second.fit()
    second.close()
    third = make_remote_trainer(save_folder=FOLDER, autoresume=True, save_overwrite=True)
    assert third.state.timestamp.batch == 1
    third.close()


def test_saved_checkpoints_are_addresses(s3: S3Server) -> None:
    trainer = make_remote_trainer(save_folder=FOLDER)
    trainer.fit()
    assert trainer.saved_checkpoints == [
        "s3://bucket/run/checkpoints/ep1-ba2-rank0.pt",
        "s3://bucket/run/checkpoints/ep2-ba4-rank0.pt",
    ]
    trainer.close()


KILLED = """
from tests.checkpoint._remote_runs import make_remote_trainer
trainer = make_remote_trainer(save_folder="s3://bucket/{run_name}/checkpoints",
                              max_duration="200ep", autoresume=True)
trainer.fit()
"""


@pytest.mark.parametrize(
    "delay_s",
    [0.05, pytest.param(0.0, marks=pytest.mark.full), pytest.param(0.3, marks=pytest.mark.full)],
)
def test_a_killed_run_goes_on_from_a_whole_checkpoint(
    s3: S3Server, delay_s: float, tmp_path: Path
) -> None:
    s3.delay_s = delay_s
    with subprocess.Popen(
        [sys.executable, "-c", KILLED],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        while not any("manifests" in name for name in list(s3.uploads)):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    s3.delay_s = 0.0
    trainer = make_remote_trainer(save_folder=FOLDER, autoresume=True, max_duration="200ep")
    reached = trainer.state.timestamp.batch.value
    assert reached >= 2
    trainer.close()
    same = make_remote_trainer(max_duration=f"{reached}ba")
    same.fit()
    same.close()
    assert_same(weights(trainer), weights(same))
