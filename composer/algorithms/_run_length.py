"""How long a run is and how far it has come, for methods whose plan depends on it."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from composer.core.state import State
from composer.core.units import TimeUnit
from composer.errors import ConfigError
from composer.utils.warnings import NoEffectWarning

__all__ = ["share_done", "total_batches", "warn_if_never_due"]

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


def warn_if_never_due(
    method: object, state: State, what: str, is_due: Callable[[float], bool]
) -> None:
    """Warn where a run in epochs is too short for a plan that follows `State.get_elapsed_duration`.

    That share moves at the ends of epochs only, so that a run has as many as it has epochs.

    Args:
        method: who asks, for the message.
        state: the run's state.
        what: what the method then never does, for the message.
        is_due: whether it does at a share of the run that is done.
    """
    limit = state.max_duration
    if limit is None or limit.unit is not TimeUnit.EPOCH:
        return
    count = limit.value
    if any(is_due(epoch / count) for epoch in range(count)):
        return
    warnings.warn(
        f"{method!r} never {what} in a run of max_duration='{limit}': the share of it that is done "
        "moves at the ends of epochs only. Give max_duration in batches ('1000ba'), which moves it "
        "with each of them, or train for more epochs",
        NoEffectWarning,
        stacklevel=3,
    )
