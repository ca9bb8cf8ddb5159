"""The picture of an ablation: quality against time, with the Pareto front marked."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Sequence
from typing import Any

from composer.ablation.report import Report, Row, count
from composer.utils.import_helpers import import_extra

__all__ = ["draw", "pareto_front"]


def pareto_front(
    points: Sequence[tuple[float, float]], greater_is_better: bool = True
) -> list[int]:
    """Return the indices of the points that no other beats in both, cheapest first.

    Args:
        points: (cost, quality) of each.
        greater_is_better: which way quality improves; cost always improves downwards.

    Example:
        >>> pareto_front([(1.0, 0.7), (2.0, 0.6), (3.0, 0.9)])
        [0, 2]
    """
    sign = 1.0 if greater_is_better else -1.0
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -sign * points[i][1])):
        if not front or sign * points[index][1] > sign * points[front[-1]][1]:
            front.append(index)
    return front


def draw(report: Report, path: str | os.PathLike[str]) -> None:
    """Write the picture: a curve for each arm, a mark with its spread where it ended.

    Args:
        report: the ablation.
        path: where to; the ending says the format, such as ``.png`` or ``.svg``.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import_extra("matplotlib", "ablation").use("Agg", force=False)
    plt = import_extra("matplotlib.pyplot", "ablation", "matplotlib")
    figure, axes = plt.subplots(figsize=(9, 5.5), layout="constrained")
    rows = [row for row in report.rows if any(map(math.isfinite, row.finals))]
    colours = plt.get_cmap("tab10" if len(rows) <= 10 else "tab20").colors
    for index, row in enumerate(rows):
        _draw_arm(axes, report, row, colours[index % len(colours)])
    _draw_front(axes, report, rows)
    if report.target is not None:
        axes.axhline(
            report.target, color="#444444", linewidth=1, linestyle=(0, (4, 3)), zorder=1,
            label="target",
        )  # fmt: skip
    axes.set(xlabel=f"seconds of training ({report.conditions.get('clock')} clock)")
    axes.set(ylabel=report.metric, title=f"{report.group}: {count(len(report.seeds), 'seed')}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e6e6")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _end_of(row: Row) -> tuple[float, float]:
    ended = zip(row.seconds, row.finals, strict=True)
    return statistics.fmean(s for s, value in ended if math.isfinite(value)), row.final


def _draw_arm(axes: Any, report: Report, row: Row, colour: Any) -> None:
    runs = [r for r in report.records if r.arm == row.arm and not r.error and r.points]
    length = min(len(run.points) for run in runs)
    columns = [[run.points[i] for run in runs] for i in range(length)]
    axes.plot(
        [statistics.fmean(p.seconds for p in points) for points in columns],
        [statistics.fmean(p.value for p in points) for points in columns],
        color=colour, linewidth=1.4, alpha=0.6,
    )  # fmt: skip
    finals = [value for value in row.finals if math.isfinite(value)]
    spread = statistics.stdev(finals) if len(finals) > 1 else 0.0
    x, y = _end_of(row)
    axes.errorbar(x, y, yerr=spread, color=colour, marker="o", capsize=3, label=row.arm)


def _draw_front(axes: Any, report: Report, rows: Sequence[Row]) -> None:
    points = [_end_of(row) for row in rows]
    front = [points[i] for i in pareto_front(points, report.greater_is_better)]
    axes.plot(*zip(*front, strict=True), color="black", linewidth=1, linestyle=":", zorder=1)
    axes.scatter(
        *zip(*front, strict=True), s=130, facecolors="none", edgecolors="black", zorder=3,
        label="Pareto front",
    )  # fmt: skip
