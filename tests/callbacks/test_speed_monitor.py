"""Throughput, model FLOPs utilisation and the table of peaks."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from composer.callbacks._gpu_peaks import peak_flops
from composer.callbacks.speed_monitor import SpeedMonitor
from composer.core.logger import Logger
from composer.core.precision import Precision
from composer.core.state import State
from composer.errors import ConfigError
from tests.core._doubles import Memory, make_state
from tests.trainer._runs import fitted, loader


def pass_batches(
    monitor: SpeedMonitor, count: int, seconds: float = 0.5, **sizes: Any
) -> tuple[State, Memory]:
    """Let batches of equal length pass."""
    state, memory = make_state(), Memory()
    logger = Logger(state, memory)
    if "flops" in sizes:
        state.model.flops_per_batch = sizes.pop("flops")
    monitor.init(state, logger)
    for _ in range(count):
        duration = datetime.timedelta(seconds=seconds)
        state.timestamp = state.timestamp.to_next_batch(**sizes, duration=duration)
        monitor.batch_end(state, logger)
    logger.flush()
    return state, memory


def test_rates_are_those_of_the_window() -> None:
    _, memory = pass_batches(SpeedMonitor(window_size=3), 6, samples=8, tokens=100)
    assert memory.series("throughput/batches_per_sec") == pytest.approx([2.0] * 3)
    assert memory.series("throughput/samples_per_sec") == pytest.approx([16.0] * 3)
    assert memory.series("throughput/device/samples_per_sec") == pytest.approx([16.0] * 3)
    assert memory.series("throughput/tokens_per_sec") == pytest.approx([200.0] * 3)
    assert not memory.series("throughput/flops_per_sec")


def test_without_tokens_none_are_logged() -> None:
    _, memory = pass_batches(SpeedMonitor(window_size=1), 3, samples=8)
    assert not memory.series("throughput/tokens_per_sec")


def test_utilisation_is_the_models_operations_over_the_devices() -> None:
    monitor = SpeedMonitor(window_size=2, gpu_flops_available=4e12)
    _, memory = pass_batches(monitor, 5, samples=1, flops=1e12)
    assert memory.series("throughput/flops_per_sec") == pytest.approx([2e12] * 3)
    assert memory.series("throughput/device/mfu") == pytest.approx([0.5] * 3)


def test_a_model_may_count_its_operations_by_batch() -> None:
    monitor = SpeedMonitor(window_size=1)
    _, memory = pass_batches(monitor, 2, samples=1, flops=lambda batch: 3e9)
    assert memory.series("throughput/device/flops_per_sec") == pytest.approx([6e9])
    assert not memory.series("throughput/device/mfu")


def test_times_are_in_the_unit_asked_for() -> None:
    _, memory = pass_batches(SpeedMonitor(time_unit="minutes"), 2, seconds=30, samples=1)
    assert memory.series("time/train") == pytest.approx([0.5, 1.0])
    assert memory.series("time/total") == pytest.approx([0.5, 1.0])


def test_evaluation_is_counted_apart_and_over_a_resumption() -> None:
    monitor = SpeedMonitor(window_size=1, time_unit="seconds")
    _, _, memory = fitted(callbacks=[monitor], eval_dataloader=loader(), max_duration="2ep")
    assert memory.series("time/val")[0] == 0.0
    assert memory.series("time/val")[-1] > 0.0
    resumed = SpeedMonitor()
    resumed.load_state_dict(monitor.state_dict())
    assert resumed.total_eval_s == monitor.total_eval_s > 0


@pytest.mark.parametrize(
    ("device", "precision", "tera"),
    [
        ("NVIDIA H100 80GB HBM3", Precision.AMP_BF16, 989.4),
        ("NVIDIA H100 PCIe", Precision.AMP_BF16, 756),
        ("NVIDIA H100 80GB HBM3", Precision.AMP_FP8, 1978.9),
        ("NVIDIA H200", Precision.AMP_BF16, 989.4),
        ("NVIDIA B200", Precision.AMP_BF16, 2250),
        ("NVIDIA GB200", Precision.AMP_BF16, 2500),
        ("NVIDIA A100-SXM4-80GB", Precision.AMP_FP16, 312),
        ("Tesla V100-SXM2-16GB", Precision.AMP_FP16, 125),
        ("Tesla V100-PCIE-16GB", Precision.AMP_FP16, 112),
        ("NVIDIA A10G", Precision.AMP_BF16, 70),
        ("AMD Instinct MI300X", Precision.AMP_BF16, 1307.4),
        ("NVIDIA GeForce RTX 4090", Precision.AMP_BF16, 165.2),
    ],
)
def test_peaks_are_found_by_the_devices_name(
    device: str, precision: Precision, tera: float
) -> None:
    assert peak_flops(device, precision) == pytest.approx(tera * 1e12)


def test_32_bit_products_count_by_whether_they_may_use_tf32() -> None:
    assert peak_flops("NVIDIA A100", Precision.FP32) == pytest.approx(19.5e12)
    assert peak_flops("NVIDIA A100", Precision.FP32, uses_tf32=True) == pytest.approx(156e12)


@pytest.mark.parametrize("device", ["NVIDIA RTX A4000", "Quadro T400", "some new thing"])
def test_a_device_that_only_sounds_alike_is_unknown(device: str) -> None:
    assert peak_flops(device, Precision.AMP_FP16) is None
    assert peak_flops("Tesla V100", Precision.AMP_FP8) is None


@pytest.mark.parametrize("arguments", [{"window_size": 0}, {"time_unit": "years"}])
def test_arguments_that_cannot_work_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        SpeedMonitor(**arguments)
