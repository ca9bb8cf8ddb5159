"""Checkpoints as folders of parts."""

from __future__ import annotations

import json
import os
import pathlib

import pytest
import torch

from composer.checkpoint.load import (
    CheckpointLoadOptions,
    load_checkpoint,
    load_model_checkpoint,
    load_optim_checkpoint,
)
from composer.checkpoint.manifest import Manifests
from composer.checkpoint.save import (
    CheckpointSaveOptions,
    save_checkpoint_to_disk,
    save_composer_metadata_to_disk,
    save_model_to_disk,
    save_optim_to_disk,
    save_state_dict_to_disk,
)
from composer.checkpoint.state_dict import (
    get_metadata_state_dict,
    get_model_state_dict,
    get_optim_state_dict,
    get_resumption_state_dict,
)
from composer.core.state import State
from composer.devices.device_cpu import DeviceCPU
from composer.errors import (
    CheckpointError,
    CheckpointExistsError,
    CheckpointNotFoundError,
    ConfigError,
    CorruptCheckpointError,
)


def make_state(seed: int = 0) -> State:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 2))
    optimizer = torch.optim.Adam(model.parameters())
    return State(model, 17, "run", DeviceCPU(), max_duration="2ep", optimizers=optimizer)


def train(state: State) -> State:
    state.model(torch.randn(3, 3)).sum().backward()
    state.optimizers[0].step()
    state.timestamp = state.timestamp.to_next_batch(samples=3)
    return state


