"""The loop never waits for the device: at most one read of it in a training step.

A made-up device stands for an accelerator. Its tensors are meta tensors, which have no values: to
read one, the program must copy it to the host, and every such copy is counted here. Anything else
that would wait (`item()`, `bool(tensor)`, `nonzero`) fails outright on them.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from composer.callbacks.activation_monitor import ActivationMonitor
from composer.callbacks.lr_monitor import LRMonitor
from composer.callbacks.nan_monitor import NaNMonitor
from composer.callbacks.optimizer_monitor import OptimizerMonitor
from composer.callbacks.runtime_estimator import RuntimeEstimator
from composer.callbacks.speed_monitor import SpeedMonitor
from composer.callbacks.system_metrics_monitor import SystemMetricsMonitor
from composer.core.algorithm import Algorithm
from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.devices.device import Device
from composer.optim.decoupled_weight_decay import DecoupledAdamW
from composer.trainer.trainer import Trainer
from tests.contract._cases import Case, first_cases
from tests.contract._workloads import VISION, Workload
from tests.core._doubles import Memory

NUM_BATCHES = 6


class MetaDevice(Device):
    """An accelerator without values."""

    name = "meta"
    dist_backend = ""

    def __init__(self) -> None:
        self.torch_device = torch.device("meta")

    def module_to_device(self, module: Any) -> Any:
        return module.to("meta")

    def tensor_to_device(self, tensor: Any) -> Any:
        return tensor.to("meta")


class HostReads(TorchDispatchMode):
    """Counts copies of meta tensors to the host, and lets them give ones."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default and _is_read(args[0], kwargs.get("device")):
            self.count += 1
            return torch.ones(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        if func is torch.ops.aten.copy_.default and _is_read(args[1], args[0].device):
            self.count += 1
            return args[0]
        return func(*args, **kwargs)


def _is_read(source: Any, place: torch.device | None) -> bool:
    return source.device.type == "meta" and place is not None and place.type == "cpu"


class ReadsPerBatch(Callback):
    """Notes how many reads there have been when a batch starts."""

    def __init__(self, reads: HostReads) -> None:
        self.reads, self.at_start = reads, []

    def batch_start(self, state: State, logger: Logger) -> None:
        self.at_start.append(self.reads.count)

    @property
    def most(self) -> int:
        return max(b - a for a, b in zip(self.at_start, self.at_start[1:], strict=False))


def most_reads(
    *algorithms: Algorithm,
    callbacks: Sequence[Callback] = (),
    workload: Workload = VISION,
    **arguments: Any,
) -> int:
    """Train some batches on the made-up device and return the most reads of one batch."""
    model = workload.model().to("meta")
    batches = workload.loader(2) if workload.is_keyed else [workload.batch()] * NUM_BATCHES
    # In batches: what follows the share of the run that is done acts too. With samplers that may
    # leave batches out, as they like of values that are made up, the end of an epoch is the end.
    duration = "1ep" if workload.is_keyed else f"{NUM_BATCHES}ba"
    reads = HostReads()
    watcher = ReadsPerBatch(reads)
    given: dict[str, Any] = {"loggers": Memory(), "progress_bar": False} | arguments
    with reads:
        Trainer(
            model=model,
            train_dataloader=batches,
            max_duration=duration,
            optimizers=DecoupledAdamW(model.parameters(), lr=1e-3),
            device=MetaDevice(),
            algorithms=list(algorithms),
            callbacks=[watcher, *callbacks],
            seed=1,
            **given,
        ).fit()
    return watcher.most


def test_reads_are_counted() -> None:
    with HostReads() as reads:
        torch.ones((), device="meta").cpu()
        torch.zeros(2).copy_(torch.ones(2, device="meta"))
    assert reads.count == 2


def test_a_value_that_is_waited_for_fails_on_the_made_up_device() -> None:
    with HostReads(), pytest.raises(RuntimeError, match="meta"):
        torch.ones((), device="meta").item()


def test_a_step_reads_once_with_loss_and_metrics_logged() -> None:
    assert most_reads() == 1


def test_a_step_reads_nothing_where_nothing_is_logged() -> None:
    assert most_reads(loggers=None) == 0


def test_a_step_of_several_microbatches_reads_once() -> None:
    assert most_reads(device_train_microbatch_size=2) == 1


def test_a_step_with_the_default_display_reads_once() -> None:
    assert most_reads(loggers=None, progress_bar=True, console_stream=io.StringIO()) == 1


def test_a_step_with_console_lines_reads_once() -> None:
    stream = io.StringIO()
    assert most_reads(loggers=None, log_to_console=True, console_stream=stream) == 1


@pytest.mark.parametrize("case", first_cases(), ids=str)
def test_no_method_reads_the_device_in_a_step(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    # There is no autocast for meta tensors, and it reads nothing.
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: contextlib.nullcontext())
    assert most_reads(case.make(), workload=case.workload, **case.keywords) == 1


# What a user may leave on in every run. The others read when they act, seldom or by their nature:
# stoppers a metric after an evaluation, visualizers an image.
WATCHERS: dict[str, Callable[[], Callback]] = {
    "LRMonitor": LRMonitor,
    "NaNMonitor": NaNMonitor,
    "OptimizerMonitor": lambda: OptimizerMonitor(batch_log_interval=1),
    "RuntimeEstimator": RuntimeEstimator,
    "SpeedMonitor": lambda: SpeedMonitor(window_size=2),
    "SystemMetricsMonitor": SystemMetricsMonitor,
    "ActivationMonitor": lambda: ActivationMonitor("1ba", only_log_wandb=False),
}


@pytest.mark.parametrize("name", WATCHERS)
def test_a_watcher_reads_with_what_is_logged(name: str) -> None:
    assert most_reads(callbacks=[WATCHERS[name]()]) == 1


def test_a_nan_is_read_where_nothing_is_logged() -> None:
    assert most_reads(callbacks=[NaNMonitor()], loggers=None) == 1
