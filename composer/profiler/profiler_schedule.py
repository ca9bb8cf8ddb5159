"""Which batches of an epoch are profiled."""

from __future__ import annotations

from collections.abc import Callable

from composer.core.state import State
from composer.core.time import TimeUnit
from composer.errors import ConfigError
from composer.profiler.profiler_action import ProfilerAction

__all__ = ["cyclic_schedule"]


def cyclic_schedule(
    skip_first: int = 0, wait: int = 0, warmup: int = 1, active: int = 4, repeat: int = 1
) -> Callable[[State], ProfilerAction]:
    """Profile in cycles: wait, warm up, record; the last recorded batch of a cycle is saved.

    Batches are counted from the start of each epoch; in an epoch that a run was resumed in, from
    where it was resumed. What an epoch's end cuts off is saved too.

    Args:
        skip_first: batches before the first cycle, at least 0.
        wait: batches at the start of each cycle in which nothing happens, at least 0.
        warmup: batches to get ready, at least 0.
        active: batches that are recorded, at least 1.
        repeat: cycles in an epoch; 0 for as many as fit.

    Returns:
        A function of the state that returns the action of the batch that it stands before.

    Raises:
        ValueError: an argument that cannot work.
    """
    for name, value, least in (
        ("skip_first", skip_first, 0),
        ("wait", wait, 0),
        ("warmup", warmup, 0),
        ("active", active, 1),
        ("repeat", repeat, 0),
    ):
        if value < least:
            raise ConfigError(f"{name}={value!r} must be at least {least}")
    length = wait + warmup + active

    def schedule(state: State) -> ProfilerAction:
        in_epoch = state.timestamp.batch_in_epoch.value
        index = in_epoch - _resumed_at(state) - skip_first
        if index < 0 or (repeat and index >= length * repeat):
            return ProfilerAction.SKIP
        place = index % length
        if place < wait:
            return ProfilerAction.SKIP
        if place < wait + warmup:
            return ProfilerAction.WARMUP
        num_batches = state.dataloader_len
        is_last = num_batches is not None and in_epoch + 1 == num_batches.value
        if place == length - 1 or is_last:
            return ProfilerAction.ACTIVE_AND_SAVE
        return ProfilerAction.ACTIVE

    return schedule


def _resumed_at(state: State) -> int:
    """Return the batch of the current epoch at which the run was resumed, 0 in other epochs."""
    epoch, batch = getattr(state.profiler, "resumed_at", (-1, 0))
    return batch if state.timestamp.count(TimeUnit.EPOCH) == epoch else 0
