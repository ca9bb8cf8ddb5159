"""Learning rate schedules of a run: which optimizer follows which, and when they step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim.lr_scheduler import LRScheduler

from composer.core.state import State
from composer.core.time import Time
from composer.errors import ConfigError, unknown_name
from composer.optim.scheduler import (
    CompiledScheduler,
    ComposerScheduler,
    compile_composer_scheduler,
    scale_pytorch_scheduler,
)
from composer.utils.iter_helpers import ensure_tuple

__all__ = ["SchedulersInput", "Schedules", "compile_schedulers", "scale_max_duration"]

OneScheduler = ComposerScheduler | LRScheduler
SchedulersInput = OneScheduler | Sequence[OneScheduler] | Mapping[str, Any] | None


class Schedules:
    """Steps the schedules, after each batch or after each epoch.

    The timestamp moves first, so that batch ``k`` trains with the rate ``f(k)``.

    Args:
        schedulers: the compiled schedules.
        every_batch: whether they step after each batch; after each epoch otherwise.
    """

    def __init__(self, schedulers: Sequence[LRScheduler], every_batch: bool) -> None:
        self._after_batch = list(schedulers) if every_batch else []
        self._after_epoch = [] if every_batch else list(schedulers)

    def refresh(self) -> None:
        """Set the rates for where training stands: a duration or a checkpoint may have moved it."""
        for scheduler in (*self._after_batch, *self._after_epoch):
            if isinstance(scheduler, CompiledScheduler):
                scheduler.refresh()

    def after_batch(self) -> None:
        """Step after a batch."""
        for scheduler in self._after_batch:
            scheduler.step()

    def after_epoch(self) -> None:
        """Step after an epoch."""
        for scheduler in self._after_epoch:
            scheduler.step()


def steps_every_batch(schedulers: SchedulersInput, wanted: bool | None) -> bool:
    """Return whether schedules step after each batch: torch's own count epochs by default."""
    if wanted is not None:
        return wanted
    given = schedulers.values() if isinstance(schedulers, Mapping) else [schedulers]
    flat = [one for each in given for one in ensure_tuple(each)]
    return not any(isinstance(one, LRScheduler) for one in flat)


def compile_schedulers(
    schedulers: SchedulersInput, state: State, scale_schedule_ratio: float
) -> list[LRScheduler]:
    """Bind schedules to the state's optimizers.

    Args:
        schedulers: one schedule, several whose factors are multiplied, or a mapping of optimizer
            names to those. Without names every optimizer follows them.
        state: the run's state.
        scale_schedule_ratio: by how much the run is stretched.

    Raises:
        ValueError: an unknown optimizer name, or a schedule that cannot be scaled.
    """
    compiled: list[LRScheduler] = []
    for name, optimizer in state.named_optimizers.items():
        given = ensure_tuple(_of_optimizer(schedulers, name, state))
        for torch_scheduler in (one for one in given if isinstance(one, LRScheduler)):
            if torch_scheduler.optimizer is optimizer:
                if scale_schedule_ratio != 1.0:
                    scale_pytorch_scheduler(torch_scheduler, scale_schedule_ratio)
                compiled.append(torch_scheduler)
        factors = [one for one in given if not isinstance(one, LRScheduler)]
        if factors:
            schedule = factors[0] if len(factors) == 1 else _Product(factors)
            compiled.append(
                compile_composer_scheduler(schedule, state, scale_schedule_ratio, optimizer)
            )
    _check_all_bound(schedulers, compiled)
    return compiled


def scale_max_duration(duration: Time[Any], ratio: float) -> Time[Any]:
    """Return the stretched duration.

    Raises:
        ValueError: nothing is left of it.
    """
    scaled = duration * ratio
    if scaled.value <= 0:
        raise ConfigError(
            f"scale_schedule_ratio={ratio} leaves nothing of max_duration={str(duration)!r}; use a "
            "larger ratio or a longer run"
        )
    return scaled


def check_scale_schedule_ratio(ratio: float, schedulers: SchedulersInput) -> None:
    """Refuse a ratio that is no positive number, or that has no schedule to scale.

    Raises:
        ValueError: with the ratio.
    """
    if not math.isfinite(ratio) or ratio <= 0:
        raise ConfigError(f"scale_schedule_ratio={ratio} must be positive and finite")
    if ratio != 1.0 and not ensure_tuple(schedulers):
        raise ConfigError(
            f"scale_schedule_ratio={ratio} has no schedule to scale: give schedulers, or change "
            "max_duration itself"
        )


class _Product(ComposerScheduler):
    """Several schedules for one optimizer: their factors multiply."""

    def __init__(self, schedulers: Sequence[Any]) -> None:
        self._schedulers = list(schedulers)

    def __call__(self, state: State, ssr: float = 1.0) -> float:
        factors = [one(state) if ssr == 1.0 else one(state, ssr) for one in self._schedulers]
        return math.prod(factors)


def _of_optimizer(schedulers: SchedulersInput, name: str, state: State) -> Any:
    if not isinstance(schedulers, Mapping):
        return schedulers
    for key in schedulers:
        if key not in state.named_optimizers:
            raise unknown_name("optimizer named in schedulers", key, state.named_optimizers)
    return schedulers.get(name)


def _check_all_bound(schedulers: SchedulersInput, compiled: Sequence[LRScheduler]) -> None:
    given = schedulers.values() if isinstance(schedulers, Mapping) else [schedulers]
    for scheduler in (one for each in given for one in ensure_tuple(each)):
        if isinstance(scheduler, LRScheduler) and scheduler not in compiled:
            raise ConfigError(
                f"{type(scheduler).__name__} was made for another optimizer than the Trainer's; "
                "make it with the optimizer that is given to the Trainer"
            )
