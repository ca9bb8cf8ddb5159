"""What the system profiler records of the machine."""

from __future__ import annotations

import threading
import time

import pytest

from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError, StateError
from composer.profiler.profiler import Profiler
from composer.profiler.profiler_schedule import cyclic_schedule
from composer.profiler.system_profiler import SystemProfiler
from tests.core._doubles import make_state
from tests.profiler.test_profiler import Notes
from tests.trainer._runs import make_trainer


class Slow(Callback):
    def batch_start(self, state: State, logger: Logger) -> None:
        time.sleep(0.1)


def test_processor_memory_disk_and_network_are_counters() -> None:
    notes, before = Notes(), set(threading.enumerate())
    profiler = Profiler(
        cyclic_schedule(warmup=0, active=10), notes, True, True, True, True, 0.01,
        torch_prof_profile_memory=False, torch_prof_with_flops=False,
    )  # fmt: skip
    trainer = make_trainer(profiler=profiler, callbacks=Slow())
    trainer.fit()
    counters = {name: values for kind, name, values in notes.notes if kind == "counter"}
    assert 0 <= counters["cpu"]["percent"] <= 100
    assert counters["memory"]["used_MiB"] > 0
    assert counters["memory"]["available_MiB"] > 0
    assert counters["swap"].keys() == {"used_MiB", "available_MiB"}
    assert counters.keys() == {"cpu", "memory", "swap", "disk", "network"}
    trainer.close()
    left = set(threading.enumerate()) - before
    assert "SystemProfiler" not in {thread.name for thread in left}


def test_it_needs_a_profiler() -> None:
    state = make_state()
    with pytest.raises(StateError, match="Profiler"):
        SystemProfiler().init(state, Logger(state))


def test_an_interval_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ConfigError, match="stats_thread_interval_seconds=0"):
        SystemProfiler(stats_thread_interval_seconds=0)
