"""Writing the state of a run to a file and reading it into another run."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import torch

from composer.checkpoint.load_run import load_checkpoint, read_checkpoint
from composer.checkpoint.save_run import save_checkpoint
from composer.core.logger import Logger
from composer.core.state import State
from composer.core.weight_view import set_weight_view
from composer.devices.device_cpu import DeviceCPU
from composer.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    ConfigError,
    CorruptCheckpointError,
)
from composer.storage.fsspec_store import FsspecObjectStore


def make_state(seed: int = 0, **kwargs: Any) -> State:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 2))
    kwargs.setdefault("optimizers", torch.optim.Adam(model.parameters()))
    return State(model, 17, "run", DeviceCPU(), max_duration="2ep", **kwargs)


def train(state: State) -> State:
    state.model(torch.randn(3, 3)).sum().backward()
    state.optimizers[0].step()
    state.timestamp = state.timestamp.to_next_batch(samples=3)
    return state


def read_into(state: State, path: Any, **kwargs: Any) -> Any:
    return load_checkpoint(str(path), state, Logger(state), **kwargs)


def same_weights(one: State, other: State) -> bool:
    pairs = zip(one.model.parameters(), other.model.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    found = save_checkpoint(
        train(make_state()), str(tmp_path / "{run_name}/ep{epoch}-ba{batch}-rank{rank}")
    )
    assert found == str(tmp_path / "run/ep0-ba1-rank0")
    return found


def test_a_run_comes_back_from_its_file(path: str) -> None:
    state = make_state(1)
    rng_states = read_into(state, path)
    assert same_weights(state, train(make_state()))
    assert state.timestamp.batch == 1
    assert state.optimizers[0].state[state.model[0].weight]["step"] == 1
    assert len(rng_states) == 1


def test_everybody_can_read_the_file_with_torch_alone(path: str) -> None:
    contents = torch.load(path, weights_only=True)
    assert set(contents) == {"state", "rng"}
    assert contents["state"]["timestamp"]["Timestamp"]["total_wct"] == 0.0


def test_durations_come_back_exactly(tmp_path: pathlib.Path) -> None:
    import datetime

    state = train(make_state())
    duration = datetime.timedelta(days=3, seconds=7, microseconds=123457)
    state.timestamp = state.timestamp.to_next_batch(duration=duration)
    other = make_state()
    read_into(other, save_checkpoint(state, str(tmp_path / "file.pt")))
    assert other.timestamp == state.timestamp


def test_names_in_a_path_to_load_are_filled_in(path: str, tmp_path: pathlib.Path) -> None:
    state = make_state(1)
    read_into(state, tmp_path / "{run_name}" / "ep0-ba1-rank{rank}")
    assert state.timestamp.batch == 1


def test_weights_only_files_hold_weights_and_facts(tmp_path: pathlib.Path) -> None:
    state = train(make_state())
    path = save_checkpoint(state, str(tmp_path / "weights.pt"), weights_only=True)
    contents = read_checkpoint(str(path))
    assert set(contents) == {"state"}
    assert set(contents["state"]) == {"model", "integrations", "metadata"}
    other = make_state(1)
    assert read_into(other, path) is None
    assert same_weights(state, other)
    assert other.timestamp.batch == 0


def test_loading_only_weights_leaves_everything_else(path: str) -> None:
    state = make_state(1)
    assert read_into(state, path, load_weights_only=True) is None
    assert same_weights(state, train(make_state()))
    assert state.timestamp.batch == 0
    assert not state.optimizers[0].state


@pytest.mark.parametrize("weights_only", [True, False])
def test_strictness_holds_for_full_loads_too(path: str, weights_only: bool) -> None:
    state = make_state(1)
    state.model.append(torch.nn.Linear(2, 2))
    state.optimizers = None
    with pytest.raises(CheckpointError, match=r"2\.weight"):
        read_into(state, path, load_weights_only=weights_only)
    read_into(state, path, load_weights_only=weights_only, strict_model_weights=False)


def test_ignored_weights_keep_their_values_and_do_not_offend_strictness(path: str) -> None:
    state = make_state(1)
    before = state.model[1].weight.clone()
    read_into(state, path, ignore_keys=["state/model/1.*"])
    assert torch.equal(state.model[1].weight, before)
    assert torch.equal(state.model[0].weight, train(make_state()).model[0].weight)


def test_ignored_optimizers_start_afresh(path: str) -> None:
    state = make_state(1)
    read_into(state, path, ignore_keys=["state/optimizers/*"])
    assert not state.optimizers[0].state
    assert state.timestamp.batch == 1


def test_parts_can_be_left_out_when_saving(tmp_path: pathlib.Path) -> None:
    path = save_checkpoint(
        train(make_state()), str(tmp_path / "file.pt"), ignore_keys=["state/optimizers"]
    )
    assert "optimizers" not in read_checkpoint(str(path))["state"]


class Average:
    """A weight view that holds zeros."""

    def __init__(self) -> None:
        self.is_shown = False
        self.is_ready = True
        self._kept: list[torch.Tensor] = []

    def show(self, model: torch.nn.Module) -> None:
        self._kept = [p.detach().clone() for p in model.parameters()]
        for parameter in model.parameters():
            torch.nn.init.zeros_(parameter)
        self.is_shown = True

    def hide(self, model: torch.nn.Module) -> None:
        with torch.no_grad():
            for parameter, kept in zip(model.parameters(), self._kept, strict=True):
                parameter.copy_(kept)
        self.is_shown = False


def test_the_weight_views_weights_are_saved_and_training_keeps_its_own(
    tmp_path: pathlib.Path,
) -> None:
    state = make_state()
    set_weight_view(state, Average())
    path = save_checkpoint(state, str(tmp_path / "file.pt"))
    model = read_checkpoint(str(path))["state"]["model"]
    assert all(not weight.any() for weight in model.values())
    assert same_weights(state, make_state())


def test_a_file_of_other_contents_is_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"weight": torch.zeros(1)}, path)
    with pytest.raises(CorruptCheckpointError, match="no 'state'"):
        read_into(make_state(), path)


def test_a_missing_file_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(CheckpointNotFoundError, match=r"none\.pt"):
        read_into(make_state(), tmp_path / "none.pt")


def test_a_link_file_is_followed(path: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "latest.pt.symlink").write_text("run/ep0-ba1-rank0")
    state = make_state(1)
    read_into(state, tmp_path / "latest.pt")
    assert state.timestamp.batch == 1


def test_a_file_at_an_address_is_fetched(path: str, tmp_path: pathlib.Path) -> None:
    state = make_state(1)
    read_into(state, f"file://{path}")
    assert state.timestamp.batch == 1
    with pytest.raises(CheckpointNotFoundError, match=r"file://.*none\.pt"):
        read_into(state, f"file://{tmp_path}/none.pt")


def test_a_file_in_a_store_is_fetched(path: str, tmp_path: pathlib.Path) -> None:
    assert path.startswith(str(tmp_path))
    state = make_state(1)
    store = FsspecObjectStore(f"file://{tmp_path}")
    read_into(state, "run/ep0-ba1-rank{rank}", object_store=store, progress_bar=False)
    assert state.timestamp.batch == 1


def test_saving_by_hand_to_an_address_is_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match="save_folder"):
        save_checkpoint(make_state(), "s3://bucket/file.pt")


def accept(path: str) -> bool:
    return path.endswith("rank0")


def refuse(path: str) -> bool:
    return False


def test_a_validation_function_is_asked_before_a_file_is_read(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys
    import types

    module = types.ModuleType("checks_for_checkpoints")
    module.accept, module.refuse = accept, refuse
    monkeypatch.setitem(sys.modules, "checks_for_checkpoints", module)
    name = "CHECKPOINT_VALIDATION_FUNCTION"
    monkeypatch.setenv(name, "checks_for_checkpoints.accept")
    read_into(make_state(), path)
    monkeypatch.setenv(name, "checks_for_checkpoints.refuse")
    with pytest.raises(CheckpointError, match="does not accept"):
        read_into(make_state(), path)
    monkeypatch.setenv(name, "nothing")
    with pytest.raises(ConfigError, match=r"module\.function"):
        read_into(make_state(), path)


def test_random_states_of_another_number_of_ranks_are_left_out(
    path: str, tmp_path: pathlib.Path
) -> None:
    contents = read_checkpoint(path)
    contents["rng"] *= 2
    contents["data"] = [{"position": {}}] * 2
    torch.save(contents, tmp_path / "two.pt")
    state = make_state(1)
    with pytest.warns(UserWarning, match="written by 2 ranks and is loaded by 1"):
        assert read_into(state, tmp_path / "two.pt") is None
    assert state.timestamp.batch == 1
