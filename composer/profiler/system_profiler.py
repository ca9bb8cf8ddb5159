"""Records how busy the machine is, from a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import psutil

from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError, StateError
from composer.profiler.marker import Marker

__all__ = ["SystemProfiler"]

_MEBI = 2**20
Numbers = dict[str, int | float]


class SystemProfiler(Callback):
    """Records the processor, memory, disk and network as counters in the traces.

    Args:
        profile_cpu: counter ``cpu``: ``percent`` of all cores, in [0, 100].
        profile_memory: counters ``memory`` and ``swap``: ``used_MiB`` and ``available_MiB``.
        profile_disk: counter ``disk``: ``read_MiB`` and ``written_MiB`` since the last record.
        profile_net: counter ``network``: ``received_MiB`` and ``sent_MiB`` since the last record.
        stats_thread_interval_seconds: how often to record, above 0.

    Raises:
        ValueError: an interval that is not above 0.
    """

    def __init__(
        self,
        profile_cpu: bool = True,
        profile_memory: bool = False,
        profile_disk: bool = False,
        profile_net: bool = False,
        stats_thread_interval_seconds: float = 0.5,
    ) -> None:
        if stats_thread_interval_seconds <= 0:
            raise ConfigError(
                f"stats_thread_interval_seconds={stats_thread_interval_seconds!r} must be above 0"
            )
        self.profile_cpu = profile_cpu
        self.profile_memory = profile_memory
        self.profile_disk = profile_disk
        self.profile_net = profile_net
        self.stats_thread_interval_seconds = stats_thread_interval_seconds
        self._thread: threading.Thread | None = None
        self._is_over = threading.Event()

    def init(self, state: State, logger: Logger) -> None:
        """Start the thread."""
        del logger
        profiler: Any = state.profiler
        if profiler is None:
            raise StateError("SystemProfiler records through a Profiler; give the Trainer one")
        readers = [
            (cast("Marker", profiler.marker(name, categories=("system",))), read)
            for name, read in self._readers()
        ]
        self._is_over.clear()
        self._thread = threading.Thread(
            target=self._record, args=(readers,), name="SystemProfiler", daemon=True
        )
        self._thread.start()

    def close(self, state: State, logger: Logger) -> None:
        """End the thread."""
        del state, logger
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_thread", "_is_over")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = {**state, "_thread": None, "_is_over": threading.Event()}

    def _record(self, readers: list[tuple[Marker, Callable[[], Numbers]]]) -> None:
        while not self._is_over.wait(self.stats_thread_interval_seconds):
            for marker, read in readers:
                marker.counter(read())

    def _readers(self) -> list[tuple[str, Callable[[], Numbers]]]:
        readers: list[tuple[str, Callable[[], Numbers]]] = []
        if self.profile_cpu:
            readers.append(("cpu", lambda: {"percent": psutil.cpu_percent()}))
        if self.profile_memory:
            readers.append(("memory", lambda: _memory(psutil.virtual_memory())))
            readers.append(("swap", lambda: _memory(psutil.swap_memory())))
        if self.profile_disk:
            names = {"read_bytes": "read_MiB", "write_bytes": "written_MiB"}
            readers.append(("disk", _Increase(psutil.disk_io_counters, names)))
        if self.profile_net:
            names = {"bytes_recv": "received_MiB", "bytes_sent": "sent_MiB"}
            readers.append(("network", _Increase(psutil.net_io_counters, names)))
        return readers


def _memory(memory: Any) -> Numbers:
    free = getattr(memory, "available", None)
    return {
        "used_MiB": memory.used / _MEBI,
        "available_MiB": (memory.free if free is None else free) / _MEBI,
    }


class _Increase:
    """By how much some of the system's totals have grown since they were last asked for."""

    def __init__(self, ask: Callable[[], Any], names: dict[str, str]) -> None:
        self._ask = ask
        self._names = names
        self._before = ask()

    def __call__(self) -> Numbers:
        before, self._before = self._before, self._ask()
        if before is None or self._before is None:  # a machine without disks or interfaces
            return {}
        return {
            shown: (getattr(self._before, name) - getattr(before, name)) / _MEBI
            for name, shown in self._names.items()
        }
