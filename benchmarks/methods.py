"""What each method adds to a step, next to a minimal version written by hand.

The events of a training step are run with and without the method, with the outputs and gradients
that a model would have left; what the method adds is the difference. The version by hand does the
same to the same tensors in plain calls. All three take turns in one process and one thread, by the
CPU clock of the thread. Methods that replace layers act before training and add nothing here but
their layers' own work, so they are not timed. Run it as ``python benchmarks/methods.py``;
``--help`` tells what can be chosen.
"""

from __future__ import annotations

import argparse
import logging
import math
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from _loops import machine
from torch import Tensor, nn

import composer.algorithms as methods
from composer.core.algorithm import Algorithm
from composer.core.engine import Engine
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.devices.device_cpu import DeviceCPU
from composer.models.tasks.classification import ComposerClassifier

CLASSES, SAMPLES, SIDE = 10, 128, 32
TARGET = 1.1

STEP = [
    Event.AFTER_DATALOADER, Event.BATCH_START, Event.BEFORE_TRAIN_BATCH, Event.BEFORE_FORWARD,
    Event.AFTER_FORWARD, Event.BEFORE_LOSS, Event.AFTER_LOSS, Event.BEFORE_BACKWARD,
    Event.AFTER_BACKWARD, Event.AFTER_TRAIN_BATCH, Event.BATCH_END,
]  # fmt: skip


def make_model() -> ComposerClassifier:
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Linear(256, 256), nn.BatchNorm1d(256)) for _ in range(8)]
    model = ComposerClassifier(nn.Sequential(*layers), CLASSES)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    return model


def make_batch() -> tuple[Tensor, Tensor]:
    # Probabilities, so that nobody looks whether class numbers are valid.
    labels = F.one_hot(torch.randint(CLASSES, (SAMPLES,)), CLASSES).float()
    return torch.rand(SAMPLES, 3, SIDE, SIDE), labels


def step_of_events(algorithms: list[Algorithm]) -> Callable[[], None]:
    """The events of a step, as the Trainer's loop runs them."""
    model, batch, outputs = make_model(), make_batch(), torch.randn(SAMPLES, CLASSES)
    state = State(
        model=model, rank_zero_seed=0, run_name="benchmark", device=DeviceCPU(),
        max_duration="1000000ba", dataloader=range(10), dataloader_label="train",
        algorithms=algorithms, optimizers=torch.optim.SGD(model.parameters(), lr=0.1),
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


# By hand: each takes a model and returns what is done to one batch.

ByHand = Callable[[nn.Module], Callable[[Tensor, Tensor], Any]]


def smooth(model: nn.Module) -> Callable[[Tensor, Tensor], Any]:
    return lambda images, labels: torch.lerp(labels, labels.sum(1, keepdim=True) / CLASSES, 0.1)


def mixup(model: nn.Module) -> Callable[[Tensor, Tensor], Any]:
    beta = torch.distributions.Beta(0.2, 0.2)

    def step(images: Tensor, labels: Tensor) -> Any:
        draw = beta.sample().item()
        share, partners = min(draw, 1 - draw), torch.randperm(SAMPLES)
        mixed = torch.lerp(images, images[partners], share)
        return mixed, torch.lerp(labels, labels[partners], share)

    return step


def cutmix(model: nn.Module) -> Callable[[Tensor, Tensor], Any]:
    beta = torch.distributions.Beta(1.0, 1.0)

    def step(images: Tensor, labels: Tensor) -> Any:
        side = round(SIDE * math.sqrt(1 - beta.sample().item()))
        partners = torch.randperm(SAMPLES)
        box, area = random_box(side)
        mixed = images.clone()
        mixed[box] = images[box][partners]
        return mixed, torch.lerp(labels, labels[partners], area / SIDE**2)

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


ENTRIES: dict[str, tuple[Callable[[], Algorithm], ByHand | None]] = {
    "AugMix": (lambda: methods.AugMix(batch=True), None),
    "ColOut": (methods.ColOut, colout),
    "CutMix": (methods.CutMix, cutmix),
    "CutOut": (methods.CutOut, cutout),
    "EMA": (methods.EMA, average),
    "GradientClipping, norm": (lambda: methods.GradientClipping("norm", 1.0), clip_norm),
    "GradientClipping, value": (lambda: methods.GradientClipping("value", 1.0), clip_value),
    "GradientClipping, adaptive": (lambda: methods.GradientClipping("adaptive", 0.1), None),
    "LabelSmoothing": (methods.LabelSmoothing, smooth),
    "MixUp": (methods.MixUp, mixup),
    "ProgressiveResizing": (methods.ProgressiveResizing, resize),
    "RandAugment": (lambda: methods.RandAugment(batch=True), None),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--methods", nargs="+", choices=[*ENTRIES], default=[*ENTRIES])
    parser.add_argument("--turns", type=int, default=200, help="steps of each, in turns")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(machine())
    print(
        f"\n{options.turns} steps of each in turns, microseconds of CPU time: median (quartiles)."
    )
    print(f"{SAMPLES} images of 3 x {SIDE} x {SIDE}; gradients of 0.5 million parameters.")
    print(f"Target: at most {TARGET} times the version by hand.\n")
    print("| method | by hand | added by the method | ratio of medians |")
    print("|---|--:|--:|--:|")
    for name in options.methods:
        print(measure(name, *ENTRIES[name], options.turns), flush=True)


def measure(name: str, make: Callable[[], Algorithm], by_hand: ByHand | None, turns: int) -> str:
    """One line of the table."""
    images, labels = make_batch()
    steps = {"with": step_of_events([make()]), "without": step_of_events([])}
    if by_hand is not None:
        hand = by_hand(make_model())
        steps["by hand"] = lambda: hand(images, labels)
    taken: dict[str, list[float]] = {kind: [] for kind in steps}
    for turn in range(turns + turns // 10):
        order = [*steps] if turn % 2 else [*steps][::-1]
        for kind in order:
            started = time.thread_time_ns()
            steps[kind]()
            taken[kind].append((time.thread_time_ns() - started) / 1e3)
    # The first tenth warms up.
    taken = {kind: values[turns // 10 :] for kind, values in taken.items()}
    events = statistics.median(taken["without"])
    added = [value - events for value in taken["with"]]
    ours = f"{statistics.median(added):.0f} {spread(added)}"
    if by_hand is None:
        return f"| {name} | | {ours} | |"
    theirs = taken["by hand"]
    ratio = statistics.median(added) / statistics.median(theirs)
    return f"| {name} | {statistics.median(theirs):.0f} {spread(theirs)} | {ours} | {ratio:.2f} |"


def spread(values: list[float]) -> str:
    low, _, high = statistics.quantiles(values, n=4)
    return f"({low:.0f} .. {high:.0f})"


if __name__ == "__main__":
    main()
