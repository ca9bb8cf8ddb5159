"""How long a run will take, measured on the Trainer that is about to make it."""

from __future__ import annotations

import math

from composer.core.state import State
from composer.core.units import TimeUnit
from composer.errors import ConfigError
from composer.trainer.trainer import Trainer

__all__ = ["estimate"]

NUM_STEPS = 8


def estimate(trainer: Trainer, budget_s: float | None) -> float | None:
    """Return about how many seconds ``fit`` will take, with an evaluation after each epoch.

    Some steps are made and put back; the Trainer is as it was.

    Args:
        trainer: with data and a ``max_duration``.
        budget_s: seconds of training, where a run ends by time.

    Returns:
        Seconds, or ``None`` where that cannot be known: data that can be read only once, a run
        that does not know its length.
    """
    state = trainer.state
    try:
        first, more = trainer.dry_run(), trainer.dry_run(1 + NUM_STEPS)
    except ConfigError:
        return budget_s
    step_s = max(more.train_s - first.train_s, 1e-6) / NUM_STEPS
    num_batches = _num_batches(state) if budget_s is None else budget_s / step_s
    if num_batches is None:
        return None
    epoch = state.dataloader_len
    num_evaluations = 1 if epoch is None else math.ceil(num_batches / max(1, epoch.value))
    return num_batches * step_s + num_evaluations * more.eval_s * _eval_batches(state)


def _num_batches(state: State) -> float | None:
    limit, epoch = state.max_duration, state.dataloader_len
    if limit is None:
        return None
    if limit.unit is TimeUnit.BATCH:
        return limit.value
    return limit.value * epoch.value if limit.unit is TimeUnit.EPOCH and epoch else None


def _eval_batches(state: State) -> float:
    """Return how many batches an evaluation has, over that a dry run evaluates."""
    lengths: list[int] = []
    for evaluator in state.evaluators:
        subset = evaluator.subset_num_batches
        if subset is not None and subset > 0:
            lengths.append(subset)
        elif hasattr(evaluator.dataloader.dataloader, "__len__"):
            lengths.append(len(evaluator.dataloader.dataloader))  # pyright: ignore[reportArgumentType]
    return sum(lengths) / len(lengths) if lengths else 1.0
