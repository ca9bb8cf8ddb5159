"""CIFAR-10 and a ResNet-9, for the scripts that train on it.

The data is a file ``cifar10_jpeg.npz`` (images as JPEG bytes, see `_read_jpegs`), or the folder
``cifar-10-batches-py`` that CIFAR-10 is published as and that torchvision downloads.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from composer.data import DeviceImageLoader
from composer.models import ComposerClassifier

__all__ = ["CLASSES", "Images", "add_data_argument", "make_model", "read_cifar"]

CLASSES = 10
_SAFE = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


@dataclass(frozen=True)
class Images:
    """Images as bytes, shape (N, 32, 32, 3), and their labels."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def first(self, number: int) -> Images:
        return Images(self.pixels[:number], self.labels[:number])

    def loader(self, batch_size: int, **options: Any) -> DeviceImageLoader:
        return DeviceImageLoader(self.pixels, self.labels, batch_size, device="cpu", **options)


def add_data_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        default=os.environ.get("CIFAR10"),
        help="cifar10_jpeg.npz, or the folder cifar-10-batches-py; by default $CIFAR10",
    )


def read_cifar(path: str | None) -> tuple[Images, Images]:
    """Return the 50,000 training and 10,000 test images, each in an order that mixes classes."""
    if path is None or not Path(path).exists():
        raise SystemExit(f"no data at {path!r}: give --data, or set CIFAR10 (see --help)")
    place = Path(path)
    if place.is_file():
        packed = np.load(place)
        return _read_jpegs(packed, "train"), _read_jpegs(packed, "test")
    folder = place / "cifar-10-batches-py" if not (place / "data_batch_1").exists() else place
    parts = [_read_batch(folder / f"data_batch_{i}") for i in range(1, 6)]
    train = Images(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )
    return train, _read_batch(folder / "test_batch")


def _read_jpegs(packed: Any, part: str) -> Images:
    """Read images that lie one after another: image i is bytes ``offsets[i]:offsets[i + 1]``."""
    from PIL import Image

    data, ends = packed[f"{part}_jpeg"].tobytes(), packed[f"{part}_offsets"]
    images = [
        np.asarray(Image.open(io.BytesIO(data[start:end])))
        for start, end in itertools.pairwise(ends)
    ]
    return Images(np.stack(images), packed[f"{part}_labels"].astype(np.int64))


class _Unpickler(pickle.Unpickler):
    """Reads arrays and plain values, and runs nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _SAFE:
            raise pickle.UnpicklingError(f"a file of CIFAR-10 has no {module}.{name}")
        return super().find_class(module, name)


def _read_batch(path: Path) -> Images:
    with path.open("rb") as file:
        batch = _Unpickler(file, encoding="bytes").load()
    pixels = batch[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Images(np.ascontiguousarray(pixels), np.array(batch[b"labels"], dtype=np.int64))


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_convolution(width, width), *_convolution(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class _Scale(nn.Module):
    """Keeps logits small: those of a global maximum are so large that SGD's first steps fail."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.125 * x


def _convolution(inputs: int, outputs: int, pool: bool = False) -> list[nn.Module]:
    layers = [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]
    return [*layers, nn.MaxPool2d(2)] if pool else layers


def make_model(width: int, seed: int) -> ComposerClassifier:
    """Make the ResNet-9 of Page, "How to Train Your ResNet" (2018), of a width.

    Args:
        width: channels after the first layer; eight times as many at the end.
        seed: of the weights.
    """
    torch.manual_seed(seed)
    layers = nn.Sequential(
        *_convolution(3, width),
        *_convolution(width, 2 * width, pool=True),
        _Residual(2 * width),
        *_convolution(2 * width, 4 * width, pool=True),
        *_convolution(4 * width, 8 * width, pool=True),
        _Residual(8 * width),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(8 * width, CLASSES),
        _Scale(),
    )
    return ComposerClassifier(layers, num_classes=CLASSES)
