"""What the methods are tried on: a small image task and a small language task.

Each model has every kind of layer that some method looks for, so that all methods of a workload can
be tried together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from composer.algorithms.alibi.attention_surgery_functions import (
    alibi_bias,
    policy_registry,
    register_alibi,
    zero_and_freeze_expand_position_embeddings,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from composer.distributed import comm
from composer.models.base import ComposerModel
from composer.models.tasks.classification import ComposerClassifier

NUM_SAMPLES = 16
BATCH_SIZE = 4
NUM_CLASSES = 4
SIDE = 16
NUM_TOKENS = 11
SEQUENCE_LENGTH = 8


@dataclass(frozen=True)
class Workload:
    """A model and its data; ``data()`` holds NUM_SAMPLES samples, always the same.

    With ``is_keyed`` its loaders have the library's own sampler.
    """

    name: str
    model: Callable[[], ComposerModel]
    data: Callable[[], Dataset[Any]]
    is_keyed: bool = False

    def loader(self, batch_size: int = BATCH_SIZE, **keywords: Any) -> DataLoader[Any]:
        data = self.data()
        if self.is_keyed:
            keywords["sampler"] = comm.get_sampler(data, shuffle=keywords.pop("shuffle", False))
        return DataLoader(data, batch_size, **keywords)

    def batch(self, size: int = NUM_SAMPLES) -> Any:
        """The first samples as one batch."""
        return next(iter(self.loader(size, generator=torch.Generator())))

    def __str__(self) -> str:
        return self.name


class ResidualBlock(nn.Module):
    """``x + branch(x)``, images to images of the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        return images + self.branch(images)


def vision_model() -> ComposerClassifier:
    module = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        ResidualBlock(16),
        nn.Conv2d(16, 16, 3, stride=2, padding=1),
        nn.GroupNorm(4, 16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.LayerNorm(16),
        nn.Dropout(0.1),
        nn.Linear(16, 16),
        nn.ReLU(),
        nn.Linear(16, NUM_CLASSES),
    )
    return ComposerClassifier(module, num_classes=NUM_CLASSES)


def images() -> TensorDataset:
    generator = torch.Generator().manual_seed(3)
    pixels = torch.rand(NUM_SAMPLES, 3, SIDE, SIDE, generator=generator)
    return TensorDataset(pixels, torch.arange(NUM_SAMPLES) % NUM_CLASSES)


class Attention(nn.Module):
    """Causal attention with two heads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, hidden: Tensor) -> Tensor:
        size, length, width = hidden.shape
        parts = self.qkv(hidden).view(size, length, 3, 2, width // 2).permute(2, 0, 3, 1, 4)
        bias = None
        if "alibi" in self._buffers:
            future = torch.ones(length, length, dtype=torch.bool, device=hidden.device).triu(1)
            bias = alibi_bias(self, length, length).masked_fill(future, -torch.inf)
            bias = bias.to(parts.dtype)
        mixed = F.scaled_dot_product_attention(*parts, attn_mask=bias, is_causal=bias is None)
        return self.out(mixed.transpose(1, 2).reshape(size, length, width))


class TransformerBlock(nn.Module):
    """Attention and a feed-forward layer, each with a residual connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(0.1), nn.Linear(2 * width, width)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = hidden + self.attention(self.attention_norm(hidden))
        return hidden + self.feed_forward(self.feed_forward_norm(hidden))


class LanguageModel(ComposerModel):
    """Predicts labels token by token; batches are ``{"input_ids": ..., "labels": ...}``."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.tokens = nn.Embedding(NUM_TOKENS, width)
        self.positions = nn.Embedding(SEQUENCE_LENGTH, width)
        self.blocks = nn.Sequential(TransformerBlock(width), TransformerBlock(width))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, NUM_TOKENS)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        ids = batch["input_ids"]
        places = torch.arange(ids.shape[1], device=ids.device)
        hidden = self.blocks(self.tokens(ids) + self.positions(places))
        # Classes are the second dimension, as in torch's losses.
        return self.head(self.norm(hidden)).transpose(1, 2)

    def loss(self, outputs: Tensor, batch: Any, reduction: str = "mean") -> Tensor:
        loss = F.cross_entropy(outputs, batch["labels"], reduction="none")
        while loss.ndim > 1:
            loss = loss.mean(1)
        return loss.mean() if reduction == "mean" else loss


@policy_registry.register(Attention)
def add_alibi(module: nn.Module, index: int, max_sequence_length: int) -> nn.Module:
    return register_alibi(module, 2, max_sequence_length, causal=True)


@policy_registry.register(LanguageModel)
def switch_positions_off(module: nn.Module, index: int, max_sequence_length: int) -> nn.Module:
    zero_and_freeze_expand_position_embeddings(module, max_sequence_length, "positions")
    return module


class Sentences(Dataset[dict[str, Tensor]]):
    """Random tokens; the label of each is the one before it."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(5)
        shape = (NUM_SAMPLES, SEQUENCE_LENGTH)
        self.ids = torch.randint(NUM_TOKENS, shape, generator=generator)

    def __len__(self) -> int:
        return NUM_SAMPLES

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        ids = self.ids[index]
        return {"input_ids": ids, "labels": ids.roll(1)}


VISION = Workload("vision", vision_model, images)
BY_INDEX = Workload("by index", vision_model, images, is_keyed=True)
LANGUAGE = Workload("language", LanguageModel, Sentences)
WORKLOADS = (VISION, LANGUAGE)
