"""Methods that make, choose or flip what is trained on: loaders, packing, pruning.

A loader's step is one batch, in epochs that follow each other; that of packing one window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from _contest import Contest, Entries, Step, holding
from _method_events import CLASSES, SAMPLES, SIDE, STEP, make_batch, make_model
from torch import Tensor

from composer.algorithms.alternating_flip import AlternatingFlip
from composer.algorithms.infobatch import InfoBatch
from composer.core.algorithm import Algorithm
from composer.core.engine import Engine
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.data.image_loader import DeviceImageLoader
from composer.data.packed_documents import PackedDocuments
from composer.devices.device_cpu import DeviceCPU

__all__ = ["ENTRIES", "SETTING"]

IMAGES, REACH, WINDOW = 5120, 4, 1024
SETTING = (
    f"Loader: {IMAGES} images of the same size, shuffled, flipped, moved by up to {REACH} pixels. "
    f"Windows: {WINDOW} tokens of documents of 1 to 600."
)


def for_ever(loader: Any) -> Iterator[Any]:
    epoch = 0
    while True:
        loader.sampler.set_epoch(epoch)
        yield from loader
        epoch += 1


def images_by_hand(images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The same batches, with torch's shuffle and random numbers that nobody can repeat."""
    mean, std = images.float().mean((0, 1, 2)) / 255, images.float().std((0, 1, 2)) / 255
    scale, shift = 1 / (255 * std)[:, None, None], (-mean / std)[:, None, None]
    pad = np.pad(images.numpy(), ((0, 0), (REACH, REACH), (REACH, REACH), (0, 0)), mode="reflect")
    pixels, side, line = torch.from_numpy(pad).view(-1, 3), SIDE + 2 * REACH, torch.arange(SIDE)
    first_half, epoch = torch.rand(len(images)) < 0.5, 0
    while True:
        for chosen in torch.randperm(len(images)).split(SAMPLES):
            top, left = torch.randint(2 * REACH + 1, (2, len(chosen), 1))
            flipped = (first_half[chosen] ^ (epoch % 2 == 1))[:, None]
            columns = left + torch.where(flipped, SIDE - 1 - line, line)
            rows = ((chosen[:, None] * side + top) + line) * side
            places = (rows[:, :, None] + columns[:, None, :]).view(-1)
            found = pixels.index_select(0, places).view(len(chosen), SIDE, SIDE, 3)
            batch = found.permute(0, 3, 1, 2).to(
                torch.float32, memory_format=torch.contiguous_format
            )
            yield batch.mul_(scale).add_(shift), labels[chosen]
        epoch += 1


def image_loader() -> Contest:
    images = torch.randint(256, (IMAGES, SIDE, SIDE, 3), dtype=torch.uint8)
    labels = torch.randint(CLASSES, (IMAGES,))
    loader = DeviceImageLoader(
        images, labels, SAMPLES, shuffle=True, flip="alternating", translate=REACH, device="cpu"
    )
    ours, theirs = for_ever(loader), images_by_hand(images, labels)
    return Contest(method=lambda: next(ours), by_hand=lambda: next(theirs))


def packing() -> Contest:
    generator = np.random.default_rng(0)
    documents = [generator.integers(0, 50000, size) for size in generator.integers(1, 600, 2000)]
    packed = PackedDocuments(documents, WINDOW)
    plan = packed.packing

    def by_hand(index: int) -> dict[str, Tensor]:
        columns = {name: np.zeros(WINDOW, dtype=np.int64) for name in ("ids", "place", "document")}
        labels, end = np.full(WINDOW, -100), 0
        for number, (document, start, stop) in enumerate(plan.pieces(index), 1):
            tokens = documents[document][start:stop]
            begin, end = end, end + len(tokens)
            columns["ids"][begin:end] = tokens
            labels[begin + 1 : end] = tokens[1:]
            columns["place"][begin:end] = np.arange(len(tokens))
            columns["document"][begin:end] = number
        columns["labels"] = labels
        return {name: torch.from_numpy(each) for name, each in columns.items()}

    turns = {"ours": 0, "theirs": 0}

    def next_of(who: str) -> int:
        turns[who] = (turns[who] + 1) % len(packed)
        return turns[who]

    return Contest(
        method=lambda: packed[next_of("ours")], by_hand=lambda: by_hand(next_of("theirs"))
    )


def step_by_index(algorithms: list[Algorithm], indices: Tensor) -> Step:
    """The events of a step of a run whose loader says which images a batch is made of."""
    (images, labels), outputs = make_batch(), torch.randn(SAMPLES, CLASSES)
    stored = torch.zeros(IMAGES, 2, 2, 3, dtype=torch.uint8)
    loader = DeviceImageLoader(stored, torch.zeros(IMAGES), SAMPLES, device="cpu")
    loader.indices = indices
    model = make_model()
    state = State(
        model=model, rank_zero_seed=0, run_name="benchmark", device=DeviceCPU(),
        max_duration="1000ep", dataloader=loader, dataloader_label="train",
        algorithms=algorithms, optimizers=torch.optim.SGD(model.parameters(), lr=0.1),
    )  # fmt: skip
    engine = Engine(state, Logger(state, []))
    for event in (Event.INIT, Event.AFTER_LOAD, Event.FIT_START, Event.EPOCH_START):
        engine.run_event(event)

    def step() -> None:
        state.batch, state.outputs = (images, labels), outputs
        for event in STEP:
            engine.run_event(event)

    return step


def by_index(make: Callable[[], Algorithm], by_hand: Callable[[Tensor], Step]) -> Contest:
    indices = torch.randperm(IMAGES)[:SAMPLES]
    return Contest(
        method=step_by_index([make()], indices),
        by_hand=holding(by_hand(indices)),
        without=step_by_index([], indices),
    )


def prune_by_hand(indices: Tensor) -> Step:
    (images, labels), outputs, model = make_batch(), torch.randn(SAMPLES, CLASSES), make_model()
    losses, learnt = torch.rand(IMAGES), torch.rand(IMAGES) < 0.5

    def step() -> Tensor:
        found = model.loss(outputs, (images, labels), reduction="none")
        weights = torch.where(learnt[indices], 2.0, 1.0)
        losses[indices] = found.detach()
        return (found * weights).mean()

    return step


def flip_by_hand(indices: Tensor) -> Step:
    images, _ = make_batch()
    first_half = torch.rand(IMAGES) < 0.5

    def step() -> Tensor:
        places = first_half[indices].nonzero().squeeze(1)
        return images.index_copy(0, places, images.index_select(0, places).flip(-1))

    return step


ENTRIES: Entries = {
    "AlternatingFlip": lambda: by_index(AlternatingFlip, flip_by_hand),
    "DeviceImageLoader": image_loader,
    "InfoBatch": lambda: by_index(InfoBatch, prune_by_hand),
    "PackedDocuments": packing,
}
