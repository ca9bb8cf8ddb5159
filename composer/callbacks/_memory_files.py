"""Write what PyTorch's CUDA allocator has noted: snapshots and plots."""

from __future__ import annotations

import os
import pickle
from typing import Any

import torch

from composer.core.logger import Logger
from composer.core.naming import format_name_with_dist_and_time
from composer.core.state import State
from composer.utils.atomic import write_bytes, write_text

__all__ = ["write_plots", "write_snapshot"]


def write_snapshot(
    path: str, remote_folder: str | None, state: State, logger: Logger, *, overwrite: bool
) -> None:
    """Write a snapshot for pytorch.org/memory_viz.

    Args:
        path: the file, with placeholders.
        remote_folder: folder for logger destinations that keep files; ``None`` for none.
        state: the run's state.
        logger: the run's logger.
        overwrite: whether an existing file may be replaced.
    """
    path = _filled(path, state)
    write_bytes(path, pickle.dumps(torch.cuda.memory._snapshot()), overwrite=overwrite)
    if remote_folder is not None:
        remote = os.path.join(remote_folder, os.path.basename(path))
        logger.upload_file(remote, path, overwrite=overwrite)


def write_plots(
    base: str, remote_base: str | None, state: State, logger: Logger, *, overwrite: bool
) -> None:
    """Write pages that show the allocator's history over time and by place.

    Args:
        base: how the files' names begin, with placeholders.
        remote_base: the same for logger destinations that keep files; ``None`` for none.
        state: the run's state.
        logger: the run's logger.
        overwrite: whether existing files may be replaced.
    """
    from torch.cuda import _memory_viz

    snapshot: Any = torch.cuda.memory._snapshot()
    plots = {"trace_plot": _memory_viz.trace_plot, "segment_plot": _memory_viz.segment_plot}
    for name, plot in plots.items():
        path = f"{_filled(base, state)}_{name}.html"
        write_text(path, plot(snapshot), overwrite=overwrite)
        if remote_base is not None:
            logger.upload_file(f"{remote_base}_{name}.html", path, overwrite=overwrite)


def _filled(path: str, state: State) -> str:
    return format_name_with_dist_and_time(path, state.run_name, state.timestamp)
