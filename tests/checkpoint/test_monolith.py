"""Checkpoint files: what they may hold, and what happens to those that are damaged."""

from __future__ import annotations

import datetime
import os
import pathlib
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from torch.torch_version import TorchVersion

from composer.checkpoint.commit import PendingCheckpoint
from composer.checkpoint.container import write_file
from composer.checkpoint.manifest import Manifests, Record
from composer.checkpoint.monolith import find_damage, own_tensors, read
from composer.checkpoint.plain import as_plain
from composer.core.precision import Precision
from composer.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    CorruptCheckpointError,
    UntrustedCheckpointError,
)
from tests.checkpoint._folders import checkpoints_in


def write(contents: dict[str, Any], path: str) -> None:
    folder, name = os.path.split(path)
    with PendingCheckpoint(folder, name) as pending:
        write_file(as_plain(contents), pending, name)
        pending.commit(Record("", ()), Manifests(folder))


class Dangerous:
    ran = False

    def __reduce__(self) -> tuple[Any, ...]:
        return setattr, (Dangerous, "ran", True)


def test_what_is_written_is_read_back(tmp_path: pathlib.Path) -> None:
    contents = {"a": torch.arange(3), "b": [1, 2.5, "x", None, True], "c": {"d": (1, b"e")}}
    path = str(tmp_path / "sub" / "file.pt")
    write(contents, path)
    found = read(path)
    assert torch.equal(found.pop("a"), contents.pop("a"))
    assert found == contents


def test_torch_reads_our_files_in_its_safe_mode_without_permission(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "file.pt")
    contents = {
        "time": datetime.timedelta(hours=1, microseconds=1),
        "version": TorchVersion("2.13.0"),
        "precision": Precision.AMP_BF16,
        "number": np.float64(0.5),
        "count": np.int32(7),
        "metadata": OrderedDict(a=1),
    }
    write(contents, path)
    assert torch.load(path, weights_only=True) == {
        "time": 3600.000001,
        "version": "2.13.0",
        "precision": "amp_bf16",
        "number": 0.5,
        "count": 7,
        "metadata": {"a": 1},
    }


def test_versions_that_modules_note_in_their_weights_survive(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "file.pt")
    weights = torch.nn.BatchNorm1d(2).state_dict()
    write({"model": weights}, path)
    assert read(path)["model"]._metadata[""]["version"] == 2


def test_tensors_that_share_memory_are_written_once(tmp_path: pathlib.Path) -> None:
    tensor = torch.randn(1000)
    write({"a": tensor, "b": tensor}, str(tmp_path / "two.pt"))
    write({"a": tensor}, str(tmp_path / "one.pt"))
    two, one = ((tmp_path / name).stat().st_size for name in ("two.pt", "one.pt"))
    assert two - one < 1000
    found = read(str(tmp_path / "two.pt"))
    assert found["a"].data_ptr() == found["b"].data_ptr()


@pytest.mark.parametrize("thing", [Dangerous(), object(), len, np.array([object()]), {1: object()}])
def test_what_would_need_code_is_not_written_and_its_place_is_named(
    tmp_path: pathlib.Path, thing: object
) -> None:
    with pytest.raises(CheckpointError, match="state/callbacks/Mine"):
        write({"state": {"callbacks": {"Mine": thing}}}, str(tmp_path / "file.pt"))
    assert checkpoints_in(tmp_path) == set()


def test_a_file_that_runs_code_is_refused_and_the_entry_named(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "file.pt")
    torch.save({"state": Dangerous()}, path)
    with pytest.raises(UntrustedCheckpointError, match=r"'state' \(builtins\.setattr\)"):
        read(path)
    assert not Dangerous.ran


def test_the_place_of_what_needs_code_is_found_deep_inside(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "file.pt")
    contents = {
        "state": {
            "model": OrderedDict(weight=torch.zeros(2)),
            "callbacks": {"Mine": {"list": [1, pathlib.PurePosixPath("x")], "time": Dangerous}},
            "versions": torch.__version__,
        },
        "rng": [np.random.get_state()],
    }
    torch.save(contents, path)
    with pytest.raises(UntrustedCheckpointError) as caught:
        read(path)
    message = str(caught.value)
    assert "'state/callbacks/Mine/list/1' (pathlib.PurePosixPath)" in message
    assert "'state/callbacks/Mine/time'" in message
    assert "rng" not in message
    assert "trust=True" in message


def test_a_trusted_file_is_read_whole(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "file.pt")
    torch.save({"state": {"folder": pathlib.PurePosixPath("x")}}, path)
    assert read(path, trust=True) == {"state": {"folder": pathlib.PurePosixPath("x")}}


def test_tensors_read_from_a_file_can_outlive_it(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file.pt"
    weight = torch.randn(100)
    torch.save({"a": weight, "b": [weight], "c": OrderedDict(d=weight[:3])}, path)
    found = own_tensors(read(str(path)))
    path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(found["a"], weight)
    assert found["b"][0] is found["a"]
    assert torch.equal(found["c"]["d"], weight[:3])


def test_a_flipped_byte_is_found_by_the_checksums_in_a_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file.pt"
    torch.save({"state": {"model": {"weight": torch.ones(1000)}}}, path)
    assert find_damage(str(path)) is None
    content = bytearray(path.read_bytes())
    content[content.index(b"\x00\x00\x80\x3f" * 20) + 40] ^= 1
    path.write_bytes(content)
    assert "checksum" in str(find_damage(str(path)))


def test_types_in_files_of_mosaicml_composer_are_read(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "file.pt")
    contents = {
        "timestamp": {"total_wct": datetime.timedelta(seconds=3), "batch": np.int64(4)},
        "rng": [{"numpy": np.random.get_state(), "float": np.float32(0.5)}],
        "metadata": {"torch_version": torch.__version__},
    }
    torch.save(contents, path)
    found = read(path)
    assert found["timestamp"] == contents["timestamp"]
    assert found["metadata"]["torch_version"] == torch.__version__
    assert (found["rng"][0]["numpy"][1] == contents["rng"][0]["numpy"][1]).all()


def test_a_missing_file_says_so(tmp_path: pathlib.Path) -> None:
    with pytest.raises(CheckpointNotFoundError, match="no checkpoint"):
        read(str(tmp_path / "none.pt"))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_called_damaged(tmp_path: pathlib.Path, share: float) -> None:
    path = tmp_path / "file.pt"
    write({"state": {"model": {"weight": torch.randn(5000)}}}, str(path))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CorruptCheckpointError, match="damaged"):
        read(str(path))


def test_a_file_of_something_else_is_called_damaged(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file.pt"
    path.write_text("step,loss\n1,0.5\n")
    with pytest.raises(CorruptCheckpointError, match="damaged"):
        read(str(path))
    torch.save([1, 2], path)
    with pytest.raises(CorruptCheckpointError, match="holds a list"):
        read(str(path))


def test_nothing_is_copied_where_nothing_changes() -> None:
    value = {"a": [torch.zeros(2), 1], "b": OrderedDict(c=2), "d": (1, 2)}
    assert as_plain(value) is value
