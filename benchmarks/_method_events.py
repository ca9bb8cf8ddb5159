"""Methods that act in every step: on batches, targets, gradients and averages of weights.

The events of a training step are run with and without the method, with the outputs and gradients
that a model would have left.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from _contest import Contest, Entries, Step, holding
from torch import Tensor, nn

import composer.algorithms as methods
from composer.algorithms.sam import SAMOptimizer
from composer.algorithms.whitening import apply_whitening
from composer.core.algorithm import Algorithm
from composer.core.engine import Engine
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.devices.device_cpu import DeviceCPU
from composer.models.tasks.classification import ComposerClassifier
from composer.optim.curves import CosineAnnealingScheduler

__all__ = ["ENTRIES", "SETTING", "make_model", "on_events", "step_of_events"]

CLASSES, SAMPLES, SIDE = 10, 128, 32
SETTING = (
    f"Batches: {SAMPLES} images of 3 x {SIDE} x {SIDE} with class numbers. Gradients and averages: "
    "0.5 million parameters in 32 tensors."
)

STEP = [
    Event.AFTER_DATALOADER, Event.BATCH_START, Event.BEFORE_TRAIN_BATCH, Event.BEFORE_FORWARD,
    Event.AFTER_FORWARD, Event.BEFORE_LOSS, Event.AFTER_LOSS, Event.BEFORE_BACKWARD,
    Event.AFTER_BACKWARD, Event.AFTER_TRAIN_BATCH, Event.BATCH_END,
]  # fmt: skip

ByHand = Callable[[nn.Module], Callable[[Tensor, Tensor], object]]
"""Takes a model and returns what is done to each batch of images and labels."""


def make_model() -> ComposerClassifier:
    """A model with gradients."""
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Linear(256, 256), nn.BatchNorm1d(256)) for _ in range(8)]
    model = ComposerClassifier(nn.Sequential(*layers), CLASSES)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    return model


def make_batch() -> tuple[Tensor, Tensor]:
    return torch.rand(SAMPLES, 3, SIDE, SIDE), torch.randint(CLASSES, (SAMPLES,))


def step_of_events(algorithms: list[Algorithm]) -> Step:
    """The events of a step, as the Trainer's loop runs them."""
    model, batch, outputs = make_model(), make_batch(), torch.randn(SAMPLES, CLASSES)
    state = State(
        model=model, rank_zero_seed=0, run_name="benchmark", device=DeviceCPU(),
        max_duration="1000000ba", dataloader=range(10), dataloader_label="train",
        algorithms=algorithms,
        optimizers=torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1),
    )  # fmt: skip
    engine = Engine(state, Logger(state, []))
    for event in (Event.INIT, Event.BEFORE_LOAD, Event.AFTER_LOAD, Event.FIT_START):
        engine.run_event(event)
    run_event = engine.run_event

    def step() -> None:
        state.batch, state.outputs = batch, outputs
        for event in STEP:
            run_event(event)

    return step


def on_events(make: Callable[[], Algorithm], by_hand: ByHand | None = None) -> Contest:
    """The contest of a method that acts on the events of a step."""
    images, labels = make_batch()
    hand = None if by_hand is None else by_hand(make_model())
    return Contest(
        method=step_of_events([make()]),
        by_hand=None if hand is None else holding(lambda: hand(images, labels)),
        without=step_of_events([]),
    )


# By hand.


def smooth(model: nn.Module) -> Callable[[Tensor, Tensor], Any]:
    outputs, smoothing = torch.randn(SAMPLES, CLASSES), 0.1

    def step(images: Tensor, labels: Tensor) -> Tensor:
        dense = F.one_hot(labels, outputs.shape[1]).float()
        return dense * (1 - smoothing) + smoothing / outputs.shape[1]

    return step


def mixup(model: nn.Module) -> Callable[[Tensor, Tensor], Any]:
    beta = torch.distributions.Beta(0.2, 0.2)

    def step(images: Tensor, labels: Tensor) -> Any:
        draw = beta.sample().item()
        share, partners = min(draw, 1 - draw), torch.randperm(SAMPLES)
        mixed, dense = torch.lerp(images, images[partners], share), one_hot(labels)
        return mixed, torch.lerp(dense, dense[partners], share)

    return step


def one_hot(labels: Tensor) -> Tensor:
    return F.one_hot(labels, CLASSES).float()


def cutmix(model: nn.Module) -> Callable[[Tensor, Tensor], Any]:
    beta = torch.distributions.Beta(1.0, 1.0)

    def step(images: Tensor, labels: Tensor) -> Any:
        side = round(SIDE * math.sqrt(1 - beta.sample().item()))
        partners = torch.randperm(SAMPLES)
        box, area = random_box(side)
        mixed, dense = images.clone(), one_hot(labels)
        mixed[box] = images[box][partners]
        return mixed, torch.lerp(dense, dense[partners], area / SIDE**2)

    return step


