"""Pages that show a profile."""

from __future__ import annotations

import base64
import io
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from composer.utils.atomic import write_text
from composer.utils.import_helpers import import_extra

if TYPE_CHECKING:
    from torch.profiler import profile

__all__ = ["export_memory_timeline_html"]

_GIBI = 2**30


def export_memory_timeline_html(
    prof: profile,
    path: str | os.PathLike[str],
    device: str | None = None,
    figsize: tuple[float, float] = (20, 12),
    title: str | None = None,
    yxis_step_size: float = 1.0,
    return_fig: bool = False,
) -> Any:
    """Write a page that shows memory over time, by what it is used for.

    Args:
        prof: a finished profile, made with ``profile_memory``, ``record_shapes`` and
            ``with_stack``.
        path: the page to write.
        device: whose memory; by default the GPU's if there is one.
        figsize: width and height in inches.
        title: above the picture; by default the peaks.
        yxis_step_size: distance of the lines across the picture, in GiB.
        return_fig: whether to return the matplotlib figure.

    Returns:
        The figure if it is asked for, else ``None``.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure_module: Any = import_extra("matplotlib.figure", "demo", "matplotlib")
    from torch.profiler._memory_profiler import (
        _CATEGORY_TO_COLORS,
        _CATEGORY_TO_INDEX,
        MemoryProfileTimeline,
    )

    device = device or ("cuda:0" if torch.cuda.is_available() else "cpu")
    timeline = MemoryProfileTimeline(prof._memory_profile())
    times, sizes = timeline._coalesce_timeline(device)
    stacked = np.cumsum(np.array(sizes, dtype=float).reshape(len(times), -1), axis=1) / _GIBI
    seconds = (np.array(times, dtype=float) - min(times, default=0)) / 1e9

    figure = figure_module.Figure(figsize=figsize, dpi=80)
    axes = figure.subplots()
    for category, color in _CATEGORY_TO_COLORS.items():
        column = _CATEGORY_TO_INDEX[category]
        if len(times) and column + 1 < stacked.shape[1]:
            label = "unknown" if category is None else category.name.lower()
            low, high = stacked[:, column], stacked[:, column + 1]
            axes.fill_between(seconds, low, high, color=color, alpha=0.7, label=label)
    axes.legend(loc="upper left")
    axes.set_xlabel("seconds")
    axes.set_ylabel("GiB")
    peak = stacked[:, -1].max() if len(times) else 0.0
    if peak > yxis_step_size > 0:
        axes.set_yticks(np.arange(0, peak + yxis_step_size, yxis_step_size))
    axes.set_title(title or f"memory of {device}, at most {peak:.3f} GiB")
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    encoded = base64.b64encode(picture.getvalue()).decode("ascii")
    write_text(
        path,
        '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>Memory over time</title>'
        f'<img alt="memory over time" src="data:image/png;base64,{encoded}"></html>\n',
    )
    return figure if return_fig else None
