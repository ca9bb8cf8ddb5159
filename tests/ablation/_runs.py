"""A small ablation on the digits: quick, real, and with a method that surely hurts."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

from composer.ablation.arms import Arm
from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.models.tasks.classification import ComposerClassifier
from composer.trainer.trainer import Trainer

METRIC = "MulticlassAccuracy"


class NoiseOnly(Algorithm):
    """Trains on wrong labels."""

    events: ClassVar = {Event.BEFORE_LOSS: "spoil"}

    def __init__(self, shift: int = 3) -> None:
        self.shift = shift

    def spoil(self, state: Any, logger: Any) -> None:
        inputs, targets = state.batch
        state.batch = inputs, (targets + self.shift) % 10


class Fails(Algorithm):
    """Raises in training."""

    events: ClassVar = {Event.BATCH_END: "fail"}

    def fail(self, state: Any, logger: Any) -> None:
        raise RuntimeError("out of luck")


def make_trainer(seed: int, arm: Arm, **arguments: Any) -> Trainer:
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    data = TensorDataset(images, torch.tensor(digits.target))
    torch.manual_seed(seed)
    network = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    rate = 0.3 if "hot" in arm else 0.1
    given: dict[str, Any] = {
        "model": ComposerClassifier(network, num_classes=10),
        "eval_dataloader": DataLoader(TensorDataset(*data[512:]), batch_size=1285),
        "optimizers": torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9),
        "max_duration": "3ep",
        "algorithms": arm.algorithms,
        "progress_bar": False,
    } | arguments
    return Trainer(
        train_dataloader=DataLoader(TensorDataset(*data[:512]), batch_size=64, shuffle=True),
        seed=seed,
        **given,
    )
