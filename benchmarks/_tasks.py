"""The networks and data that are timed: small ones, so that what surrounds a step is seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from composer.models.base import ComposerModel

__all__ = ["TASKS", "Pair", "Task"]

Pair = tuple[Tensor, Tensor]
CLASSES = 10
VOCABULARY = 256


class Network(ComposerModel):
    """Any network with a cross-entropy loss; every contestant calls it in the same way."""

    def __init__(self, network: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.network, self.num_classes = network, num_classes
        self.with_metrics = False

    def forward(self, batch: Pair) -> Tensor:
        return self.network(batch[0])

    def loss(self, outputs: Tensor, batch: Pair) -> Tensor:
        return F.cross_entropy(outputs.flatten(0, -2), batch[1].flatten())

    def get_metrics(self, is_train: bool) -> dict:
        del is_train
        return {"Accuracy": make_metric(self.num_classes)} if self.with_metrics else {}

    def update_metric(self, batch: Pair, outputs: Tensor, metric) -> None:
        metric.update(outputs.flatten(0, -2), batch[1].flatten())


def make_metric(num_classes: int = CLASSES):
    from torchmetrics.classification import MulticlassAccuracy

    return MulticlassAccuracy(num_classes=num_classes, average="micro")


class Block(nn.Module):
    """One layer of a GPT."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:2], self.heads, -1)
        q, k, v = (
            part.view(shape).transpose(1, 2) for part in self.mix(self.norm_1(x)).chunk(3, -1)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm_2(x))


class SmallGPT(nn.Module):
    """Two layers of width 32 over 32 tokens."""

    def __init__(self, width: int = 32, length: int = 32) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.places = nn.Parameter(torch.zeros(length, width))
        self.blocks = nn.Sequential(Block(width, 4), Block(width, 4))
        self.head = nn.Linear(width, VOCABULARY, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.blocks(self.tokens(tokens) + self.places))


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, CLASSES))


def _cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1, stride=2), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, CLASSES),
    )  # fmt: skip


def _vectors() -> Pair:
    return torch.randn(32, 32), torch.randint(CLASSES, (32,))


def _images() -> Pair:
    return torch.randn(16, 1, 8, 8), torch.randint(CLASSES, (16,))


def _text() -> Pair:
    tokens = torch.randint(VOCABULARY, (4, 33))
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


@dataclass(frozen=True)
class Task:
    """A network, its optimizer and its data."""

    name: str
    make_network: Callable[[], nn.Module]
    make_batch: Callable[[], Pair]
    make_optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    num_classes: int = CLASSES

    def model(self) -> Network:
        torch.manual_seed(0)
        return Network(self.make_network(), self.num_classes)

    def batches(self, count: int = 16) -> list[Pair]:
        torch.manual_seed(1)
        return [self.make_batch() for _ in range(count)]


def _sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)


def _adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=1e-3)


TASKS = {
    task.name: task
    for task in (
        Task("mlp", _mlp, _vectors, _sgd),
        Task("cnn", _cnn, _images, _sgd),
        Task("gpt", SmallGPT, _text, _adamw, VOCABULARY),
    )
}
