"""Saving and loading on two ranks."""

from __future__ import annotations

import pathlib
import warnings
from typing import Any

import torch

from composer.callbacks.checkpoint_saver import CheckpointSaver
from composer.checkpoint.load_run import load_checkpoint, read_checkpoint
from composer.checkpoint.save_run import save_checkpoint
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.devices.device_cpu import DeviceCPU
from composer.distributed import comm
from composer.distributed.reproducibility import seed_all
from composer.trainer.data_position import DataloaderPosition
from composer.trainer.resume import find_latest
from tests._dist import run_ranks
from tests.checkpoint._folders import visible_files


def make_state() -> State:
    seed_all(5 + comm.get_global_rank())
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    state = State(model, 5, "run", DeviceCPU(), "2ep", optimizers=optimizer)
    loader = torch.utils.data.DataLoader(range(12), batch_size=3, shuffle=True)
    state.train_dataloader = loader
    state.set_dataloader(loader, "train")
    return state


def train(state: State, position: DataloaderPosition, num_batches: int) -> list[list[int]]:
    position.prepare(state)
    seen: list[list[int]] = []
    for batch in position.iterate(state):
        seen.append(batch.tolist())
        torch.rand(comm.get_global_rank() + 1)
        state.timestamp = state.timestamp.to_next_batch(samples=6)
        if len(seen) == num_batches:
            break
    return [*seen, torch.rand(2).tolist()]


def save_and_go_on(folder: str) -> dict[str, Any]:
    state, position = make_state(), DataloaderPosition()
    train(state, position, 2)
    path = save_checkpoint(state, f"{folder}/ep{{epoch}}-rank{{rank}}.pt")
    straight = train(state, position, 2)

    other, position = make_state(), DataloaderPosition()
    rng_states = load_checkpoint(f"{folder}/ep0-rank{{rank}}.pt", other, Logger(other))
    position.continue_from(rng_states)
    return {"path": path, "straight": straight, "resumed": train(other, position, 2)}


def test_each_rank_goes_on_with_its_own_data_and_random_states(tmp_path: pathlib.Path) -> None:
    first, second = run_ranks(2, save_and_go_on, str(tmp_path))
    assert (first["path"], second["path"]) == (str(tmp_path / "ep0-rank0.pt"), None)
    assert visible_files(tmp_path) == {"ep0-rank0.pt"}
    for found in (first, second):
        assert found["resumed"] == found["straight"]
    assert first["straight"] != second["straight"]


def test_a_file_of_two_ranks_loads_on_one_and_says_what_is_lost(tmp_path: pathlib.Path) -> None:
    run_ranks(2, save_and_go_on, str(tmp_path))
    assert len(read_checkpoint(str(tmp_path / "ep0-rank0.pt"))["rng"]) == 2
    state = make_state()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert load_checkpoint(str(tmp_path / "ep0-rank0.pt"), state, Logger(state)) is None
    assert ["written by 2 ranks" in str(each.message) for each in caught] == [True]
    assert state.timestamp.batch == 2


def fail_to_save(folder: str) -> str:
    state = make_state()
    try:
        save_checkpoint(state, f"{folder}/file/below.pt")
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def test_when_rank_0_cannot_write_all_ranks_raise(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("in the way")
    first, second = run_ranks(2, fail_to_save, str(tmp_path))
    assert "Error" in first.partition(":")[0]
    assert second.startswith("CheckpointError: rank 0 could not write")


def use_a_saver(folder: str) -> tuple[list[str], str | None]:
    state = make_state()
    saver = CheckpointSaver(folder, save_interval="1ba", num_checkpoints_to_keep=1)
    state.callbacks.append(saver)
    logger = Logger(state)
    saver.init(state, logger)
    saver.fit_start(state, logger)
    for _ in range(2):
        state.previous_timestamp = state.timestamp
        state.timestamp = state.timestamp.to_next_batch(samples=6)
        saver.run_event(Event.BATCH_CHECKPOINT, state, logger)
    saver.fit_end(state, logger)
    return saver.saved_checkpoints, find_latest(folder, "latest-rank{rank}.pt", "run")


def test_a_saver_on_two_ranks_writes_one_file(tmp_path: pathlib.Path) -> None:
    kept = [str(tmp_path / "ep0-ba2-rank0.pt")]
    expected = (kept, kept[0])
    assert run_ranks(2, use_a_saver, str(tmp_path)) == [expected, expected]
    assert visible_files(tmp_path) == {"ep0-ba2-rank0.pt", "latest-rank0.pt"}
