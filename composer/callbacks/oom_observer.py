"""Show what filled the GPU's memory when it ran out."""

from __future__ import annotations

import logging
import os
import warnings
from typing import Any

import torch

from composer.callbacks._memory_files import write_plots, write_snapshot
from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError

__all__ = ["OOMObserver"]

log = logging.getLogger(__name__)


class OOMObserver(Callback):
    """Writes the CUDA allocator's history, and plots of it, when memory runs out.

    The files are a snapshot for pytorch.org/memory_viz and two pages that a browser shows by
    itself: ``<filename>_trace_plot.html`` over time and ``<filename>_segment_plot.html`` by place.

    Args:
        max_entries: how many allocations to keep at most.
        folder: where files are written; ``{run_name}`` and ranks are filled in.
        filename: how their names begin.
        remote_file_name: how their names begin for logger destinations that keep files; ``None``
            for not at all.
        overwrite: whether existing files may be replaced.

    Raises:
        ValueError: an argument that cannot work.
    """

    def __init__(
        self,
        max_entries: int = 100_000,
        folder: str = "{run_name}/torch_traces",
        filename: str = "rank{rank}_oom",
        remote_file_name: str | None = "{run_name}/oom_traces/rank{rank}_oom",
        overwrite: bool = False,
    ) -> None:
        if max_entries < 1:
            raise ConfigError(f"max_entries={max_entries!r} must be at least 1")
        self.max_entries = max_entries
        self.folder = folder
        self.filename = filename
        self.remote_file_name = remote_file_name
        self.overwrite = overwrite

    def init(self, state: State, logger: Logger) -> None:
        """Begin to watch the allocator."""
        if state.device.torch_device.type != "cuda":
            warnings.warn(
                f"OOMObserver watches CUDA devices and does nothing on {state.device.name!r}",
                stacklevel=2,
            )
            return

        def observe(device: int, size: int, used: int, free: int) -> None:
            log.error(
                "out of memory on GPU %d: %d bytes were asked for, %d used, %d free",
                device,
                size,
                used,
                free,
            )
            self._write(state, logger)

        torch.cuda.memory._record_memory_history(max_entries=self.max_entries)
        attach: Any = torch._C._cuda_attach_out_of_memory_observer  # pyright: ignore[reportAttributeAccessIssue]
        attach(observe)

    def _write(self, state: State, logger: Logger) -> None:
        base = os.path.join(self.folder, self.filename)
        remote = self.remote_file_name
        try:
            snapshot = f"{base}.memory_snapshot"
            write_snapshot(snapshot, None, state, logger, overwrite=self.overwrite)
            write_plots(base, remote, state, logger, overwrite=self.overwrite)
        except Exception:
            # The error that matters is the one that comes next: out of memory.
            log.exception("the memory's state could not be written")
