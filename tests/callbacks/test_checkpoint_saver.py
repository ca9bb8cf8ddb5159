"""When checkpoints are saved, what they are called, and which are kept."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import pytest
import torch

from composer.callbacks.checkpoint_saver import CheckpointSaver
from composer.checkpoint.load_run import load_checkpoint, read_checkpoint
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.logger_destination import LoggerDestination
from composer.core.state import State
from composer.devices.device_cpu import DeviceCPU
from composer.errors import CheckpointError, ConfigError
from tests.checkpoint._folders import checkpoints_in, visible_files

BATCHES_PER_EPOCH = 3


class Files(LoggerDestination):
    """A destination that keeps files."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}

    def can_upload_files(self) -> bool:
        return True

    def upload_file(
        self,
        state: State,
        remote_file_name: str,
        file_path: pathlib.Path,
        *,
        overwrite: bool,
    ) -> None:
        self.contents[remote_file_name] = file_path.read_bytes()


class Run:
    """The events of a run, as far as a checkpoint saver sees them."""

    def __init__(self, saver: CheckpointSaver, *destinations: LoggerDestination) -> None:
        model = torch.nn.Linear(2, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        self.state = State(
            model, 1, "my-run", DeviceCPU(), "2ep", optimizers=optimizer, callbacks=[saver]
        )
        self.state.set_dataloader(range(BATCHES_PER_EPOCH), "train")
        self.logger = Logger(self.state, destinations)
        self.saver = saver
        saver.init(self.state, self.logger)

    def fit(self, stop_after: int | None = None) -> None:
        self.saver.fit_start(self.state, self.logger)
        self._train(stop_after)
        self.saver.fit_end(self.state, self.logger)

    def _train(self, stop_after: int | None) -> None:
        state, saver = self.state, self.saver
        while not state.is_training_done:
            for _ in range(state.timestamp.batch_in_epoch.value, BATCHES_PER_EPOCH):
                state.previous_timestamp = state.timestamp
                state.timestamp = state.timestamp.to_next_batch(samples=2)
                saver.run_event(Event.BATCH_END, state, self.logger)
                saver.run_event(Event.BATCH_CHECKPOINT, state, self.logger)
                if state.timestamp.batch == stop_after:
                    return
            state.previous_timestamp = state.timestamp
            state.timestamp = state.timestamp.to_next_epoch()
            saver.run_event(Event.EPOCH_CHECKPOINT, state, self.logger)

    def load(self, path: str) -> None:
        load_checkpoint(path, self.state, self.logger)


def run(folder: pathlib.Path, **kwargs: Any) -> CheckpointSaver:
    saver = CheckpointSaver(str(folder), **kwargs)
    Run(saver).fit()
    return saver


def test_by_default_each_epoch_is_saved(tmp_path: pathlib.Path) -> None:
    saver = run(tmp_path)
    assert checkpoints_in(tmp_path) == {"ep1-ba3-rank0.pt", "ep2-ba6-rank0.pt"}
    assert [os.path.basename(path) for path in saver.saved_checkpoints] == [
        "ep1-ba3-rank0.pt",
        "ep2-ba6-rank0.pt",
    ]


def test_after_an_epochs_last_batch_the_epoch_is_not_counted_yet(tmp_path: pathlib.Path) -> None:
    run(tmp_path, save_interval="3ba")
    assert checkpoints_in(tmp_path) == {"ep0-ba3-rank0.pt", "ep1-ba6-rank0.pt"}


def test_the_last_batch_is_saved_once_whatever_the_interval(tmp_path: pathlib.Path) -> None:
    run(tmp_path, save_interval="4ba")
    assert checkpoints_in(tmp_path) == {"ep1-ba4-rank0.pt", "ep2-ba6-rank0.pt"}


def test_an_interval_may_be_a_function(tmp_path: pathlib.Path) -> None:
    def is_due(state: State, event: Event) -> bool:
        return event is Event.BATCH_CHECKPOINT and state.timestamp.batch == 2

    run(tmp_path, save_interval=is_due)
    assert checkpoints_in(tmp_path) == {"ep0-ba2-rank0.pt"}


def test_names_are_filled_in(tmp_path: pathlib.Path) -> None:
    saver = CheckpointSaver(
        tmp_path / "{run_name}", "s{sample}-e{batch_in_epoch}.pt", latest_filename="newest.pt"
    )
    Run(saver).fit()
    assert checkpoints_in(tmp_path / "my-run") == {"s6-e0.pt", "s12-e0.pt"}
    assert os.readlink(tmp_path / "my-run" / "newest.pt") == "s12-e0.pt"


def test_the_link_names_the_newest(tmp_path: pathlib.Path) -> None:
    run(tmp_path)
    assert os.readlink(tmp_path / "latest-rank0.pt") == "ep2-ba6-rank0.pt"
    assert read_checkpoint(str(tmp_path / "latest-rank0.pt"))["state"]["run_name"] == "my-run"


def test_no_link_is_made_without_a_name(tmp_path: pathlib.Path) -> None:
    run(tmp_path, latest_filename=None)
    assert not any(path.is_symlink() for path in tmp_path.iterdir())


def test_only_the_newest_are_kept(tmp_path: pathlib.Path) -> None:
    saver = run(tmp_path, save_interval="1ba", num_checkpoints_to_keep=2)
    assert checkpoints_in(tmp_path) == {"ep1-ba5-rank0.pt", "ep1-ba6-rank0.pt"}
    assert len(saver.saved_checkpoints) == 2


def test_keeping_none_deletes_each_and_makes_no_link(tmp_path: pathlib.Path) -> None:
    saver = run(tmp_path, num_checkpoints_to_keep=0)
    assert visible_files(tmp_path) == set()
    assert saver.saved_checkpoints == []


def test_retention_survives_resumption(tmp_path: pathlib.Path) -> None:
    options: dict[str, Any] = {"save_interval": "1ba", "num_checkpoints_to_keep": 2}
    Run(CheckpointSaver(str(tmp_path), **options)).fit(stop_after=4)
    assert checkpoints_in(tmp_path) == {"ep0-ba3-rank0.pt", "ep1-ba4-rank0.pt"}
    resumed = Run(CheckpointSaver(str(tmp_path), **options))
    resumed.load(str(tmp_path / "latest-rank0.pt"))
    assert [os.path.basename(path) for path in resumed.saver.saved_checkpoints] == [
        "ep0-ba3-rank0.pt",
        "ep1-ba4-rank0.pt",
    ]
    resumed.fit()
    assert checkpoints_in(tmp_path) == {"ep1-ba5-rank0.pt", "ep1-ba6-rank0.pt"}


def test_checkpoints_of_the_run_one_starts_from_are_not_deleted(tmp_path: pathlib.Path) -> None:
    Run(CheckpointSaver(str(tmp_path / "a"), save_interval="1ba")).fit(stop_after=3)
    second = Run(
        CheckpointSaver(str(tmp_path / "b"), save_interval="1ba", num_checkpoints_to_keep=1)
    )
    second.load(str(tmp_path / "a" / "latest-rank0.pt"))
    second.fit()
    assert len(checkpoints_in(tmp_path / "a")) == 3
    assert checkpoints_in(tmp_path / "b") == {"ep1-ba6-rank0.pt"}


def test_a_folder_with_later_checkpoints_is_refused(tmp_path: pathlib.Path) -> None:
    run(tmp_path)
    other = Run(CheckpointSaver(str(tmp_path)))
    with pytest.raises(FileExistsError, match="ep1-ba3-rank0"):
        other.fit()
    Run(CheckpointSaver(str(tmp_path), overwrite=True)).fit()


def test_a_resumed_run_may_write_on_in_its_folder(tmp_path: pathlib.Path) -> None:
    Run(CheckpointSaver(str(tmp_path), save_interval="1ba")).fit(stop_after=4)
    resumed = Run(CheckpointSaver(str(tmp_path), save_interval="1ba"))
    resumed.load(str(tmp_path / "latest-rank0.pt"))
    resumed.fit()
    assert len(checkpoints_in(tmp_path)) == 6


def test_a_failed_save_is_not_listed_and_deletes_nothing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver = CheckpointSaver(str(tmp_path), save_interval="1ba", num_checkpoints_to_keep=1)
    run = Run(saver)
    run.fit(stop_after=1)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        run.fit()
    assert checkpoints_in(tmp_path) == {"ep0-ba1-rank0.pt"}
    assert os.readlink(tmp_path / "latest-rank0.pt") == "ep0-ba1-rank0.pt"
    assert saver.saved_checkpoints == [str(tmp_path / "ep0-ba1-rank0.pt")]


def test_weights_and_ignored_parts(tmp_path: pathlib.Path) -> None:
    run(tmp_path / "weights", weights_only=True)
    contents = read_checkpoint(str(tmp_path / "weights" / "latest-rank0.pt"))
    assert "optimizers" not in contents["state"]
    run(tmp_path / "parts", ignore_keys=["state/optimizers", "rng"])
    contents = read_checkpoint(str(tmp_path / "parts" / "latest-rank0.pt"))
    assert "optimizers" not in contents["state"]
    assert "rng" not in contents


def test_destinations_that_keep_files_get_checkpoint_and_name(tmp_path: pathlib.Path) -> None:
    destination = Files()
    saver = CheckpointSaver(str(tmp_path), num_checkpoints_to_keep=0)
    Run(saver, destination).fit()
    assert set(destination.contents) == {
        "my-run/checkpoints/ep1-ba3-rank0.pt",
        "my-run/checkpoints/ep2-ba6-rank0.pt",
        "my-run/checkpoints/latest-rank0.pt.symlink",
    }
    named = destination.contents["my-run/checkpoints/latest-rank0.pt.symlink"].decode()
    assert named == "my-run/checkpoints/ep2-ba6-rank0.pt"
    assert checkpoints_in(tmp_path) == set()


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("folder", "nowhere://bucket/run"),
        ("filename", "ep{epoch}.tar.zst"),
        ("save_interval", "soon"),
        ("num_checkpoints_to_keep", -2),
        ("num_concurrent_uploads", 0),
        ("upload_timeout_in_seconds", 0),
    ],
)
def test_arguments_that_cannot_work_are_refused_at_once(argument: str, value: Any) -> None:
    with pytest.raises(ConfigError):
        CheckpointSaver(**{argument: value})


def test_a_state_that_cannot_be_written_is_refused(tmp_path: pathlib.Path) -> None:
    saver = CheckpointSaver(str(tmp_path), save_interval="1ba")
    run = Run(saver)
    saver.state_dict = lambda: {"thing": object()}
    with pytest.raises(CheckpointError, match="state/callbacks/CheckpointSaver/thing"):
        run.fit()
