"""Checkpoints in a store: here a folder reached through an address, as a bucket would be."""

from __future__ import annotations

import pathlib
import shutil

import pytest
import torch

from composer.checkpoint.manifest import Manifests
from composer.checkpoint.remote_folder import RemoteFolder
from composer.trainer.trainer import Trainer
from tests.checkpoint._folders import checkpoints_in, visible_files
from tests.checkpoint._small_run import SERIES, make_trainer, weights_of


@pytest.fixture
def store(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Return the folder behind the address; what waits for upload stays in the test's folder."""
    monkeypatch.setenv("COMPOSER_UPLOAD_FOLDER", str(tmp_path / "here"))
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


def address(store: pathlib.Path) -> str:
    return f"file://{store}/{{run_name}}"


def train(store: pathlib.Path, max_duration: str) -> Trainer:
    trainer = make_trainer(address(store), max_duration=max_duration)  # pyright: ignore[reportArgumentType]
    trainer.fit()
    trainer.close()
    return trainer


def forget_this_machine(store: pathlib.Path) -> None:
    shutil.rmtree(store.parent / "here")


def test_everything_is_in_the_store_when_training_ends(store: pathlib.Path) -> None:
    train(store, "3ba")
    folder = store / "run"
    assert visible_files(folder) == {"ba1.pt", "ba2.pt", "ba3.pt", "latest.pt.symlink"}
    assert (folder / "latest.pt.symlink").read_text().endswith("run/ba3.pt")
    names = [record.name for record in Manifests(str(folder)).all()]
    assert names == ["ba1.pt", "ba2.pt", "ba3.pt"]


def test_on_this_machine_one_stays(store: pathlib.Path) -> None:
    trainer = train(store, "3ba")
    (kept,) = trainer.saved_checkpoints
    assert checkpoints_in(pathlib.Path(kept).parent) == {"ba3.pt"}


def test_a_run_goes_on_from_the_store_on_another_machine(
    store: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    straight = make_trainer(tmp_path / "straight")
    straight.fit()
    straight.close()
    train(store, "5ba")
    forget_this_machine(store)
    trainer = train(store, "20ba")
    for name, tensor in weights_of(straight).items():
        assert torch.equal(weights_of(trainer)[name], tensor), name
    assert len(checkpoints_in(store / "run") - {"latest.pt.symlink"}) == 20


def test_what_is_broken_in_the_store_is_skipped(
    store: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(store, "4ba")
    forget_this_machine(store)
    (store / "run" / "ba4.pt").unlink()
    content = bytearray((store / "run" / "ba3.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (store / "run" / "ba3.pt").write_bytes(content)
    trainer = make_trainer(address(store))  # pyright: ignore[reportArgumentType]
    assert trainer.state.timestamp.batch == 2
    assert "'ba4.pt' is missing" in caplog.text
    assert "SHA-256" in caplog.text
    trainer.close()


def test_a_folder_without_manifests_is_read_through_its_link(store: pathlib.Path) -> None:
    train(store, "2ba")
    forget_this_machine(store)
    shutil.rmtree(store / "run" / ".composer")
    link = store / "run" / "latest.pt.symlink"
    link.write_text(f"file://{store}/run/ba1.pt")
    remote = RemoteFolder(f"file://{store}/run", "run", "latest.pt")
    found = remote.fetch_newest(SERIES)
    remote.close()
    assert found.path is not None
    assert pathlib.Path(found.path).read_bytes() == (store / "run" / "ba1.pt").read_bytes()


def test_an_empty_store_has_no_checkpoint(store: pathlib.Path) -> None:
    remote = RemoteFolder(f"file://{store}/run", "run", "latest.pt")
    assert remote.fetch_newest(SERIES).path is None
    remote.close()
