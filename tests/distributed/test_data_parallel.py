"""Equal gradients over two ranks, whatever the strategy."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from composer.devices.device_cpu import DeviceCPU
from composer.distributed import comm
from composer.distributed.data_parallel import (
    DDPSyncStrategy,
    average_gradients,
    ddp_sync_context,
    prepare_ddp_module,
)
from composer.distributed.plan import ParallelismPlan
from composer.errors import ConfigError, UnknownNameError
from tests._dist import run_ranks


class TwoHeads(nn.Module):
    """A model of which a pass may use one head or both."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.trunk = nn.Linear(3, 2)
        self.left = nn.Linear(2, 1)
        self.right = nn.Linear(2, 1)

    def forward(self, x: Tensor, heads: str) -> Tensor:
        hidden = self.trunk(x)
        out = hidden.sum() * 0.0
        if "l" in heads:
            out = out + self.left(hidden).square().mean()
        if "r" in heads:
            out = out + self.right(hidden).square().mean()
        return out


def _data() -> Tensor:
    return torch.randn(8, 3, generator=torch.Generator().manual_seed(1))


def _reference(heads: dict[int, str]) -> list[Tensor | None]:
    """Gradients of the mean over both ranks, each with two microbatches of two rows."""
    model = TwoHeads()
    for index, rows in enumerate(_data().split(2)):
        (model(rows, heads[index // 2]) / 4).backward()
    return [parameter.grad for parameter in model.parameters()]


def _check(heads: dict[int, str], strategy: str, find_unused: bool, through_plan: bool) -> None:
    rank = comm.get_global_rank()
    plan = ParallelismPlan(
        DeviceCPU(), 2, ddp_sync_strategy=strategy, find_unused_parameters=find_unused
    )
    model = plan.apply(TwoHeads())
    assert isinstance(model, DistributedDataParallel)
    assert isinstance(plan.unwrap(model), TwoHeads)
    for _ in range(2):  # a second step finds the gradients where DDP keeps them
        model.zero_grad()
        for index, rows in enumerate(_data()[4 * rank : 4 * rank + 4].split(2)):
            is_last = index == 1
            context: Any = (
                plan.sync_context(model, is_last)
                if through_plan
                else ddp_sync_context(SimpleNamespace(model=model), is_last, strategy)  # pyright: ignore[reportArgumentType]
            )
            with context:
                (model(rows, heads[rank]) / 2).backward()
        if through_plan:
            plan.finish_gradients(model)
    for (name, parameter), expected in zip(
        plan.unwrap(model).named_parameters(), _reference(heads), strict=True
    ):
        if expected is None:
            assert parameter.grad is None, name
        else:
            torch.testing.assert_close(parameter.grad, expected, msg=name)


def _all_strategies() -> None:
    both = {0: "lr", 1: "lr"}
    for strategy in DDPSyncStrategy:
        for through_plan in (True, False):
            _check(both, strategy.value, False, through_plan)


def test_every_strategy_gives_the_gradient_of_the_global_batch():
    run_ranks(2, _all_strategies)


def _uneven_use() -> None:
    _check({0: "l", 1: "r"}, "forced_sync", False, True)
    _check({0: "l", 1: "r"}, "forced_sync", False, False)
    _check({0: "l", 1: "l"}, "forced_sync", False, True)


def test_forced_sync_is_right_when_ranks_use_different_parameters():
    run_ranks(2, _uneven_use)


def _find_unused() -> None:
    _check({0: "l", 1: "r"}, "multi_auto_sync", True, True)


def test_multi_auto_sync_finds_unused_parameters():
    run_ranks(2, _find_unused)


def _by_hand() -> None:
    rank = comm.get_global_rank()
    double = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    frozen = nn.Parameter(torch.zeros(2), requires_grad=False)
    sparse = nn.Embedding(4, 1, sparse=True)
    sparse(torch.tensor([rank])).mul(torch.ones(1, 1)).sum().backward()
    double.grad = torch.full((2,), float(rank), dtype=torch.float64)
    average_gradients([double, frozen, sparse.weight])
    assert double.grad.tolist() == [0.5, 0.5]
    assert frozen.grad is None
    assert sparse.weight.grad is not None
    assert sparse.weight.grad.flatten().tolist() == [0.5, 0.5, 0, 0]


def test_gradients_of_other_types_and_sparse_ones_are_averaged():
    run_ranks(2, _by_hand)


def _nothing_to_train() -> None:
    model = TwoHeads().requires_grad_(False)
    assert prepare_ddp_module(model, False) is model
    plan = ParallelismPlan(DeviceCPU(), 2, ddp_sync_strategy="forced_sync")
    with plan.sync_context(model, True):
        model(_data(), "l")
    plan.finish_gradients(model)


def test_a_frozen_model_is_not_wrapped():
    run_ranks(2, _nothing_to_train)


# One process


def test_one_process_wraps_nothing_and_waits_for_nobody():
    plan = ParallelismPlan(DeviceCPU(), 1, ddp_sync_strategy="forced_sync")
    model = TwoHeads()
    assert plan.apply(model) is model
    assert plan.unwrap(model) is model
    assert plan.sync_context(model, False) is plan.sync_context(model, True)
    with plan.sync_context(model, True), plan.sync_context(model, True):
        model(_data(), "l").backward()
    before = model.left.weight.grad
    plan.finish_gradients(model)
    assert model.left.weight.grad is before
    assert prepare_ddp_module(model, False) is model


def test_the_default_strategy_depends_on_unused_parameters():
    device = DeviceCPU()
    assert ParallelismPlan(device, 2).sync_strategy is DDPSyncStrategy.SINGLE_AUTO_SYNC
    may_be_unused = ParallelismPlan(device, 2, find_unused_parameters=True)
    assert may_be_unused.sync_strategy is DDPSyncStrategy.MULTI_AUTO_SYNC


def test_an_unknown_strategy_is_refused():
    with pytest.raises(ValueError, match="single_auto_sync"):
        ParallelismPlan(DeviceCPU(), 1, ddp_sync_strategy="single_auto")


@pytest.mark.parametrize(
    "config", [{"fsdp": {}}, {"fsdp": {}, "tp": {"tensor_parallel_degree": 2}}]
)
def test_sharding_is_refused_rather_than_ignored(config: dict[str, Any]):
    with pytest.raises(ConfigError, match=r"asks for 'fsdp'.*not in this version"):
        ParallelismPlan(DeviceCPU(), 1, config)


@pytest.mark.parametrize("config", [None, {}, {"fsdp": None}])
def test_a_config_that_asks_for_nothing_is_accepted(config: Any):
    plan = ParallelismPlan(DeviceCPU(), 1, config)
    assert plan.config is None
    assert not plan.is_sharded


def test_a_misspelt_config_is_refused():
    with pytest.raises(UnknownNameError, match=r"'fspd'. Did you mean 'fsdp'"):
        ParallelismPlan(DeviceCPU(), 1, {"fspd": {}})
