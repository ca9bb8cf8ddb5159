"""Ranks and collectives, with one process and with two."""

import os
import random
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from composer.distributed import comm
from composer.errors import ArgumentTypeError, ConfigError, DistributedError, UnknownNameError
from tests._dist import RankFailure, run_ranks

LAUNCHER_VARIABLES = [
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "NODE_RANK",
    "GROUP_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch):
    for name in LAUNCHER_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    comm.disconnect()
    yield
    comm.disconnect()


# One process


def test_without_a_launcher_there_is_one_process():
    assert comm.get_world_size() == comm.get_local_world_size() == 1
    assert comm.get_global_rank() == comm.get_local_rank() == comm.get_node_rank() == 0
    assert comm.is_available()
    assert not comm.is_initialized()


def test_collectives_of_one_process_change_nothing():
    tensor = torch.tensor([1.0, 2.0])
    objects = ["a", {"b": 1}]
    comm.barrier()
    comm.all_reduce(tensor, "MAX")
    comm.broadcast(tensor, 0)
    comm.broadcast_object_list(objects)
    assert tensor.tolist() == [1.0, 2.0]
    assert objects == ["a", {"b": 1}]
    assert comm.all_gather(tensor)[0] is tensor
    assert comm.all_gather_object(objects)[0] is objects


def test_numbers_of_one_process_come_back_as_they_were():
    assert comm.all_reduce_counts([3, 2.5]) == [3, 2.5]
    pending = comm.start_reduce((7,))
    assert pending.wait() == [7]
    assert pending.wait() == [7]
    assert comm.any_rank(True) is True
    assert comm.any_rank(False) is False


def test_connecting_one_process_makes_no_group():
    comm.connect("cpu")
    assert not comm.is_initialized()
    assert comm.any_rank(True)


def test_initialize_dist_makes_a_group_of_one():
    comm.initialize_dist("cpu")
    assert comm.is_initialized()
    assert dist.get_world_size() == 1
    comm.initialize_dist("cpu")
    assert comm.all_reduce_counts([1]) == [1]
    comm.disconnect()
    assert not comm.is_initialized()


def test_ranks_come_from_the_environment_before_there_is_a_group(monkeypatch: pytest.MonkeyPatch):
    for name, value in {
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "4",
        "NODE_RANK": "1",
    }.items():
        monkeypatch.setenv(name, value)
    assert (comm.get_global_rank(), comm.get_world_size()) == (5, 8)
    assert (comm.get_local_rank(), comm.get_local_world_size()) == (1, 4)
    assert comm.get_node_rank() == 1


def test_the_node_comes_from_torchrun_or_is_worked_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RANK", "5")
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert comm.get_node_rank() == 2
    monkeypatch.setenv("GROUP_RANK", "3")
    assert comm.get_node_rank() == 3


def test_a_collective_without_a_group_names_what_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(DistributedError, match=r"barrier needs the other 1 of 2.*initialize_dist"):
        comm.barrier()
    with pytest.raises(RuntimeError, match=r"all_reduce_?"):
        comm.all_reduce(torch.ones(1))


def test_starting_a_group_names_the_missing_variables(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("MASTER_PORT", "29400")
    with pytest.raises(DistributedError, match="RANK, MASTER_ADDR not set"):
        comm.initialize_dist("cpu")


def test_a_group_that_contradicts_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch):
    comm.initialize_dist("cpu")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(DistributedError, match="says 1 where the environment says WORLD_SIZE=2"):
        comm.get_world_size()
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(DistributedError, match="RANK=1"):
        comm.get_global_rank()


def test_a_timeout_must_be_positive():
    with pytest.raises(ConfigError, match="timeout=0"):
        comm.initialize_dist("cpu", timeout=0)


def test_an_unknown_operation_names_the_near_one():
    with pytest.raises(UnknownNameError, match="Did you mean 'SUM'"):
        comm.all_reduce(torch.ones(1), "SUMM")


def test_waiting_functions_of_one_process_do_not_wait(tmp_path: Path):
    ran: list[str] = []
    with comm.run_local_rank_zero_first():
        ran.append("first")
    with comm.busy_wait_for_local_rank_zero(str(tmp_path)):
        ran.append("busy")
    with comm.local_rank_zero_download_and_wait(str(tmp_path / "never")):
        ran.append("download")
    assert ran == ["first", "busy", "download"]
    assert list(tmp_path.iterdir()) == []


def test_signal_file_names_can_be_reproduced_and_are_written(tmp_path: Path):
    name = comm.get_node_signal_file_name(random.Random(3))
    assert name == comm.get_node_signal_file_name(random.Random(3))
    assert name.startswith("._signal_file_node0_")
    path = comm.write_signal_file(name, str(tmp_path / "new"))
    assert path == str(tmp_path / "new" / name)
    assert Path(path).exists()


def test_a_sampler_shares_a_dataset_out():
    shares = [
        list(comm.get_sampler(list(range(7)), num_replicas=2, rank=rank, drop_last=True))  # pyright: ignore[reportArgumentType]
        for rank in (0, 1)
    ]
    assert sorted([*shares[0], *shares[1]]) == [0, 1, 2, 3, 4, 5]
    own = comm.get_sampler(list(range(7)), shuffle=True, seed=3)  # pyright: ignore[reportArgumentType]
    assert sorted(own) == list(range(7))
    assert (own.num_replicas, own.rank, own.seed) == (1, 0, 3)


def test_a_dataset_without_length_is_refused():
    class Endless(torch.utils.data.IterableDataset[int]):
        def __iter__(self):
            return iter(())

    with pytest.raises(ArgumentTypeError, match="Endless has no length"):
        comm.get_sampler(Endless())


# Two processes


def _tensors() -> None:
    rank = comm.get_global_rank()
    assert comm.get_world_size() == 2
    assert (comm.get_local_rank(), comm.get_local_world_size(), comm.get_node_rank()) == (
        rank,
        2,
        0,
    )
    for operation, expected in {"SUM": 3, "max": 2, "MIN": 1, "PRODUCT": 2}.items():
        tensor = torch.tensor([rank + 1])
        comm.all_reduce(tensor, operation)
        assert tensor.item() == expected
    tensor = torch.full((2,), float(rank))
    comm.broadcast(tensor, 1)
    assert tensor.tolist() == [1.0, 1.0]
    uneven = torch.arange(6.0).view(2, 3).t() + rank  # not contiguous
    gathered = comm.all_gather(uneven)
    assert all(torch.equal(part, uneven - rank + r) for r, part in enumerate(gathered))


def test_tensor_collectives_reach_all_ranks():
    run_ranks(2, _tensors)


def _objects() -> list[object]:
    rank = comm.get_global_rank()
    assert comm.all_gather_object({"rank": rank}) == [{"rank": 0}, {"rank": 1}]
    objects = [rank, "same"]
    comm.broadcast_object_list(objects, src=1)
    comm.barrier()
    return objects


def test_object_collectives_reach_all_ranks():
    assert run_ranks(2, _objects) == [[1, "same"], [1, "same"]]


def _numbers() -> None:
    rank = comm.get_global_rank()
    assert comm.all_reduce_counts([10**12 + rank, 0.5, 0.25 * (rank + 1)]) == [
        2 * 10**12 + 1,
        1,
        0.75,
    ]
    assert comm.all_reduce_counts([rank, 5], "MAX") == [1, 5]
    first = comm.start_reduce([rank])
    second = comm.start_reduce([10 * rank, 1])
    tensor = torch.ones(1)
    comm.all_reduce(tensor)  # another group: may run while the numbers are under way
    assert second.wait() == [10, 2]
    assert first.wait() == first.wait() == [1]
    assert comm.any_rank(rank == 1) is True
    assert comm.any_rank(False) is False


def test_numbers_are_added_up_on_the_control_group():
    run_ranks(2, _numbers)


def _own_group() -> None:
    rank = int(os.environ["RANK"])
    with pytest.raises(DistributedError, match="there is no process group"):
        comm.any_rank(True)
    dist.init_process_group("gloo", timeout=timedelta(seconds=20))
    tensor = torch.tensor([rank])
    comm.all_reduce(tensor)
    assert tensor.item() == 1
    with pytest.raises(DistributedError, match="not connected"):
        comm.any_rank(True)
    comm.connect("cpu")
    comm.connect("cpu")
    assert comm.any_rank(rank == 0)
    one = dist.new_group([1])
    assert comm.get_global_rank(one) == (0 if rank == 1 else -1)
    del os.environ["LOCAL_RANK"]
    with pytest.raises(DistributedError, match="LOCAL_RANK is not set"):
        comm.get_local_rank()


def test_a_group_made_by_the_user_is_used():
    run_ranks(2, _own_group, connect=False)


def _first(folder: str) -> None:
    rank = comm.get_global_rank()
    marker = Path(folder) / "made"
    with comm.run_local_rank_zero_first():
        assert marker.exists() == (rank == 1)
        if rank == 0:
            marker.touch()
    with comm.busy_wait_for_local_rank_zero(folder):
        if rank == 0:
            (Path(folder) / "slow").touch()
    assert (Path(folder) / "slow").exists()
    with comm.local_rank_zero_download_and_wait(str(Path(folder) / "file")):
        if rank == 0:
            (Path(folder) / "file").touch()
        assert (Path(folder) / "file").exists()
    comm.barrier()
    names = comm.all_gather_object(comm.get_node_signal_file_name())
    assert names[0] == names[1]


def test_local_rank_zero_goes_first(tmp_path: Path):
    run_ranks(2, _first, str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "made", "slow"]


def _fail_first() -> str:
    try:
        with comm.run_local_rank_zero_first():
            if comm.get_local_rank() == 0:
                raise ValueError("cannot")
    except ValueError:
        return "failed"
    return "ran"


def test_a_failure_of_local_rank_zero_lets_the_others_go_on():
    assert run_ranks(2, _fail_first) == ["failed", "ran"]


def _samplers() -> list[int]:
    sampler = comm.get_sampler(list(range(10)), shuffle=True, seed=1)  # pyright: ignore[reportArgumentType]
    sampler.set_epoch(2)
    return list(sampler)


def test_samplers_of_two_ranks_cover_the_dataset_once():
    first, second = run_ranks(2, _samplers)
    assert sorted(first + second) == list(range(10))


def _one_fails() -> None:
    if comm.get_global_rank() == 1:
        raise ValueError("rank one is out of paper")
    comm.barrier()


def test_the_harness_reports_the_failing_rank():
    with pytest.raises(RankFailure, match="rank one is out of paper"):
        run_ranks(2, _one_fails)
