"""Checkpoint files by the ending of their name."""

from __future__ import annotations

import pathlib
import tarfile
from typing import Any

import pytest
import torch

from composer.checkpoint.container import check_can_write, read_file
from composer.checkpoint.load_run import read_checkpoint
from composer.checkpoint.manager import CheckpointManager
from composer.errors import ConfigError, CorruptCheckpointError
from composer.utils.compression import get_compressor

ARCHIVES = [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.lzma"]
COMPRESSED = [".pt.bz2", ".pt.gz", ".pt.lz4", ".pt.lzma", ".pt.lzo", ".pt.xz", ".pt.zst"]


def write(folder: pathlib.Path, name: str) -> dict[str, Any]:
    contents = {"state": {"model": {"weight": torch.arange(1000.0)}}, "rng": [{"python": (3, "x")}]}
    manager = CheckpointManager(str(folder), "run", name, is_async=False)
    manager.save(contents, name, timestamp={})
    manager.close()
    return contents


@pytest.mark.parametrize("ending", ["", ".pt", *ARCHIVES, *COMPRESSED])
def test_what_is_written_is_read_back(tmp_path: pathlib.Path, ending: str) -> None:
    if ending in COMPRESSED and not get_compressor(ending).exists:
        pytest.skip(f"there is no program for {ending}")
    check_can_write(f"ep1{ending}")
    contents = write(tmp_path, f"ep1{ending}")
    found = read_checkpoint(str(tmp_path / f"ep1{ending}"))
    assert torch.equal(found["state"]["model"]["weight"], contents["state"]["model"]["weight"])
    assert found["rng"] == contents["rng"]


def test_an_archive_holds_the_states_under_their_known_name(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "ep1.tar.gz")
    with tarfile.open(tmp_path / "ep1.tar.gz") as archive:
        assert archive.getnames() == ["composer_states.pt"]


def test_compressed_files_are_smaller(tmp_path: pathlib.Path) -> None:
    write(tmp_path, "ep1.pt")
    write(tmp_path, "ep1.pt.gz")
    assert (tmp_path / "ep1.pt.gz").stat().st_size < (tmp_path / "ep1.pt").stat().st_size


@pytest.mark.parametrize("ending", [".tar.gz", ".pt.gz", ".pt.zst"])
def test_damaged_ones_are_called_so(tmp_path: pathlib.Path, ending: str) -> None:
    write(tmp_path, f"ep1{ending}")
    path = tmp_path / f"ep1{ending}"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptCheckpointError, match=r"unpacked|damaged"):
        read_file(str(path))


def test_an_archive_of_something_else_says_what_it_holds(tmp_path: pathlib.Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "notes.txt", "notes.txt")
    with pytest.raises(CorruptCheckpointError, match=r"only \['notes\.txt'\]"):
        read_file(str(tmp_path / "a.tar"))


def test_an_archive_that_cannot_be_written_is_refused_early() -> None:
    with pytest.raises(ConfigError, match=r"\.pt\.zst"):
        check_can_write("ep1.tar.zst")
