"""Log how busy the machine is: processor, memory, disk, network and GPUs."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import psutil
import torch

from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.core.time import TimeUnit
from composer.distributed import comm

__all__ = ["SystemMetricsMonitor"]

log = logging.getLogger(__name__)

# The system is asked at most this often: asking costs some tenths of a millisecond.
INTERVAL_S = 1.0
# Ranks put their values together on every so many batches; they must agree on which.
INTERVAL_BATCHES = 10

GPU_METRICS = ("gpu_percentage", "memory_percentage", "gpu_temperature_C", "gpu_power_usage_W")
_METRICS = (
    "cpu_percentage",
    "cpu_memory_mem_used_GiB",
    "cpu_memory_mem_available_GiB",
    "cpu_memory_mem_percentage",
    "disk_memory_used_GiB",
    "disk_memory_free_GiB",
    "network_sent_MiB_per_s",
    "network_received_MiB_per_s",
    *GPU_METRICS,
)


class SystemMetricsMonitor(Callback):
    """Logs how busy the machine is, about once a second.

    ===============================================  ==============================================
    ``cpu_percentage``                               of all cores, in [0, 100]
    ``cpu_memory_mem_{used,available}_GiB``          of the machine; ``_percentage`` of it in use
    ``disk_memory_{used,free}_GiB``                  of the working folder's disk
    ``network_{sent,received}_MiB_per_s``            of all interfaces
    ``min_<name>``, ``max_<name>``, with ``_rank``   least and most of the GPUs: ``gpu_percentage``,
                                                     ``memory_percentage``, ``gpu_temperature_C``,
                                                     ``gpu_power_usage_W``
    ===============================================  ==============================================

    All but the GPUs' values are those of rank 0's machine. GPUs are asked through ``pynvml``, the
    extra ``gpu``; without it they are left out.

    Args:
        log_all_data: whether every rank's values are logged, as ``<name>_rank_<r>``.
    """

    def __init__(self, log_all_data: bool = False) -> None:
        self.log_all_data = log_all_data
        self._gpu: _Gpu | None = None
        self._asked_at = 0.0
        self._network = (0.0, 0, 0)
        self._values: dict[str, float] = {}
        self._pending: comm.PendingRows | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_gpu": None, "_pending": None}

    def init(self, state: State, logger: Logger) -> None:
        """Look for a GPU to ask."""
        del logger
        if state.device.torch_device.type == "cuda":
            self._gpu = _Gpu.find(state.device.torch_device)

    def batch_start(self, state: State, logger: Logger) -> None:
        """Log, if it is time."""
        self._step(state, logger, state.timestamp.count(TimeUnit.BATCH))

    def eval_batch_start(self, state: State, logger: Logger) -> None:
        """Log, if it is time."""
        self._step(state, logger, state.eval_timestamp.count(TimeUnit.BATCH))

    def predict_batch_start(self, state: State, logger: Logger) -> None:
        """Log, if it is time."""
        self._step(state, logger, state.predict_timestamp.count(TimeUnit.BATCH))

    def compute_system_metrics(self) -> dict[str, float]:
        """Ask the system now.

        Returns:
            This rank's values, by the names above, and its GPU's by the names of ``GPU_METRICS``.
        """
        memory, disk = psutil.virtual_memory(), psutil.disk_usage(".")
        gibi = 2.0**30
        return {
            "cpu_percentage": psutil.cpu_percent(),
            "cpu_memory_mem_used_GiB": memory.used / gibi,
            "cpu_memory_mem_available_GiB": memory.available / gibi,
            "cpu_memory_mem_percentage": memory.percent,
            "disk_memory_used_GiB": disk.used / gibi,
            "disk_memory_free_GiB": disk.free / gibi,
            **self._network_rates(),
            **(self._gpu.ask() if self._gpu is not None else {}),
        }

    def compute_gpu_min_max_metrics(
        self, all_metrics: list[dict[str, float]], state: State
    ) -> dict[str, float]:
        """Find the least and the most of each of the GPUs' values, and on which rank it is.

        Args:
            all_metrics: each rank's values, in the order of ranks.
            state: the run's state.
        """
        del state
        found: dict[str, float] = {}
        for name in GPU_METRICS:
            by_rank = {r: values[name] for r, values in enumerate(all_metrics) if name in values}
            for word, choose in (("min", min), ("max", max)):
                if by_rank:
                    rank = choose(by_rank, key=by_rank.__getitem__)
                    found[f"{word}_{name}"] = by_rank[rank]
                    found[f"{word}_{name}_rank"] = rank
        return found

    def _step(self, state: State, logger: Logger, batch: int) -> None:
        # What ranks sent a batch ago is there: nobody waits for it.
        if self._pending is not None:
            rows = self._pending.wait()
            self._pending = None
            self._log([_named(row) for row in rows], state, logger)
        if batch % INTERVAL_BATCHES:
            return
        is_new = time.monotonic() - self._asked_at >= INTERVAL_S
        if is_new:
            self._values = self.compute_system_metrics()
            self._asked_at = time.monotonic()
        if comm.get_world_size() > 1:
            self._pending = comm.start_gather([self._values.get(n, math.nan) for n in _METRICS])
        elif is_new:
            self._log([self._values], state, logger)

    def _log(self, all_values: list[dict[str, float]], state: State, logger: Logger) -> None:
        metrics = {name: v for name, v in all_values[0].items() if name not in GPU_METRICS}
        metrics |= self.compute_gpu_min_max_metrics(all_values, state)
        if self.log_all_data:
            metrics |= _by_rank(all_values)
        logger.log_metrics(metrics)

    def _network_rates(self) -> dict[str, float]:
        counters = psutil.net_io_counters()
        if counters is None:  # a machine without interfaces
            return {}
        now = (time.monotonic(), counters.bytes_sent, counters.bytes_recv)
        before, self._network = self._network, now
        seconds = now[0] - before[0]
        if before[0] == 0.0 or seconds <= 0:
            return {"network_sent_MiB_per_s": 0.0, "network_received_MiB_per_s": 0.0}
        sent, received = (
            (b - a) / seconds / 2**20 for a, b in zip(before[1:], now[1:], strict=True)
        )
        return {"network_sent_MiB_per_s": sent, "network_received_MiB_per_s": received}


def _named(row: list[float]) -> dict[str, float]:
    """Return a rank's numbers by name, without those it does not have."""
    return {name: v for name, v in zip(_METRICS, row, strict=True) if not math.isnan(v)}


