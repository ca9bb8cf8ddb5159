"""The order in which methods act on one event.

A pass takes the methods that act on an event and returns them in another order. The default ones
put ``Order.FIRST`` first and ``Order.LAST`` last, run ``AFTER_*`` events in reverse, and warn where
two methods mix samples. Users add their own through ``Trainer(algorithm_passes=...)``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from composer.core.algorithm import Algorithm, Order
from composer.core.event import Event
from composer.utils.warnings import NotIntendedUseWarning

__all__ = [
    "DEFAULT_PASSES",
    "AlgorithmPass",
    "set_filo_order",
    "sort_by_order",
    "sort_low_precision_layernorm_last",
    "sort_selective_backprop_first",
    "sort_to_back",
    "sort_to_front",
    "warn_if_multiple_loss_interpolation",
]

AlgorithmPass = Callable[[Sequence[Algorithm], Event], Sequence[Algorithm]]
T = TypeVar("T")


def sort_to_front(list_to_sort: Sequence[T], cls: type[Any]) -> Sequence[T]:
    """Return the list with the instances of ``cls`` moved to the front, order kept otherwise."""
    return sorted(list_to_sort, key=lambda item: not isinstance(item, cls))


def sort_to_back(list_to_sort: Sequence[T], cls: type[Any]) -> Sequence[T]:
    """Return the list with the instances of ``cls`` moved to the back, order kept otherwise."""
    return sorted(list_to_sort, key=lambda item: isinstance(item, cls))


def sort_by_order(algorithms: Sequence[Algorithm], event: Event) -> Sequence[Algorithm]:
    """Sort by each method's ``order`` attribute, keeping the user's order among equals."""
    del event
    return sorted(algorithms, key=lambda algorithm: algorithm.order)


def _sort_only(algorithms: Sequence[Algorithm], order: Order) -> Sequence[Algorithm]:
    sign = 1 if order is Order.LAST else -1
    return sorted(algorithms, key=lambda algorithm: sign * (algorithm.order is order))


def sort_selective_backprop_first(
    algorithms: Sequence[Algorithm], event: Event
) -> Sequence[Algorithm]:
    """Move methods of ``Order.FIRST`` (SelectiveBackprop is one) to the front."""
    del event
    return _sort_only(algorithms, Order.FIRST)


def sort_low_precision_layernorm_last(
    algorithms: Sequence[Algorithm], event: Event
) -> Sequence[Algorithm]:
    """Move methods of ``Order.LAST`` (LowPrecisionLayerNorm is one) to the back."""
    del event
    return _sort_only(algorithms, Order.LAST)


def set_filo_order(algorithms: Sequence[Algorithm], event: Event) -> Sequence[Algorithm]:
    """Reverse the order on ``AFTER_*`` events, so that what one method wraps is unwrapped last."""
    return list(reversed(algorithms)) if event.value.startswith("after_") else algorithms


def warn_if_multiple_loss_interpolation(
    algorithms: Sequence[Algorithm], event: Event
) -> Sequence[Algorithm]:
    """Warn where more than one method mixes the samples of a batch."""
    mixing = [
        type(algorithm).__name__
        for algorithm in algorithms
        if algorithm.interpolates or getattr(algorithm, "interpolate_loss", False)
    ]
    if len(mixing) > 1:
        warnings.warn(
            f"{' and '.join(mixing)} all mix samples on {event.value!r}; the targets of one are "
            "overwritten by the next. Use one of them.",
            category=NotIntendedUseWarning,
            stacklevel=2,
        )
    return algorithms


DEFAULT_PASSES: tuple[AlgorithmPass, ...] = (
    sort_by_order,
    set_filo_order,
    warn_if_multiple_loss_interpolation,
)
