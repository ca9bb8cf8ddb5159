"""Where the time of a step is said to go, and when it is measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from composer.callbacks._device_times import DeviceTimes
from composer.callbacks.stall_monitor import INSTRUMENTATION, PARTS, StallMonitor, _metrics
from composer.core.callback import Callback
from composer.core.data_spec import DataSpec
from composer.core.logger import Logger
from composer.core.state import State
from composer.distributed import comm
from composer.errors import ConfigError
from tests._dist import run_ranks
from tests.core._doubles import Memory
from tests.trainer._runs import Regression, loader, make_trainer, samples, sgd

PAUSE = 0.03


class Slow(Regression):
    """A model that sleeps in its forward pass."""

    def forward(self, batch: Any) -> torch.Tensor:
        time.sleep(PAUSE if self.training else 2 * PAUSE)
        return super().forward(batch)


class SleepOn(Callback):
    """Sleeps on one event."""

    def __init__(self, event: str) -> None:
        setattr(self, event, lambda state, logger: time.sleep(PAUSE))


class SlowToTake(Memory):
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        time.sleep(PAUSE)
        super().log_metrics(metrics, step)


class SlowSGD(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:
        time.sleep(PAUSE)
        return super().step(closure)


def slow_to_load() -> list[Any]:
    class Batches(list[Any]):
        def __iter__(self) -> Any:
            for batch in super().__iter__():
                time.sleep(PAUSE)
                yield batch

    return Batches([samples(4)] * 4)


def slow_to_move() -> DataSpec:
    def sleep(batch: Any) -> Any:
        time.sleep(PAUSE)
        return batch

    return DataSpec(loader(), microbatch_transforms=sleep)


def slow_backward(state: State, logger: Logger) -> None:
    state.loss.register_hook(lambda grad: time.sleep(PAUSE))


class SlowBackward(Callback):
    """Makes autograd sleep."""

    before_backward = staticmethod(slow_backward)


def parts_of(**arguments: Any) -> dict[str, float]:
    """Train an epoch of four batches and return what was logged of it."""
    memory = arguments.pop("memory", None) or Memory()
    model = arguments.pop("model", None) or Regression()
    given = {"optimizers": sgd(model), "loggers": memory, **arguments}
    given["callbacks"] = [StallMonitor("4ba"), *given.get("callbacks", [])]
    make_trainer(model=model, **given).fit()
    [logged] = [each for _, each in memory.metrics if "stall/data" in each]
    return logged


def optimizer_that_sleeps() -> dict[str, Any]:
    model = Regression()
    return {"model": model, "optimizers": SlowSGD(model.parameters(), lr=0.1)}


SLOW: dict[str, Callable[[], dict[str, Any]]] = {
    "data": lambda: {"train_dataloader": slow_to_load()},
    "copy": lambda: {"train_dataloader": slow_to_move()},
    "forward": lambda: {"model": Slow()},
    "backward": lambda: {"callbacks": [SlowBackward()]},
    "optimizer": optimizer_that_sleeps,
    "logging": lambda: {"memory": SlowToTake()},
}


@pytest.mark.parametrize("part", SLOW)
def test_the_slow_part_is_found(part: str) -> None:
    logged = parts_of(**SLOW[part]())
    times = {name: logged[f"stall/{name}"] for name in PARTS}
    assert max(times, key=times.__getitem__) == part
    assert times[part] >= 0.7 * PAUSE


def test_slow_callbacks_are_logging_wherever_they_sleep() -> None:
    for event in ("before_forward", "after_backward", "batch_end", "after_train_batch"):
        logged = parts_of(callbacks=[SleepOn(event)])
        assert logged["stall/logging"] >= 0.7 * PAUSE, event
        assert logged[INSTRUMENTATION] >= 0.7 * PAUSE, event


def test_saving_is_no_watching() -> None:
    memory = Memory()
    monitor = StallMonitor("4ba")
    make_trainer(
        callbacks=[monitor, SleepOn("batch_checkpoint")], loggers=memory, max_duration="8ba"
    ).fit()
    assert memory.series("stall/checkpoint")[1] >= 0.7 * PAUSE
    assert memory.series(INSTRUMENTATION)[1] < 0.7 * PAUSE


def test_evaluation_at_the_very_end_is_seen() -> None:
    memory, model = Memory(), Slow()
    make_trainer(
        model=model, optimizers=sgd(model), loggers=memory, callbacks=StallMonitor("4ba"),
        eval_dataloader=[samples(4)] * 3,
    ).fit()  # fmt: skip
    assert memory.series("stall/evaluation")[-1] >= 3 * PAUSE


def test_together_the_parts_are_the_time_that_passed() -> None:
    memory = Memory()
    trainer = make_trainer(loggers=memory, callbacks=StallMonitor("1ba"), max_duration="10ep")
    began = time.perf_counter()
    trainer.fit()
    passed = time.perf_counter() - began
    total = sum(sum(memory.series(f"stall/{part}")) for part in PARTS)
    assert 0.5 * passed < total <= passed


def test_it_logs_at_intervals_and_what_is_left_at_the_end() -> None:
    memory = Memory()
    make_trainer(loggers=memory, callbacks=StallMonitor(3), max_duration="8ba").fit()
    assert [step for step, each in memory.metrics if "stall/data" in each] == [3, 6, 8]


class Lasting(Memory):
    is_lasting = True


def test_it_is_there_where_a_logger_keeps_what_it_gets() -> None:
    def monitors(**arguments: Any) -> list[StallMonitor]:
        trainer = make_trainer(**arguments)
        return [c for c in trainer.state.callbacks if isinstance(c, StallMonitor)]

    assert len(monitors(loggers=Lasting())) == 1
    assert monitors(loggers=Memory()) == []
    assert monitors() == []
    own = StallMonitor(interval=0)
    assert monitors(loggers=Lasting(), callbacks=own) == [own]


def test_an_interval_of_zero_switches_it_off() -> None:
    memory = Lasting()
    make_trainer(loggers=memory, callbacks=StallMonitor(interval=0)).fit()
    assert not memory.series("stall/data")


def on_two_ranks() -> dict[str, float]:
    """Train with rank 1 slow in its forward pass, so that rank 0 waits for it."""
    memory = Lasting()
    model = Slow() if comm.get_global_rank() == 1 else Regression()
    given = loader(32, sampler=comm.get_sampler(loader(32).dataset))
    only_on_zero = {"loggers": memory} if comm.get_global_rank() == 0 else {}
    make_trainer(
        model=model, optimizers=sgd(model), train_dataloader=given, max_duration="4ep",
        ddp_sync_strategy="forced_sync", **only_on_zero,
    ).fit()  # fmt: skip
    logged = [each for _, each in memory.metrics if "stall/data" in each]
    return logged[0] if logged else {}


def test_every_ranks_parts_are_logged_and_who_waits_for_whom() -> None:
    logged, other = run_ranks(2, on_two_ranks)
    assert other == {}
    assert logged["stall/rank1/forward"] >= 0.7 * PAUSE > logged["stall/rank0/forward"]
    assert logged["stall/rank0/communication"] >= 0.5 * PAUSE
    mean = (logged["stall/rank0/forward"] + logged["stall/rank1/forward"]) / 2
    assert logged["stall/forward"] == pytest.approx(mean)


def test_of_many_ranks_the_slowest_is_named() -> None:
    rows = [[float(rank)] * (len(PARTS) + 1) for rank in range(20)]
    metrics = _metrics(rows)
    assert metrics["stall/forward"] == 9.5
    assert metrics["stall/slowest/forward"] == 19.0
    assert metrics["stall/slowest_rank/forward"] == 19
    assert "stall/rank0/forward" not in metrics


class FakeEvent:
    """A CUDA event on a device that takes a fixed time for each piece of work."""

    now_ms = 0.0
    is_passed = True

    def __init__(self, enable_timing: bool) -> None:
        self.at = 0.0

    def record(self) -> None:
        FakeEvent.now_ms += 10.0
        self.at = FakeEvent.now_ms

    def query(self) -> bool:
        return FakeEvent.is_passed

    def elapsed_time(self, other: FakeEvent) -> float:
        return other.at - self.at


def test_time_waited_for_the_device_is_given_to_what_it_was_busy_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    monitor, times = StallMonitor("1ba"), DeviceTimes()
    monitor._device, monitor._num_steps = times, 1
    times.start()
    for part in ("forward", "backward", "backward", "logging"):
        times.mark(PARTS.index(part))
    assert times.read(len(PARTS)) is None  # still being recorded
    times.stop()
    spent = [0] * len(PARTS)
    spent[PARTS.index("logging")] = 31_000_000
    monitor._spent = spent
    shared = dict(zip(PARTS, monitor._share_out(30_000_000), strict=True))
    assert shared["forward"] == pytest.approx(10e6)
    assert shared["backward"] == pytest.approx(20e6)
    assert shared["logging"] == pytest.approx(1e6)


def test_a_step_is_not_measured_anew_before_the_device_is_through_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    monkeypatch.setattr(FakeEvent, "is_passed", False)
    times = DeviceTimes()
    times.start()
    times.mark(0)
    times.mark(1)
    times.stop()
    assert times.read(2) is None
    times.start()
    assert not times.is_recording
    monkeypatch.setattr(FakeEvent, "is_passed", True)
    assert times.read(2) == [pytest.approx(10e6), 0.0]
    times.start()
    assert times.is_recording
    assert times.read(2) == [pytest.approx(10e6), 0.0]


@pytest.mark.parametrize("interval", ["2ep", "often"])
def test_an_interval_in_other_units_is_refused(interval: str) -> None:
    with pytest.raises(ConfigError):
        StallMonitor(interval)
