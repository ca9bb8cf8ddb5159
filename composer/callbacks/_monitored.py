"""What the stoppers share: which metric they look at, and which of two values is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from composer.core.state import State
from composer.errors import ArgumentTypeError, ConfigError, unknown_name

__all__ = ["TRAIN_LABEL", "choose_comparison", "is_better", "read_metric"]

TRAIN_LABEL = "train"
Comparison = Callable[[Any, Any], Any]

_COMPARISONS: dict[str, Comparison] = {"less": torch.less, "greater": torch.greater}
# Metrics that are better when they are lower, told by their names.
_LOWER_IS_BETTER = ("loss", "error", "perplexity")


def choose_comparison(comp: str | Comparison | None, monitor: str) -> Comparison:
    """Return the function ``f(new, old)`` that says whether a value is better than another.

    Args:
        comp: ``'less'``, ``'greater'``, a function of two tensors, or ``None`` to judge by the
            metric's name.
        monitor: the metric's name.

    Raises:
        ValueError: an unknown name.
        TypeError: neither a name nor a function.
    """
    if comp is None:
        is_lower = any(word in monitor.lower() for word in _LOWER_IS_BETTER)
        return _COMPARISONS["less" if is_lower else "greater"]
    if isinstance(comp, str):
        if comp.lower() not in _COMPARISONS:
            raise unknown_name("comparison", comp, _COMPARISONS)
        return _COMPARISONS[comp.lower()]
    if not callable(comp):
        raise ArgumentTypeError(
            f"comp={comp!r} must be 'less', 'greater' or a function of two values"
        )
    return comp


def is_better(comp: Comparison, new: float, old: float) -> bool:
    """Return what a comparison says of two numbers."""
    if comp is torch.less:
        return new < old
    if comp is torch.greater:
        return new > old
    wide = torch.float64
    return bool(comp(torch.tensor(new, dtype=wide), torch.tensor(old, dtype=wide)))


def read_metric(state: State, label: str, monitor: str) -> float:
    """Return the value that a metric has now.

    Args:
        state: the run's state.
        label: ``'train'`` or an evaluator's label.
        monitor: the metric's name; for ``'train'`` also the name of a logged loss. One value of
            several is named ``<metric>/<value>``.

    Raises:
        ValueError: there is no such metric; the message lists those there are.
    """
    losses: Mapping[str, Any] = state.total_loss_dict if label == TRAIN_LABEL else {}
    if monitor in losses:
        return float(losses[monitor])
    metrics = (state.train_metrics or {}) if label == TRAIN_LABEL else state.eval_metrics[label]
    name, _, part = (monitor, "", "") if monitor in metrics else monitor.partition("/")
    if name not in metrics:
        raise unknown_name(f"metric of {label!r}", monitor, [*metrics, *losses])
    value = metrics[name].compute()
    if part:
        if not isinstance(value, Mapping) or part not in value:
            raise ConfigError(f"the metric {name!r} has no value {part!r}, only {value!r}")
        value = value[part]
    return float(value)
