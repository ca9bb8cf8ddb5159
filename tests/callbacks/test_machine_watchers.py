"""SystemMetricsMonitor, and the watchers of CUDA memory as far as a CPU shows them."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from composer.callbacks import system_metrics_monitor
from composer.callbacks.memory_monitor import MemoryMonitor, aggregate, memory_report
from composer.callbacks.memory_snapshot import MemorySnapshot
from composer.callbacks.oom_observer import OOMObserver
from composer.callbacks.system_metrics_monitor import SystemMetricsMonitor
from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError
from tests._dist import run_ranks
from tests.callbacks.test_checkpoint_saver import Files
from tests.core._doubles import Memory, make_state
from tests.trainer._runs import fitted


def test_the_machine_is_asked_at_most_once_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = SystemMetricsMonitor()
    asked: list[int] = []
    ask = monitor.compute_system_metrics
    monkeypatch.setattr(monitor, "compute_system_metrics", lambda: asked.append(1) or ask())
    _, _, memory = fitted(callbacks=[monitor], max_duration="10ep")
    assert len(asked) == 1
    assert 0 <= memory.series("cpu_percentage")[0] <= 100
    assert memory.series("cpu_memory_mem_used_GiB")[0] > 0
    assert memory.series("disk_memory_free_GiB")[0] > 0
    assert not memory.series("min_gpu_percentage")


def test_rates_of_the_network_are_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = SystemMetricsMonitor()
    now = SimpleNamespace(bytes_sent=0, bytes_recv=0)
    clock = iter([10.0, 12.0])
    monkeypatch.setattr(system_metrics_monitor.psutil, "net_io_counters", lambda: now)
    monkeypatch.setattr(system_metrics_monitor.time, "monotonic", lambda: next(clock))
    assert set(monitor._network_rates().values()) == {0.0}
    now.bytes_sent, now.bytes_recv = 2 * 2**20, 8 * 2**20
    rates = {"network_sent_MiB_per_s": 1.0, "network_received_MiB_per_s": 4.0}
    assert monitor._network_rates() == rates


def test_least_and_most_of_the_gpus_come_with_their_ranks() -> None:
    by_rank = [{"gpu_percentage": 90.0}, {"gpu_percentage": 20.0}, {"cpu_percentage": 1.0}]
    found = SystemMetricsMonitor().compute_gpu_min_max_metrics(by_rank, make_state())
    assert found == {
        "min_gpu_percentage": 20.0,
        "min_gpu_percentage_rank": 1,
        "max_gpu_percentage": 90.0,
        "max_gpu_percentage_rank": 0,
    }


class NVMLError(Exception):
    pass


def no_power(handle: Any) -> float:
    raise NVMLError("not supported")


def test_a_gpu_is_asked_through_pynvml_and_may_lack_a_sensor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nvml = SimpleNamespace(
        NVMLError=NVMLError,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(gpu=73),
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(used=1, total=4),
        nvmlDeviceGetTemperature=lambda handle, kind: 61,
        nvmlDeviceGetPowerUsage=no_power,
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="7")
    )
    state = make_state()
    state.device = on_gpu()
    monitor = SystemMetricsMonitor()
    monitor.init(state, Logger(state))
    values = monitor.compute_system_metrics()
    assert values["gpu_percentage"] == 73.0
    assert values["memory_percentage"] == 25.0
    assert values["gpu_temperature_C"] == 61.0
    assert "gpu_power_usage_W" not in values


def test_without_pynvml_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    state = make_state()
    state.device = on_gpu()
    SystemMetricsMonitor().init(state, Logger(state))
    assert "composer-ml[gpu]" in caplog.text


def on_gpu() -> Any:
    """Return what stands for a GPU: enough for callbacks to think there is one."""
    return SimpleNamespace(name="gpu", torch_device=torch.device("cuda"))


@pytest.mark.parametrize("callback", [MemoryMonitor(), MemorySnapshot(), OOMObserver()])
def test_off_cuda_they_say_that_they_do_nothing(callback: Callback) -> None:
    state = make_state()
    with pytest.warns(UserWarning, match=f"{type(callback).__name__}.*CUDA devices.*'cpu'"):
        callback.init(state, Logger(state))


def test_bytes_are_reported_in_gigabytes_with_five_digits() -> None:
    stats = {"allocated_bytes.all.current": 12_345_678_901, "num_alloc_retries": 3, "other": 1}
    assert memory_report(stats) == {"current_allocated_mem": 12.346, "alloc_retries": 3}
    assert memory_report(stats, {"other": "mine"}) == {"mine": 1}


def test_memory_is_logged_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torch.cuda, "memory_stats", lambda: {"reserved_bytes.all.peak": 3_000_000_000}
    )
    state, memory = make_state(), Memory()
    state.device = on_gpu()
    logger = Logger(state, memory)
    MemoryMonitor(dist_aggregate_batch_interval=1).after_train_batch(state, logger)
    logger.flush()
    assert memory.series("memory/peak_reserved_mem") == [3.0]
    assert memory.series("memory/peak_reserved_mem_max") == [3.0]


def rank_dependent_report() -> dict[str, int | float]:
    from composer.distributed import comm

    return aggregate({"used": 1.0 + comm.get_global_rank(), "retries": 4})


def test_memory_is_put_together_over_ranks() -> None:
    expected = {
        "used_avg": 1.5, "used_min": 1.0, "used_max": 2.0,
        "retries_avg": 4, "retries_min": 4, "retries_max": 4,
    }  # fmt: skip
    assert run_ranks(2, rank_dependent_report) == [expected, expected]


class Allocator:
    """Stands for the parts of torch.cuda that record memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[dict[str, Any]] = []
        monkeypatch.setattr(
            torch.cuda.memory, "_record_memory_history", lambda **k: self.calls.append(k)
        )
        monkeypatch.setattr(
            torch.cuda.memory, "_snapshot", lambda: {"segments": [], "device_traces": []}
        )


