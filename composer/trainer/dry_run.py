"""One step of everything, before the real run: what would fail in an hour fails now.

A dry run loads a batch, trains it, evaluates a batch of every evaluator and writes a checkpoint to
a temporary folder. Then everything is put back: weights, optimizers, schedules, methods, metrics,
time and random states are what they were. Callbacks and loggers see nothing of it.
"""

from __future__ import annotations

import copy
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from composer.checkpoint.save_run import save_checkpoint
from composer.core.dataset_io import generator_states, load_generator_states
from composer.core.evaluator import Evaluator
from composer.core.logger import Logger
from composer.core.state import State
from composer.core.time import Time, TimeUnit
from composer.distributed.reproducibility import get_own_rng_state, load_own_rng_state
from composer.errors import ConfigError

__all__ = ["DryRunReport", "dry_run", "everything_put_back"]


@dataclass(frozen=True, slots=True)
class DryRunReport:
    """What a dry run took. Its text is for people.

    Attributes:
        train_s: seconds for the batches trained, loading included.
        num_batches: how many those were.
        eval_s: seconds for a batch of every evaluator; 0 without evaluators.
        save_s: seconds for the checkpoint.
        checkpoint_bytes: its size.
        peak_memory_bytes: most device memory held at once; ``None`` off CUDA.
        microbatch_size: samples per forward pass.
    """

    train_s: float
    num_batches: int
    eval_s: float
    save_s: float
    checkpoint_bytes: int
    peak_memory_bytes: int | None
    microbatch_size: int | float | None

    def __str__(self) -> str:
        batches = "first batch" if self.num_batches == 1 else f"{self.num_batches} batches"
        memory = "" if self.peak_memory_bytes is None else (
            f", peak device memory {self.peak_memory_bytes / 2**20:.0f} MiB"
        )  # fmt: skip
        return (
            f"dry run passed: {batches} {self.train_s:.2f} s, evaluation of one batch each "
            f"{self.eval_s:.2f} s, checkpoint {self.save_s:.2f} s and "
            f"{self.checkpoint_bytes / 2**20:.1f} MiB, microbatch size {self.microbatch_size}"
            f"{memory}"
        )


def dry_run(
    state: State,
    train: Callable[[], None],
    evaluate: Callable[[list[Evaluator]], None],
    weights_only: bool,
    num_batches: int = 1,
) -> DryRunReport:
    """Do one step of everything and put everything back.

    Args:
        state: the run's state.
        train: trains until ``state.max_duration``, which is ``num_batches`` away.
        evaluate: runs evaluators.
        weights_only: whether the run's checkpoints hold only weights.
        num_batches: how many batches to train, at least 1.

    Raises:
        ValueError: ``num_batches`` is less than 1.
    """
    if num_batches < 1:
        raise ConfigError(f"num_batches={num_batches} must be at least 1")
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with everything_put_back(state):
        evaluators = state.evaluators
        state.callbacks, state.evaluators = [], []
        state.model.logger = Logger(state)
        state.max_duration = state.timestamp.batch + Time(num_batches, TimeUnit.BATCH)
        train_s = _seconds(train)
        eval_s = _seconds(lambda: evaluate([_one_batch_of(each) for each in evaluators]))
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "dry_run.pt")
            save_s = _seconds(lambda: save_checkpoint(state, path, weights_only=weights_only))
            size = os.path.getsize(path) if os.path.exists(path) else 0
        peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
        microbatch_size = state.device_train_microbatch_size
    return DryRunReport(
        train_s, num_batches, eval_s if evaluators else 0.0, save_s, size, peak, microbatch_size
    )


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _one_batch_of(evaluator: Evaluator) -> Evaluator:
    limited = copy.copy(evaluator)
    limited.subset_num_batches = 1
    return limited


@contextmanager
def everything_put_back(state: State) -> Iterator[None]:
    """Let a run be tried out: whatever happens inside is undone at the end, also after an error.

    Raises:
        ValueError: a loader gives its batches only once, so that those tried out would be lost.
    """
    _refuse_iterators(state)
    fields = {name: value for name, value in vars(state).items() if name != "dataset_state"}
    contents = {name: dict(value) for name, value in fields.items() if isinstance(value, dict)}
    model_logger = state.model.logger
    dataset_state = copy.deepcopy(state.dataset_state)
    # Kept in host memory: a copy on the device could be what makes the trial run out of memory.
    weights = {name: value.cpu().clone() for name, value in state.model.state_dict().items()}
    modes = {module: module.training for module in state.model.modules()}
    movable = [*state.optimizers, *state.schedulers, *([state.scaler] if state.scaler else [])]
    kept = [copy.deepcopy(each.state_dict()) for each in movable]
    shared = {id(each): each for each in _shared_objects(state)}
    insides = [copy.deepcopy(vars(each), dict(shared)) for each in _insides(state)]
    loaders = [state.train_dataloader, *(e.dataloader.dataloader for e in state.evaluators)]
    generators = [generator_states(each) for each in loaders if each is not None]
    rng = get_own_rng_state()
    try:
        yield
    finally:
        vars(state).update(fields)
        for name, content in contents.items():
            fields[name].clear()
            fields[name].update(content)
        state.model.logger = model_logger
        state.dataset_state = dataset_state
        state.model.load_state_dict(weights)
        for module, mode in modes.items():
            module.training = mode
        for each, value in zip(movable, kept, strict=True):
            each.load_state_dict(value)
        for each, value in zip(_insides(state), insides, strict=True):
            vars(each).clear()
            vars(each).update(value)
        present = [each for each in loaders if each is not None]
        for loader, value in zip(present, generators, strict=True):
            load_generator_states(loader, value)
        for optimizer in state.optimizers:
            optimizer.zero_grad(set_to_none=True)
        load_own_rng_state(rng)


def _refuse_iterators(state: State) -> None:
    loaders = {str(e.label): e.dataloader.dataloader for e in state.evaluators}
    if state.train_dataloader is not None:
        loaders["train"] = state.train_dataloader
    for label, loader in loaders.items():
        if isinstance(loader, Iterator):
            raise ConfigError(
                f"the dataloader {label!r} is a {type(loader).__name__}, which gives its batches "
                "only once: those tried out would be missing from the run. Give a list, a "
                "DataLoader, or another iterable that can be opened again"
            )


def _insides(state: State) -> list[Any]:
    """Return the objects whose attributes change while training: methods and metrics."""
    metrics = [*(state.train_metrics or {}).values()]
    metrics += [metric for group in state.eval_metrics.values() for metric in group.values()]
    return [*state.algorithms, *metrics]


def _shared_objects(state: State) -> Iterator[Any]:
    """Yield what a method may refer to and must go on referring to, rather than to a copy."""
    yield state
    yield from state.model.modules()
    yield from state.model.parameters()
    yield from state.model.buffers()
    yield from state.optimizers
    yield from state.evaluators
    yield from (each for each in (state.train_dataloader, state.device) if each is not None)