def same_weights(one: State, other: State) -> bool:
    pairs = zip(one.model.parameters(), other.model.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_a_run_comes_back_from_its_parts(tmp_path: pathlib.Path) -> None:
    state = train(make_state())
    path = save_checkpoint_to_disk(str(tmp_path / "{run_name}"), state)
    assert path == str(tmp_path / "run" / "ep0-ba1")
    found = {os.path.relpath(os.path.join(d, f), path) for d, _, fs in os.walk(path) for f in fs}
    assert found == {
        "model/model.pt",
        "optim/optim.pt",
        "resumption.pkl",
        "composer_metadata.json",
    }
    other = make_state(1)
    torch.rand(3)
    load_checkpoint(path, {"load_optimizer": True, "load_resumption_state": True}, state=other)
    assert same_weights(state, other)
    assert other.timestamp.batch == 1
    assert other.optimizers[0].state[other.model[0].weight]["step"] == 1


def test_every_part_is_read_without_running_code(tmp_path: pathlib.Path) -> None:
    path = save_checkpoint_to_disk(str(tmp_path), train(make_state()))
    for name in ("model/model.pt", "optim/optim.pt", "resumption.pkl"):
        torch.load(os.path.join(path, name), weights_only=True)
    facts = json.loads(pathlib.Path(path, "composer_metadata.json").read_text())
    assert facts["model_name"] == "Sequential"


def test_a_damaged_part_is_named(tmp_path: pathlib.Path) -> None:
    path = save_checkpoint_to_disk(str(tmp_path), train(make_state()))
    os.truncate(os.path.join(path, "optim/optim.pt"), 100)
    with pytest.raises(CorruptCheckpointError, match=r"optim/optim\.pt.*truncated"):
        load_checkpoint(path, state=make_state())


def test_only_the_newest_folders_are_kept(tmp_path: pathlib.Path) -> None:
    state = make_state()
    options = CheckpointSaveOptions(num_checkpoints_to_keep=2)
    for _ in range(4):
        save_checkpoint_to_disk(str(tmp_path), train(state), options)
    assert {p.name for p in tmp_path.iterdir()} == {".composer", "ep0-ba3", "ep0-ba4"}
    assert [each.name for each in Manifests(str(tmp_path)).all()] == ["ep0-ba3", "ep0-ba4"]


def test_what_is_there_is_not_overwritten_unasked(tmp_path: pathlib.Path) -> None:
    state = train(make_state())
    save_checkpoint_to_disk(str(tmp_path), state)
    with pytest.raises(CheckpointExistsError, match="ep0-ba1"):
        save_checkpoint_to_disk(str(tmp_path), state)
    save_checkpoint_to_disk(str(tmp_path), state, {"overwrite": True})
    path = str(tmp_path / "a.pt")
    save_state_dict_to_disk({"a": 1}, path)
    with pytest.raises(CheckpointExistsError):
        save_state_dict_to_disk({"a": 1}, path)


def test_single_parts_are_saved_and_loaded(tmp_path: pathlib.Path) -> None:
    state, other = train(make_state()), make_state(1)
    save_model_to_disk(state.model, str(tmp_path))
    save_optim_to_disk(state.model, state.optimizers[0], str(tmp_path))
    save_composer_metadata_to_disk(str(tmp_path / "composer_metadata.json"), state.model)
    load_model_checkpoint(other.model, str(tmp_path / "model"))
    load_optim_checkpoint(other.model, other.optimizers[0], str(tmp_path / "optim"))
    assert same_weights(state, other)
    assert other.optimizers[0].state[other.model[0].weight]["step"] == 1


def test_models_may_be_safetensors(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("safetensors")
    state, other = make_state(), make_state(1)
    path = save_checkpoint_to_disk(str(tmp_path), state, {"save_format": "safetensors"})
    load_checkpoint(path, model=other.model)
    assert same_weights(state, other)


def test_names_and_formats_may_be_chosen() -> None:
    state = train(make_state())
    weights = get_model_state_dict(state.model, precision="bf16", include_keys="0.*")
    assert set(weights) == {"0.weight", "0.bias"}
    assert weights["0.weight"].dtype is torch.bfloat16
    optim = get_optim_state_dict(state.model, state.optimizers[0], ignore_keys=["0.*"])
    assert set(optim["state"]) == {"1.weight", "1.bias"}
    assert optim["param_groups"][0]["params"] == ["1.weight", "1.bias"]
    with pytest.raises(ConfigError, match="give one"):
        get_model_state_dict(state.model, include_keys="a", ignore_keys="b")
    with pytest.raises(ConfigError, match="precision 'fp12'"):
        get_model_state_dict(state.model, precision="fp12")


def test_partly_loaded_models_keep_the_rest(tmp_path: pathlib.Path) -> None:
    state, other = make_state(), make_state(1)
    save_model_to_disk(state.model, str(tmp_path))
    kept = other.model[1].weight.clone()
    load_model_checkpoint(
        other.model, str(tmp_path / "model"), CheckpointLoadOptions(ignore_keys=["1.*"])
    )
    assert torch.equal(other.model[0].weight, state.model[0].weight)
    assert torch.equal(other.model[1].weight, kept)


def test_weights_that_do_not_fit_are_refused(tmp_path: pathlib.Path) -> None:
    save_model_to_disk(make_state().model, str(tmp_path))
    bigger = torch.nn.Sequential(*make_state().model, torch.nn.Linear(2, 2))
    with pytest.raises(CheckpointError, match=r"2\.weight"):
        load_model_checkpoint(bigger, str(tmp_path / "model"))
    load_model_checkpoint(bigger, str(tmp_path / "model"), {"strict": False})


def test_missing_parts_are_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(CheckpointNotFoundError, match=r"model\.pt"):
        load_model_checkpoint(make_state().model, str(tmp_path / "model"))
    with pytest.raises(ConfigError, match="needs a state"):
        load_checkpoint(str(tmp_path), {"load_model": False, "load_resumption_state": True})


def test_facts_and_the_rest_of_a_run() -> None:
    state = train(make_state())
    facts = get_metadata_state_dict(
        state.model, False, "bf16", state.device, device_train_microbatch_size=4
    )
    assert (facts["precision"], facts["device"]) == ("bf16", "cpu")
    assert facts["composer_env_info"]["composer_version"]
    rest = get_resumption_state_dict(state)
    assert {"timestamp", "schedulers", "callbacks", "rng", "dataset_state"} <= set(rest)
    assert "model" not in rest


@pytest.mark.parametrize("options", [{"sharded_checkpoint": True}, {"save_format": "pickle"}])
def test_what_cannot_be_written_is_refused_at_once(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        CheckpointSaveOptions(**options)  # pyright: ignore[reportArgumentType]