def cutout(model: nn.Module) -> Callable[[Tensor, Tensor], Any]:
    def step(images: Tensor, labels: Tensor) -> Any:
        cut = images.clone()
        cut[random_box(SIDE // 2)[0]] = 0
        return cut

    return step


def random_box(side: int) -> tuple[Any, int]:
    y, x = torch.randint(SIDE, (2,)).tolist()
    top, left = max(y - side // 2, 0), max(x - side // 2, 0)
    bottom, right = min(y + side // 2, SIDE), min(x + side // 2, SIDE)
    return (..., slice(top, bottom), slice(left, right)), (bottom - top) * (right - left)


def colout(model: nn.Module) -> Callable[[Tensor, Tensor], Any]:
    kept = int(0.85 * SIDE)

    def step(images: Tensor, labels: Tensor) -> Any:
        rows = torch.randperm(SIDE)[:kept].sort().values
        columns = torch.randperm(SIDE)[:kept].sort().values
        return images.index_select(-2, rows).index_select(-1, columns)

    return step


def resize(model: nn.Module) -> Callable[[Tensor, Tensor], Any]:
    return lambda images, labels: F.interpolate(images, size=(SIDE // 2, SIDE // 2))


def clip_norm(model: nn.Module) -> Callable[[Tensor, Tensor], Any]:
    parameters = list(model.parameters())
    return lambda images, labels: nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)


def clip_value(model: nn.Module) -> Callable[[Tensor, Tensor], Any]:
    parameters = list(model.parameters())
    return lambda images, labels: nn.utils.clip_grad_value_(parameters, 1.0, foreach=True)


def average(model: nn.Module) -> Callable[[Tensor, Tensor], Any]:
    floating = [each for each in model.buffers() if each.is_floating_point()]
    weights = [each.data for each in model.parameters()] + floating
    averages = [each.clone() for each in weights]
    return lambda images, labels: torch._foreach_lerp_(averages, weights, 0.001)


def average_latest(model: nn.Module) -> Callable[[Tensor, Tensor], Any]:
    floating = [each for each in model.buffers() if each.is_floating_point()]
    weights = [each.data for each in model.parameters()] + floating
    latest = [[each.clone() for each in weights] for _ in range(5)]
    mean = [each.clone() for each in weights]

    def step(images: Tensor, labels: Tensor) -> None:
        latest.append(latest.pop(0))
        torch._foreach_copy_(latest[-1], weights)
        torch._foreach_copy_(mean, latest[0])
        for other in latest[1:]:
            torch._foreach_add_(mean, other)
        torch._foreach_div_(mean, 5)

    return step


def scale_decay(model: nn.Module) -> Callable[[Tensor, Tensor], Any]:
    groups, batch = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1).param_groups, 0

    def step(images: Tensor, labels: Tensor) -> None:
        nonlocal batch
        batch += 1
        multiplier = (1 + math.cos(math.pi * batch / 1000000)) / 2
        for group in groups:
            group["weight_decay"] = 0.1 * multiplier

    return step


def against_whitening() -> Contest:
    """The contest of what is done once, with the first batch."""
    images, _ = make_batch()
    conv = nn.Conv2d(3, 54, 3)

    @torch.no_grad()
    def by_hand() -> None:
        patches = F.unfold(images, 3).transpose(0, 1).flatten(1)
        variances, directions = torch.linalg.eigh(torch.cov(patches, correction=0))
        filters = (directions / (variances + 5e-4).sqrt()).T.flip(0)
        both = torch.cat([filters, -filters])
        conv.weight.copy_(both.view_as(conv.weight))
        conv.bias.copy_(-both @ patches.mean(1))

    model = nn.Sequential(nn.Conv2d(3, 54, 3))
    return Contest(method=lambda: apply_whitening(model, images), by_hand=by_hand)


def against_sam() -> Contest:
    """The contest of SAM's own work: the climb and the way back, between two gradients."""
    model = make_model()
    plain, loss = torch.optim.SGD(make_model().parameters(), lr=0.1), torch.zeros(())
    optimizer = SAMOptimizer(torch.optim.SGD(model.parameters(), lr=0.1))
    # What computes the gradients leaves those there are: the climb, which only changes length once.
    return Contest(
        method=lambda: optimizer.step(lambda **keywords: loss),
        by_hand=climb_and_return(make_model()),
        without=lambda: plain.step(lambda: loss),
    )


def climb_and_return(model: nn.Module) -> Step:
    parameters = list(model.parameters())

    def step() -> None:
        gradients = [each.grad for each in parameters if each.grad is not None]
        with torch.no_grad():
            kept = [each.clone() for each in parameters]
            torch._foreach_mul_(gradients, 0.05 / nn.utils.get_total_norm(gradients))
            torch._foreach_add_(parameters, gradients)
            torch._foreach_copy_(parameters, kept)

    return step


ENTRIES: Entries = {
    "AugMix": lambda: on_events(lambda: methods.AugMix(batch=True)),
    "ColOut": lambda: on_events(methods.ColOut, colout),
    "CutMix": lambda: on_events(methods.CutMix, cutmix),
    "CutOut": lambda: on_events(methods.CutOut, cutout),
    "EMA": lambda: on_events(methods.EMA, average),
    "GradientClipping, norm": lambda: on_events(
        lambda: methods.GradientClipping("norm", 1.0), clip_norm
    ),
    "GradientClipping, value": lambda: on_events(
        lambda: methods.GradientClipping("value", 1.0), clip_value
    ),
    "GradientClipping, adaptive": lambda: on_events(
        lambda: methods.GradientClipping("adaptive", 0.1)
    ),
    "LAWA": lambda: on_events(lambda: methods.LAWA(update_interval="1ba"), average_latest),
    "LabelSmoothing": lambda: on_events(methods.LabelSmoothing, smooth),
    "MixUp": lambda: on_events(methods.MixUp, mixup),
    "ProgressiveResizing": lambda: on_events(methods.ProgressiveResizing, resize),
    "RandAugment": lambda: on_events(lambda: methods.RandAugment(batch=True)),
    "SAM": against_sam,
    "ScheduledWeightDecay": lambda: on_events(
        lambda: methods.ScheduledWeightDecay(CosineAnnealingScheduler()), scale_decay
    ),
    "BatchSizeSchedule": lambda: on_events(methods.BatchSizeSchedule),
    "Whitening, once": against_whitening,
    "SWA": lambda: on_events(lambda: methods.SWA(swa_start="0dur", update_interval="1ba"), average),
}
