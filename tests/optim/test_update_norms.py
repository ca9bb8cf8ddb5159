"""Norms are summed over ranks so that each part of a parameter counts once."""

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from composer.distributed import comm
from composer.optim.decoupled_weight_decay import DecoupledAdamW
from composer.optim.update_norms import count_copies, sum_over_ranks
from tests._dist import run_ranks

FULL = torch.arange(1.0, 9.0).reshape(4, 2)


def norms_over_ranks(placements):
    mesh = init_device_mesh("cpu", (2,))
    if placements is None:
        param = torch.nn.Parameter(FULL.clone())
    else:
        param = torch.nn.Parameter(distribute_tensor(FULL.clone(), mesh, placements))
    optimizer = DecoupledAdamW([param], lr=0.1)
    (param * param).sum().backward()
    optimizer.step()
    metrics = optimizer.report_per_parameter_metrics(param, "w", {})
    optimizer.dist_reduce_metrics(optimizer.pre_reduce_metrics(metrics))
    return {name: value.item() for name, value in metrics.items()}


@pytest.mark.parametrize("placements", [None, [Shard(0)], [Replicate()]], ids=str)
def test_norms_over_two_ranks_are_those_of_the_whole_parameter(placements):
    param = torch.nn.Parameter(FULL.clone())
    optimizer = DecoupledAdamW([param], lr=0.1)
    (param * param).sum().backward()
    optimizer.step()
    expected = optimizer.report_per_parameter_metrics(param, "w", {})
    for found in run_ranks(2, norms_over_ranks, placements):
        assert found == {name: pytest.approx(value.item()) for name, value in expected.items()}


def sums_with_a_missing_name():
    mine = {"both": torch.tensor(1.0)}
    if comm.get_global_rank() == 1:
        mine["one"] = torch.tensor(5.0)
    return {name: value.item() for name, value in sum_over_ranks(mine).items()}


def test_a_name_that_one_rank_lacks_counts_as_zero_there():
    assert run_ranks(2, sums_with_a_missing_name) == [{"both": 2.0, "one": 5.0}] * 2


def test_no_values_sum_to_nothing():
    assert sum_over_ranks({}) == {}


def test_a_plain_parameter_has_one_copy_in_one_process():
    assert count_copies(torch.ones(1)) == 1
