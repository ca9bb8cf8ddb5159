"""Rows for the cards of methods, ``docs/methods/measured.toml``, from an ablation's report."""

from __future__ import annotations

import inspect
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from _loops import machine

from composer.ablation.arms import Method
from composer.ablation.report import Report, Row
from composer.core import Algorithm

__all__ = ["Task", "rows_of"]


@dataclass(frozen=True)
class Task:
    """What was trained, and how it was judged.

    Attributes:
        workload: data, model and what else matters.
        metric: name and unit of the metric.
        budget: how long every run was, without its seconds.
        command: what measures it anew.
        scale: what values are multiplied with.
        decimals: how many are shown.
        is_lower_better: whether the metric improves downwards.
    """

    workload: str
    metric: str
    budget: str
    command: str
    scale: float = 1.0
    decimals: int = 1
    is_lower_better: bool = False


def rows_of(
    report: Report,
    methods: Mapping[str, Method],
    task: Task,
    arguments: Mapping[str, Mapping[str, Any]],
) -> str:
    """Write each arm with one method as a table in TOML.

    Args:
        report: of an ablation that switched each of the methods on alone.
        methods: name of a class -> method.
        task: what was trained.
        arguments: arguments of those methods that are only names.
    """
    base, *others = report.rows
    tables = []
    for row in others:
        name = row.arm.removeprefix("+ ")
        values = _values(row, base, task)
        values["workload"] += f"; {_set_by_hand(methods[name], arguments.get(name, {}))}"
        tables.append("\n".join([f"[[{name}]]", *(f'{k} = "{v}"' for k, v in values.items()), ""]))
    return "\n".join(tables)


def _values(row: Row, base: Row, task: Task) -> dict[str, str]:
    sign = -task.scale if task.is_lower_better else task.scale
    low, high = sorted((sign * row.gain.low, sign * row.gain.high))
    digits = task.decimals
    seconds = statistics.fmean(base.seconds)
    return {
        "workload": task.workload,
        "metric": task.metric,
        "without": f"{task.scale * base.final:.{digits}f}",
        "with": f"{task.scale * row.final:.{digits}f}",
        "difference": f"{sign * row.gain.mean:+.{digits}f}",
        "interval": f"{low:+.{digits}f} .. {high:+.{digits}f}",
        "p": f"{row.p_holm:.2g}",
        "seeds": str(len(row.finals)),
        "budget": f"{task.budget}, {seconds:.0f} s; a step costs {row.step_cost:.2f} times as much",
        "hardware": f"one core of an {machine().split(',')[0]}, the other busy, bfloat16",
        "command": task.command,
        "date": time.strftime("%Y-%m-%d"),
    }


def _set_by_hand(method: Method, arguments: Mapping[str, Any]) -> str:
    """Return the arguments that are not the method's defaults."""
    changed = arguments
    if isinstance(method, Algorithm):
        usual = {k: p.default for k, p in inspect.signature(type(method)).parameters.items()}
        # JSON, which arguments are given in, has lists for tuples.
        usual = {k: list(v) if isinstance(v, tuple) else v for k, v in usual.items()}
        changed = {k: v for k, v in method.arguments().items() if v != usual[k]}
    return ", ".join(f"{k}={v}" for k, v in changed.items()) or "defaults"
