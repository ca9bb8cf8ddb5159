"""Metric objects with what they have accumulated, as dicts; kept only on request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["load_metrics", "metrics_to_dict"]


def metrics_to_dict(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of each metric, by name.

    Args:
        metrics: name -> ``torchmetrics.Metric``. Their states become persistent, which they are
            not by default; these are the run's own copies of the model's metrics.
    """
    saved: dict[str, Any] = {}
    for name, metric in metrics.items():
        metric.persistent(mode=True)
        saved[name] = {
            "state_dict": metric.state_dict(),
            "_computed": metric._computed,
            "_update_count": metric.update_count,
        }
    return saved


def load_metrics(metrics: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    """Take over states written by :func:`metrics_to_dict`; a metric that has none is left alone."""
    for name, metric in metrics.items():
        entries = saved.get(name)
        if entries is None:
            continue
        metric.persistent(mode=True)
        metric.load_state_dict(entries["state_dict"], strict=False)
        metric._computed = entries.get("_computed")
        # Without the count a metric warns that it was computed before it was updated.
        metric._update_count = entries.get("_update_count", metric.update_count)