def test_a_snapshot_covers_its_batches_and_is_written_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    allocator, files = Allocator(monkeypatch), Files()
    state: State = make_state()
    state.device = on_gpu()
    logger = Logger(state, files)
    snapshot = MemorySnapshot(2, "3ba", folder=str(tmp_path))
    snapshot.init(state, logger)
    for _ in range(9):
        snapshot.batch_start(state, logger)
        state.timestamp = state.timestamp.to_next_batch(1)
        snapshot.batch_end(state, logger)
    assert allocator.calls == [{"max_entries": 100_000}, {"enabled": None}]
    [path] = tmp_path.iterdir()
    assert path.name == "rank0.5.memory_snapshot"
    assert pickle.loads(path.read_bytes())["segments"] == []
    assert list(files.contents) == ["a-run/torch_memory_traces/rank0.5.memory_snapshot"]


def test_running_out_of_memory_leaves_a_snapshot_and_plots(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Allocator(monkeypatch)
    attached: list[Any] = []
    monkeypatch.setattr(
        torch._C, "_cuda_attach_out_of_memory_observer", attached.append, raising=False
    )
    state, files = make_state(), Files()
    state.device = on_gpu()
    observer = OOMObserver(folder=str(tmp_path))
    observer.init(state, Logger(state, files))
    attached[0](0, 100, 90, 10)
    assert "100 bytes were asked for" in caplog.text
    assert {path.name for path in tmp_path.iterdir()} == {
        "rank0_oom.memory_snapshot",
        "rank0_oom_trace_plot.html",
        "rank0_oom_segment_plot.html",
    }
    assert "a-run/oom_traces/rank0_oom_trace_plot.html" in files.contents


def test_a_failure_to_write_does_not_hide_the_lack_of_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Allocator(monkeypatch)
    attached: list[Any] = []
    monkeypatch.setattr(
        torch._C, "_cuda_attach_out_of_memory_observer", attached.append, raising=False
    )
    state = make_state()
    state.device = on_gpu()
    tmp_path.joinpath("rank0_oom.memory_snapshot").touch()
    OOMObserver(folder=str(tmp_path)).init(state, Logger(state))
    attached[0](0, 100, 90, 10)
    assert "could not be written" in caplog.text


@pytest.mark.parametrize(
    "make",
    [
        lambda: MemoryMonitor(dist_aggregate_batch_interval=0),
        lambda: MemorySnapshot(skip_batches=-1),
        lambda: MemorySnapshot(interval="3ep"),
        lambda: OOMObserver(max_entries=0),
    ],
)
def test_arguments_that_cannot_work_are_refused(make: Any) -> None:
    with pytest.raises(ConfigError):
        make()
