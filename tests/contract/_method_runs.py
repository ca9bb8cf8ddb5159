"""Runs of the workloads with methods, and what is compared between two of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from composer.core.algorithm import Algorithm
from composer.trainer.trainer import Trainer
from tests.contract._cases import Case
from tests.contract._workloads import VISION, Workload


def make_trainer(
    methods: Case | list[Algorithm],
    max_duration: str = "8ba",
    workload: Workload = VISION,
    **keywords: Any,
) -> Trainer:
    """A Trainer whose epochs have 4 batches of 4 samples, always with the same seed."""
    if isinstance(methods, Case):
        workload, keywords = methods.workload, methods.keywords | keywords
        methods = [methods.make()]
    torch.manual_seed(0)
    model = workload.model()
    defaults = {
        "model": model,
        "algorithms": methods,
        "max_duration": max_duration,
        "train_dataloader": workload.loader(shuffle=True),
        "optimizers": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01),
        "progress_bar": False,
        "seed": 17,
    }
    return Trainer(**defaults | keywords)


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.state.model.state_dict().items()}


def assert_equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    assert left.keys() == right.keys()
    different = [name for name in left if not torch.equal(left[name], right[name])]
    assert not different


def assert_close(left: dict[str, Tensor], right: dict[str, Tensor], share: float) -> None:
    """Entries differ by at most a share of the largest one of their tensor."""
    assert left.keys() == right.keys()
    for name, value in left.items():
        a, b = value.double(), right[name].double()
        assert (a - b).abs().max() <= share * a.abs().max() + 1e-6, name


def assert_finite(trainer: Trainer) -> None:
    assert all(value.isfinite().all() for value in weights(trainer).values())


def tensors_of(batch: Any) -> list[Tensor]:
    """The tensors of a batch or of outputs, in a fixed order."""
    if isinstance(batch, Tensor):
        return [batch]
    values = batch.values() if hasattr(batch, "values") else batch
    return [tensor for value in values for tensor in tensors_of(value)]
