"""Times loops step by step without touching them: by when they ask for the next batch.

Every contestant runs in a thread of its own and is given batches one block at a time; between two
blocks it waits until its turn comes again. So all of them meet the same noise of the machine, and
none has to be started anew. What is read is the CPU clock of the thread, which stands still while
others run.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

__all__ = ["Contestant", "Result", "take_turns"]

# The first steps of a block find cold caches.
COLD_STEPS = 3


class Contestant:
    """A loop to be timed.

    Args:
        name: what it is called.
        loop: trains (or evaluates) on the batches it is given until there are no more.
        batches: what it is given, again and again.
    """

    def __init__(self, name: str, loop: Callable[[Any], None], batches: list[Any]) -> None:
        self.name = name
        self.blocks: list[list[float]] = []
        self.calls_per_step = 0.0
        self.error: BaseException | None = None
        self._loop = loop
        self._batches = batches
        self._steps = 0
        self._counts_calls = False
        self._may_go, self._has_stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __iter__(self) -> Iterator[Any]:
        batches, clock = self._batches, time.thread_time_ns
        while True:
            self._has_stopped.release()
            self._may_go.acquire()
            if not self._steps:
                return
            profile = _CallCounter() if self._counts_calls else None
            sys.setprofile(profile)
            times = []
            for step in range(self._steps + 1):
                times.append(clock())
                yield batches[step % len(batches)]
            times.append(clock())
            sys.setprofile(None)
            micro = [(b - a) / 1e3 for a, b in zip(times, times[1:], strict=False)]
            if profile is None:
                self.blocks.append(micro[COLD_STEPS:])
            else:
                # One call a step is this generator's own; it is the same for all.
                self.calls_per_step = profile.count / (self._steps + 1)

    def start(self) -> None:
        """Let the loop come to where it asks for its first batch."""
        self._thread.start()
        self._wait()

    def train(self, steps: int, counts_calls: bool = False) -> None:
        """Give the loop a block of batches and wait until it asks for the next block."""
        self._steps, self._counts_calls = steps, counts_calls
        self._may_go.release()
        self._wait()

    def finish(self) -> None:
        """Tell the loop that there are no more batches."""
        self._steps = 0
        self._may_go.release()
        self._thread.join()

    def _wait(self) -> None:
        self._has_stopped.acquire()
        if self.error is not None:
            raise RuntimeError(f"{self.name} failed") from self.error

    def _run(self) -> None:
        try:
            self._loop(self)
        except BaseException as error:  # a thread's error is raised where its block was asked for
            self.error = error
        self._has_stopped.release()


class _CallCounter:
    """Counts calls of Python and C functions; given to ``sys.setprofile``."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        if event in ("call", "c_call"):
            self.count += 1


class Result:
    """What one contestant took over another, from blocks that were run next to each other."""

    def __init__(self, raw: Contestant, other: Contestant) -> None:
        medians = [statistics.median(block) for block in other.blocks]
        base = [statistics.median(block) for block in raw.blocks]
        over = sorted(a - b for a, b in zip(medians, base, strict=True))
        self.name = other.name
        self.step_us = statistics.median(medians)
        self.over_us = statistics.median(over)
        self.low_us, _, self.high_us = statistics.quantiles(over, n=4)
        # The fastest tenth of all steps: what a quiet machine would show.
        self.quiet_step_us = _first_tenth(other)
        self.quiet_over_us = self.quiet_step_us - _first_tenth(raw)
        # With what happens on few steps only: drawing a bar, collecting garbage.
        self.mean_over_us = _trimmed_mean(other) - _trimmed_mean(raw)
        self.calls = other.calls_per_step - raw.calls_per_step


def _first_tenth(contestant: Contestant) -> float:
    return statistics.quantiles([us for block in contestant.blocks for us in block], n=10)[0]


def _trimmed_mean(contestant: Contestant) -> float:
    """Return the mean step, without the tenth of the blocks that the machine disturbed most."""
    means = sorted(statistics.fmean(block) for block in contestant.blocks)
    return statistics.fmean(means[: max(1, len(means) * 9 // 10)])


def take_turns(contestants: list[Contestant], blocks: int, steps: int) -> list[Result]:
    """Time contestants in turns, and return what each took over the first of them."""
    for contestant in contestants:
        contestant.start()
        contestant.train(steps)  # warm up
        contestant.blocks.clear()
    for turn in range(blocks):
        for contestant in contestants if turn % 2 == 0 else contestants[::-1]:
            contestant.train(steps)
    for contestant in contestants:
        contestant.train(20, counts_calls=True)
    for contestant in contestants:
        contestant.finish()
    return [Result(contestants[0], contestant) for contestant in contestants]
