"""Callbacks that look at parameters, gradients or activations, with a model sharded over ranks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from composer.callbacks.activation_monitor import ActivationMonitor
from composer.callbacks.loss_spike_monitor import LossSpikeMonitor
from composer.callbacks.optimizer_monitor import OptimizerMonitor
from composer.core.logger import Logger
from composer.distributed import comm
from composer.optim.decoupled_weight_decay import DecoupledAdamW
from tests._dist import run_ranks
from tests.core._doubles import Memory, make_state


def make_model() -> nn.Sequential:
    torch.manual_seed(0)
    # Sizes that two ranks cannot halve, so that shards differ and one may be empty.
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 1))


def metrics_of_a_step(is_sharded: bool) -> dict[str, Any]:
    """Train one step on all data and return what the callbacks log."""
    model: Any = make_model()
    if is_sharded:
        mesh = init_device_mesh("cpu", (comm.get_world_size(),))
        for layer in (model[0], model[2], model):
            fully_shard(layer, mesh=mesh)
    optimizer = DecoupledAdamW(model.parameters(), lr=1e-2)
    memory = Memory()
    state = make_state(model=model, optimizers=optimizer)
    logger = Logger(state, memory)
    activations = ActivationMonitor("1ba", only_log_wandb=False)
    data = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    activations.before_forward(state, logger)
    loss = (model(data) ** 2).mean()
    activations.after_forward(state, logger)
    loss.backward()
    optimizer.step()
    state.timestamp = state.timestamp.to_next_batch(4)
    OptimizerMonitor(batch_log_interval=1).batch_end(state, logger)
    logger.flush()
    return {name: value for _, metrics in memory.metrics for name, value in metrics.items()}


def weights_around_a_bad_batch(is_fused: bool) -> tuple[bool, bool, int]:
    """Train sharded with one bad batch, and say which of its two neighbours moved the weights."""
    model: Any = make_model()
    mesh = init_device_mesh("cpu", (comm.get_world_size(),))
    for layer in (model[0], model[2], model):
        fully_shard(layer, mesh=mesh)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=is_fused)
    state = make_state(model=model, optimizers=optimizer)
    logger, monitor = Logger(state), LossSpikeMonitor("skip", warmup_batches=2)
    monitor.fit_start(state, logger)
    moved: list[bool] = []
    for scale in (1.0, float("nan"), 1.0):
        before = [p.to_local().clone() for p in model.parameters()]
        monitor.before_train_batch(state, logger)
        optimizer.zero_grad()
        state.loss = (model(torch.ones(4, 5)) ** 2).mean() * scale
        monitor.after_loss(state, logger)
        state.loss.backward()
        monitor.after_train_batch(state, logger)
        optimizer.step()
        state.timestamp = state.timestamp.to_next_batch(4)
        monitor.batch_end(state, logger)
        after = [p.to_local() for p in model.parameters()]
        moved.append(any(not torch.equal(a, b) for a, b in zip(before, after, strict=True)))
    return moved[0] and moved[2], moved[1], monitor.num_spikes


@pytest.mark.parametrize("is_fused", [False, True])
def test_a_bad_batch_is_skipped_on_all_ranks(is_fused: bool) -> None:
    left, right = run_ranks(2, weights_around_a_bad_batch, is_fused)
    assert left == right == (True, False, 1)


def test_they_log_the_same_as_for_a_model_that_is_not_sharded() -> None:
    left, right = run_ranks(2, metrics_of_a_step, True)
    alone = run_ranks(1, metrics_of_a_step, False)[0]
    # Wrapped modules get classes of other names, and so does the whole model.
    whole = {k: v for k, v in alone.items() if "Sequential" not in k}
    sharded = {k: v for k, v in left.items() if "Sequential" not in k}
    assert sharded == pytest.approx(whole, rel=1e-4)
    assert left == pytest.approx(right)
    assert "l2_norm/grad/global" in whole
    assert "l2_norm/update/0.weight" in whole
