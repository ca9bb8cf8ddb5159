"""Log how much GPU memory is in use."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch

from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.distributed import comm
from composer.errors import ConfigError

__all__ = ["MemoryMonitor"]

# Names of torch.cuda.memory_stats -> names in the log.
DEFAULT_KEYS = {
    "allocated_bytes.all.current": "current_allocated_mem",
    "active_bytes.all.current": "current_active_mem",
    "inactive_split_bytes.all.current": "current_inactive_mem",
    "reserved_bytes.all.current": "current_reserved_mem",
    "allocated_bytes.all.peak": "peak_allocated_mem",
    "active_bytes.all.peak": "peak_active_mem",
    "inactive_split_bytes.all.peak": "peak_inactive_mem",
    "reserved_bytes.all.peak": "peak_reserved_mem",
    "num_alloc_retries": "alloc_retries",
}
_GIGABYTE = 1e9


class MemoryMonitor(Callback):
    """Logs ``memory/<name>`` from PyTorch's CUDA allocator, after each batch's gradients.

    Bytes are logged in gigabytes (10^9), rounded to five significant digits; the rest are counts.
    ``peak_reserved_mem`` is what the run needs of the device, ``alloc_retries`` above 0 means that
    it hardly fits.

    Args:
        memory_keys: name in ``torch.cuda.memory_stats`` -> name in the log.
        dist_aggregate_batch_interval: every how many batches ``memory/<name>_{avg,min,max}`` over
            all ranks are logged too; ``None`` for never.

    Raises:
        ValueError: an interval below 1.
    """

    def __init__(
        self,
        memory_keys: dict[str, str] | None = None,
        dist_aggregate_batch_interval: int | None = None,
    ) -> None:
        if dist_aggregate_batch_interval is not None and dist_aggregate_batch_interval < 1:
            raise ConfigError(
                f"dist_aggregate_batch_interval={dist_aggregate_batch_interval!r} must be at "
                "least 1, or None"
            )
        self.memory_keys = memory_keys
        self.dist_aggregate_batch_interval = dist_aggregate_batch_interval

    def init(self, state: State, logger: Logger) -> None:
        """Warn where there is nothing to monitor."""
        del logger
        if not _is_on_gpu(state):
            warnings.warn(
                f"MemoryMonitor reads the memory of CUDA devices and logs nothing on "
                f"{state.device.name!r}",
                stacklevel=2,
            )

    def after_train_batch(self, state: State, logger: Logger) -> None:
        """Log the memory in use, where it is at its highest."""
        if not _is_on_gpu(state):
            return
        report = memory_report(torch.cuda.memory_stats(), self.memory_keys)
        every = self.dist_aggregate_batch_interval
        if every is not None and state.timestamp.batch.value % every == 0:
            report |= aggregate(report)
        logger.log_metrics({f"memory/{name}": value for name, value in report.items()})


def memory_report(
    stats: Mapping[str, Any], memory_keys: Mapping[str, str] | None = None
) -> dict[str, int | float]:
    """Return the chosen statistics, bytes as gigabytes.

    Args:
        stats: what ``torch.cuda.memory_stats`` returned.
        memory_keys: as in :class:`MemoryMonitor`.
    """
    report: dict[str, int | float] = {}
    for key, name in (memory_keys or DEFAULT_KEYS).items():
        if key in stats:
            value = stats[key]
            report[name] = float(f"{value / _GIGABYTE:.5g}") if "bytes" in key else value
    return report


def aggregate(report: Mapping[str, int | float]) -> dict[str, int | float]:
    """Return mean, least and most over all ranks; all ranks must call this."""
    columns = zip(*comm.start_gather(list(report.values())).wait(), strict=True)
    combined: dict[str, int | float] = {}
    for name, values in zip(report, columns, strict=True):
        combined[f"{name}_avg"] = sum(values) / len(values)
        combined[f"{name}_min"] = min(values)
        combined[f"{name}_max"] = max(values)
    return combined


def _is_on_gpu(state: State) -> bool:
    return state.device.torch_device.type == "cuda"