def _by_rank(all_values: list[dict[str, float]]) -> dict[str, float]:
    return {
        f"{name}_rank_{rank}": value
        for rank, values in enumerate(all_values)
        for name, value in values.items()
    }


class _Gpu:
    """This rank's GPU, as NVIDIA's management library sees it."""

    def __init__(self, library: ModuleType, handle: Any) -> None:
        self._library: Any = library
        self._handle = handle

    @classmethod
    def find(cls, device: torch.device) -> _Gpu | None:
        try:
            import pynvml  # pyright: ignore[reportMissingImports]

            pynvml.nvmlInit()
            uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
            return cls(pynvml, pynvml.nvmlDeviceGetHandleByUUID(uuid))
        except ModuleNotFoundError:
            log.warning(
                "SystemMetricsMonitor leaves GPUs out, because pynvml is not installed. Run: "
                "pip install 'composer-ml[gpu]'"
            )
        except Exception as error:  # noqa: BLE001 - NVML's errors exist only where it does
            log.warning("SystemMetricsMonitor leaves the GPU out: %s", error)
        return None

    def ask(self) -> Mapping[str, float]:
        nvml, handle = self._library, self._handle
        values: dict[str, float] = {}
        # A card that lacks one of the sensors still has the others.
        with contextlib.suppress(nvml.NVMLError):
            usage = nvml.nvmlDeviceGetUtilizationRates(handle)
            values["gpu_percentage"] = float(usage.gpu)
        with contextlib.suppress(nvml.NVMLError):
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            values["memory_percentage"] = 100.0 * memory.used / memory.total
        with contextlib.suppress(nvml.NVMLError):
            values["gpu_temperature_C"] = float(
                nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)
            )
        with contextlib.suppress(nvml.NVMLError):
            values["gpu_power_usage_W"] = nvml.nvmlDeviceGetPowerUsage(handle) / 1000.0
        return values
