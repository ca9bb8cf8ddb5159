"""Two processes train with every method, and stay one model."""

from __future__ import annotations

import traceback
from functools import cache
from typing import Any

import pytest
import torch

from composer.distributed import comm
from tests._dist import run_ranks
from tests.contract._cases import Case, first_cases
from tests.contract._method_runs import make_trainer
from tests.contract._workloads import Workload

NUM_BATCHES = 3
BATCH_SIZE = 4


def own_batches(workload: Workload) -> list[Any]:
    """This rank's share: other samples than the other rank's."""
    batches = list(workload.loader(BATCH_SIZE, generator=torch.Generator()))
    return batches[comm.get_global_rank() :: comm.get_world_size()] * NUM_BATCHES


def train_every_case() -> dict[str, Any]:
    """Weights of each case after some batches, or what went wrong."""
    found: dict[str, Any] = {}
    for case in first_cases():
        try:
            found[case.name] = trained_weights(case)
        except Exception:
            found[case.name] = traceback.format_exc()
    return found


def trained_weights(case: Case) -> list[torch.Tensor]:
    workload = case.workload
    data = workload.loader(BATCH_SIZE) if workload.is_keyed else own_batches(workload)
    trainer = make_trainer(case, "3ba", train_dataloader=data)
    trainer.fit()
    return [parameter.detach().clone() for parameter in trainer.state.model.parameters()]


@cache
def both_ranks() -> list[dict[str, Any]]:
    # One pair of processes for all methods: starting them is what takes time.
    return run_ranks(2, train_every_case, timeout_s=170.0)


@pytest.mark.parametrize("case", first_cases(), ids=str)
def test_two_ranks_train_to_the_same_weights(case: Case) -> None:
    first, second = (found[case.name] for found in both_ranks())
    for found in (first, second):
        assert not isinstance(found, str), found
    for left, right in zip(first, second, strict=True):
        assert left.isfinite().all()
        assert torch.equal(left, right)
