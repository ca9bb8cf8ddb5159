"""A state made by hand and the events of a training step, for tests of single methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from composer.core.algorithm import Algorithm
from composer.core.engine import Engine
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.logger_destination import LoggerDestination
from composer.core.state import State
from composer.devices.device_cpu import DeviceCPU
from composer.models.tasks.classification import ComposerClassifier


class Memory(LoggerDestination):
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.metrics: list[dict[str, Any]] = []
        self.hyperparameters: dict[str, Any] = {}

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.metrics.append(dict(metrics))

    def log_hyperparameters(self, hyperparameters: dict[str, Any]) -> None:
        self.hyperparameters.update(hyperparameters)


def conv_net(num_classes: int = 4) -> nn.Sequential:
    """A small network with every kind of layer the methods look for."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, num_classes),
    )


def classifier(module: nn.Module | None = None, num_classes: int = 4) -> ComposerClassifier:
    return ComposerClassifier(module or conv_net(num_classes), num_classes=num_classes)


class HandRun:
    """A state with its engine, driven event by event."""

    def __init__(
        self,
        algorithms: Algorithm | Sequence[Algorithm],
        model: nn.Module | None = None,
        max_duration: str = "10ba",
        lr: float = 0.1,
    ) -> None:
        model = model or classifier()
        parameters = [p for p in model.parameters() if p.requires_grad]
        self.state = State(
            model=model,
            rank_zero_seed=0,
            run_name="by-hand",
            device=DeviceCPU(),
            max_duration=max_duration,
            dataloader=range(10),
            dataloader_label="train",
            algorithms=algorithms,
            optimizers=torch.optim.SGD(parameters, lr=lr),
        )
        self.memory = Memory()
        self.logger = Logger(self.state, self.memory)
        self.state.callbacks = [self.memory]
        self.engine = Engine(self.state, self.logger)

    def run(self, *events: Event) -> None:
        for event in events:
            self.engine.run_event(event)

    def begin(self) -> None:
        self.run(Event.INIT, Event.BEFORE_LOAD, Event.AFTER_LOAD, Event.FIT_START)

    def loss(self, batch: Any) -> Tensor:
        """Forward and loss of one microbatch, with the events around them."""
        state, model = self.state, self.state.model
        state.batch = batch
        self.run(Event.BEFORE_FORWARD)
        state.outputs = model(state.batch)
        self.run(Event.AFTER_FORWARD, Event.BEFORE_LOSS)
        self.batch_at_loss = state.batch
        state.loss = model.loss(state.outputs, state.batch)
        self.run(Event.AFTER_LOSS, Event.BEFORE_BACKWARD)
        return state.loss

    def step(self, batch: Any) -> None:
        """One whole batch."""
        for optimizer in self.state.optimizers:
            optimizer.zero_grad()
        self.loss(batch).backward()
        self.run(Event.AFTER_BACKWARD)
        self.run(Event.AFTER_TRAIN_BATCH)
        for optimizer in self.state.optimizers:
            optimizer.step()
        self.end_batch()

    def end_batch(self) -> None:
        self.state.timestamp = self.state.timestamp.to_next_batch(samples=4)
        self.run(Event.BATCH_END)

    def end_epoch(self) -> None:
        self.state.timestamp = self.state.timestamp.to_next_epoch()
        self.run(Event.EPOCH_END)


def image_batch(
    num_samples: int = 4, side: int = 16, num_classes: int = 4
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(num_samples, 3, side, side, generator=generator)
    return images, torch.arange(num_samples) % num_classes
