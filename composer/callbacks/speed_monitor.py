"""Log throughput and how well it uses the hardware."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import Any

import torch

from composer.callbacks._gpu_peaks import peak_flops
from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.precision import Precision
from composer.core.state import State
from composer.core.time import TimeUnit
from composer.distributed import comm
from composer.errors import ConfigError, unknown_name

__all__ = ["SpeedMonitor"]

log = logging.getLogger(__name__)

SECONDS = {"seconds": 1, "minutes": 60, "hours": 60 * 60, "days": 24 * 60 * 60}


class SpeedMonitor(Callback):
    """Logs how fast training goes, over a window of the last batches.

    ============================================  =================================================
    ``throughput/{batches,samples}_per_sec``      over all ranks; time spent evaluating is left out
    ``throughput/tokens_per_sec``                 where batches count tokens
    ``throughput/flops_per_sec``                  where the model knows its cost
    ``throughput/device/...``                     the same, divided by the number of ranks
    ``throughput/device/mfu``                     model FLOPs utilisation, in [0, 1]: floating point
                                                  operations a second over what the device can do
                                                  (arXiv 2204.02311, appendix B)
    ``time/{train,val,total}``                    spent training, evaluating and both
    ============================================  =================================================

    A model knows its cost if it has ``flops_per_batch``: a number, or a function of a batch that
    returns one, counting the forward and backward pass of this rank. Other ranks are taken to do
    as much.

    Args:
        window_size: over how many batches to average, at least 1; nothing is logged before.
        gpu_flops_available: operations a second that one device can do in the run's number format;
            by default looked up by the device's name, for dense matrix products.
        time_unit: unit of ``time/...``: ``'seconds'``, ``'minutes'``, ``'hours'`` or ``'days'``.

    Raises:
        ValueError: an argument that cannot work.
    """

    def __init__(
        self,
        window_size: int = 100,
        gpu_flops_available: float | int | None = None,
        time_unit: str = "hours",
    ) -> None:
        if window_size < 1:
            raise ConfigError(f"window_size={window_size!r} must be at least 1")
        if time_unit not in SECONDS:
            raise unknown_name("time_unit", time_unit, SECONDS)
        self.window_size = window_size
        self.gpu_flops_available = gpu_flops_available
        self.time_unit = time_unit
        self.total_eval_s = 0.0
        # Totals at the end of each batch of the window: batches, samples, tokens, flops, seconds.
        self._totals: deque[tuple[float, ...]] = deque(maxlen=window_size + 1)
        self._flops_done = 0.0
        self._eval_began = 0.0

    def init(self, state: State, logger: Logger) -> None:
        """Look up what the device can do."""
        del logger
        if self.gpu_flops_available is None:
            self.gpu_flops_available = _device_peak(state)

    def fit_start(self, state: State, logger: Logger) -> None:
        """Begin a new window: counters may have been set back."""
        del state, logger
        self._totals.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return the time spent evaluating."""
        return {"total_eval_wct": self.total_eval_s}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on adding to the time an interrupted run has spent evaluating."""
        self.total_eval_s = state["total_eval_wct"]

    def batch_end(self, state: State, logger: Logger) -> None:
        """Log what the batch adds."""
        count = state.timestamp.count
        train_s = state.timestamp.total_wct.total_seconds()
        has_flops = self._count_flops(state)
        done = (count(TimeUnit.BATCH), count(TimeUnit.SAMPLE), count(TimeUnit.TOKEN))
        self._totals.append((*done, self._flops_done, train_s))
        if not logger.listens_to_metrics:
            return
        metrics = self._throughput(has_flops) if len(self._totals) > self.window_size else {}
        unit = SECONDS[self.time_unit]
        metrics["time/train"] = train_s / unit
        metrics["time/val"] = self.total_eval_s / unit
        metrics["time/total"] = (train_s + self.total_eval_s) / unit
        logger.log_metrics(metrics)

    def eval_start(self, state: State, logger: Logger) -> None:
        """Note when an evaluator begins."""
        del state, logger
        self._eval_began = time.perf_counter()

    def eval_end(self, state: State, logger: Logger) -> None:
        """Add how long the evaluator took."""
        del state, logger
        self.total_eval_s += time.perf_counter() - self._eval_began

    def _count_flops(self, state: State) -> bool:
        cost: Any = getattr(state.model, "flops_per_batch", None)
        if cost is None:
            return False
        flops: Any = cost(state.batch) if callable(cost) else cost
        self._flops_done += float(flops)
        return True

    def _throughput(self, has_flops: bool) -> dict[str, float]:
        first, last = self._totals[0], self._totals[-1]
        seconds = last[4] - first[4]
        if seconds <= 0:
            return {}
        ranks = comm.get_world_size()
        batches, samples = (last[0] - first[0]) / seconds, (last[1] - first[1]) / seconds
        metrics = {
            "throughput/batches_per_sec": batches,
            "throughput/samples_per_sec": samples,
            "throughput/device/batches_per_sec": batches / ranks,
            "throughput/device/samples_per_sec": samples / ranks,
        }
        if last[2]:
            tokens = (last[2] - first[2]) / seconds
            metrics["throughput/tokens_per_sec"] = tokens
            metrics["throughput/device/tokens_per_sec"] = tokens / ranks
        if has_flops:
            flops = (last[3] - first[3]) / seconds
            metrics["throughput/flops_per_sec"] = flops * ranks
            metrics["throughput/device/flops_per_sec"] = flops
            if self.gpu_flops_available:
                metrics["throughput/device/mfu"] = flops / self.gpu_flops_available
        return metrics


def _device_peak(state: State) -> float | None:
    if state.device.torch_device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(state.device.torch_device)
    uses_tf32 = torch.get_float32_matmul_precision() != "highest"
    peak = peak_flops(name, Precision(state.precision), uses_tf32)
    if peak is None and hasattr(state.model, "flops_per_batch"):
        log.warning(
            "SpeedMonitor does not know what %r can do in %s, so it logs no mfu; give it "
            "gpu_flops_available",
            name,
            state.precision.value,
        )
    return peak
