"""Record what the CUDA allocator does, for a few batches."""

from __future__ import annotations

import os
import warnings

import torch

from composer.callbacks._memory_files import write_snapshot
from composer.core.callback import Callback
from composer.core.interval import parse_interval
from composer.core.logger import Logger
from composer.core.state import State
from composer.core.time import Time, TimeUnit
from composer.errors import ConfigError

__all__ = ["MemorySnapshot"]


class MemorySnapshot(Callback):
    """Writes one snapshot of the CUDA allocator's history, to be opened at pytorch.org/memory_viz.

    Args:
        skip_batches: how many batches to train before recording, at least 0.
        interval: for how many batches to record: a number or ``'3ba'``.
        max_entries: how many allocations to keep at most.
        folder: where the file is written; ``{run_name}`` and ranks are filled in.
        filename: its name; counters such as ``{batch}`` are filled in as well.
        remote_file_name: folder under which logger destinations that keep files get it; ``None``
            for not at all.
        overwrite: whether an existing file may be replaced.

    Raises:
        ValueError: an argument that cannot work.
    """

    def __init__(
        self,
        skip_batches: int = 1,
        interval: int | str | Time[int] = "3ba",
        max_entries: int = 100_000,
        folder: str = "{run_name}/torch_traces",
        filename: str = "rank{rank}.{batch}.memory_snapshot",
        remote_file_name: str | None = "{run_name}/torch_memory_traces",
        overwrite: bool = False,
    ) -> None:
        if skip_batches < 0 or max_entries < 1:
            raise ConfigError(
                f"skip_batches={skip_batches!r} must be at least 0 and max_entries="
                f"{max_entries!r} at least 1"
            )
        self.skip_batches = skip_batches
        self.interval = parse_interval(
            interval, default_unit=TimeUnit.BATCH, units=(TimeUnit.BATCH,)
        )
        self.max_entries = max_entries
        self.folder = folder
        self.filename = filename
        self.remote_file_name = remote_file_name
        self.overwrite = overwrite
        self._started_at: int | None = None
        self._is_done = False

    def init(self, state: State, logger: Logger) -> None:
        """Warn where there is nothing to record."""
        del logger
        if state.device.torch_device.type != "cuda":
            self._is_done = True
            warnings.warn(
                f"MemorySnapshot records CUDA devices and does nothing on {state.device.name!r}",
                stacklevel=2,
            )

    def batch_start(self, state: State, logger: Logger) -> None:
        """Start recording once the batches to skip are done."""
        del logger
        batch = state.timestamp.batch.value
        if not self._is_done and self._started_at is None and batch >= self.skip_batches:
            self._started_at = batch
            self.start_record_memory_history()

    def batch_end(self, state: State, logger: Logger) -> None:
        """Write the snapshot once the interval is over."""
        if self._is_done or self._started_at is None:
            return
        if state.timestamp.batch.value >= self._started_at + self.interval.value:
            self.export_memory_snapshot(state, logger)
            self.stop_record_memory_history()
            self._is_done = True

    def start_record_memory_history(self) -> None:
        """Let the allocator note what it does."""
        torch.cuda.memory._record_memory_history(max_entries=self.max_entries)

    def stop_record_memory_history(self) -> None:
        """Let the allocator note nothing more."""
        torch.cuda.memory._record_memory_history(enabled=None)

    def export_memory_snapshot(self, state: State, logger: Logger) -> None:
        """Write what was noted, and give it to the logger."""
        path = os.path.join(self.folder, self.filename)
        write_snapshot(path, self.remote_file_name, state, logger, overwrite=self.overwrite)
