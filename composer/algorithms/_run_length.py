"""How long a run is and how far it has come, for methods whose plan depends on it."""

from __future__ import annotations

from composer.core.state import State
from composer.core.units import TimeUnit
from composer.errors import ConfigError

__all__ = ["share_done", "total_batches"]

_UNITS = (TimeUnit.EPOCH, TimeUnit.BATCH)


def total_batches(method: object, state: State) -> int:
    """Return the number of batches from the start of training to ``max_duration``.

    Args:
        method: who asks, for messages.
        state: the run's state, with its dataloader.

    Raises:
        ValueError: that cannot be known.
    """
    name, limit, length = type(method).__name__, state.max_duration, state.dataloader_len
    if limit is None or limit.unit not in _UNITS:
        raise ConfigError(
            f"{name} needs max_duration in 'ep' or 'ba', got {limit and str(limit)!r}: its plan is "
            "a share of the run's batches"
        )
    if limit.unit is TimeUnit.BATCH:
        return limit.value
    if length is None:
        raise ConfigError(
            f"{name} needs to know the batches of an epoch, and the dataloader has no length; give "
            "max_duration in batches ('1000ba') or set train_subset_num_batches"
        )
    return limit.value * length.value


def share_done(method: object, state: State) -> float:
    """Return the share of a run that is done, in [0, 1], also in the middle of an epoch.

    Args:
        method: who asks, for messages.
        state: the run's state, with its dataloader.

    Raises:
        ValueError: that cannot be known.
    """
    limit = state.max_duration
    if limit is not None and limit.unit not in _UNITS:
        elapsed = state.get_elapsed_duration()
        return 0.0 if elapsed is None else elapsed.value
    total, done = total_batches(method, state), state.timestamp.batch.value
    if limit is not None and limit.unit is TimeUnit.EPOCH:
        done += state.batches_left_out
    return min(1.0, done / total) if total else 1.0
