"""Uploading files of checkpoints, and fetching them."""

from __future__ import annotations

import pathlib

import pytest
import torch

from composer.checkpoint.download import (
    download_and_extract_symlink,
    download_file,
    download_monolithic_checkpoint,
)
from composer.checkpoint.upload import CheckpointUploadCallback, upload_file
from composer.core.logger import Logger
from composer.core.state import State
from composer.devices.device_cpu import DeviceCPU
from composer.errors import CheckpointError, ConfigError, ObjectNotFoundError


@pytest.fixture
def store(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setenv("COMPOSER_UPLOAD_FOLDER", str(tmp_path / "waiting"))
    (tmp_path / "store").mkdir()
    (tmp_path / "model.pt").write_bytes(b"weights")
    return tmp_path / "store"


def test_a_file_is_there_when_the_call_returns(store: pathlib.Path) -> None:
    source = str(store.parent / "model.pt")
    upload_file(f"file://{store}/run", source, "file", async_upload=False)
    assert (store / "run" / "model.pt").read_bytes() == b"weights"
    link = (store / "run" / "latest.symlink").read_text()
    assert link.endswith("run/model.pt")


def test_a_link_may_name_the_folder(store: pathlib.Path) -> None:
    upload_file(
        f"file://{store}/run/ep1", str(store.parent / "model.pt"), "dir", async_upload=False
    )
    assert (store / "run" / "latest.symlink").read_text().endswith("run/ep1")


def test_beside_training_the_end_waits_for_it(store: pathlib.Path) -> None:
    state = State(torch.nn.Linear(1, 1), 1, "run", DeviceCPU())
    upload_file(f"file://{store}", str(store.parent / "model.pt"), state=state)
    (callback,) = state.callbacks
    assert isinstance(callback, CheckpointUploadCallback)
    callback.batch_end(state, Logger(state))
    callback.fit_end(state, Logger(state))
    callback.post_close()
    assert (store / "model.pt").exists()


def test_a_rank_without_a_file_does_nothing(store: pathlib.Path) -> None:
    upload_file(f"file://{store}", None, async_upload=False)
    assert list(store.iterdir()) == []


def test_arguments_that_cannot_work_are_refused(store: pathlib.Path) -> None:
    for wrong in ({"symlink_granularity": "disk"}, {"symlink_name": "latest"}, {}):
        with pytest.raises(ConfigError):
            upload_file(f"file://{store}", "a.pt", **wrong)  # pyright: ignore[reportArgumentType]


def test_files_are_fetched_also_through_links(store: pathlib.Path) -> None:
    upload_file(f"file://{store}/run", str(store.parent / "model.pt"), "file", async_upload=False)
    here = store.parent / "here.pt"
    download_file(f"file://{store}/run/model.pt", str(here))
    assert here.read_bytes() == b"weights"
    here.unlink()
    link = f"file://{store}/run/latest.symlink"
    assert download_and_extract_symlink(link).endswith("/run/model.pt")
    download_monolithic_checkpoint(link, str(here))
    assert here.read_bytes() == b"weights"


def test_a_missing_file_says_so(store: pathlib.Path) -> None:
    with pytest.raises((ObjectNotFoundError, CheckpointError)):
        download_file(f"file://{store}/none.pt", str(store / "here.pt"), num_attempts=1)
