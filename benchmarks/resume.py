"""How long it takes to go on in the middle of an epoch, and how much memory.

Run it as ``python benchmarks/resume.py``. Each measurement is a fresh process: the library's own
sampler at batch 10^6 of a data set of 10^9 samples, and torch's shuffling sampler half way through
10^7, next to drawing its permutation once. What is timed ends when the first batch is there.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler

from composer.core.index_cursor import cursor_of
from composer.distributed import comm
from composer.distributed.permutation import Permutation

BATCH_SIZE = 256
TARGET_S, TARGET_MB = 2.0, 100.0


class Numbers(Dataset[int]):
    """A data set of any length that costs nothing to read."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        return index


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--measure", choices=[*MEASUREMENTS], help="one, in this process, as JSON")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(MEASUREMENTS[options.measure])))
        return
    print(
        f"{platform.machine()}, {platform.python_implementation()} {platform.python_version()}, "
        f"torch {torch.__version__}, one thread, {options.repeats} fresh processes each, median "
        "[lowest, highest]"
    )
    found = {name: [_fresh(name) for _ in range(options.repeats)] for name in MEASUREMENTS}
    for name, runs in found.items():
        print(f"{name:<42}{_spread(runs, 's')} s   {_spread(runs, 'mb')} MB")
    ours = found["own sampler, 10^9, at batch 10^6"]
    is_met = max(run["s"] for run in ours) < TARGET_S and max(run["mb"] for run in ours) < TARGET_MB
    print(f"target: under {TARGET_S} s and {TARGET_MB:.0f} MB: {'met' if is_met else 'MISSED'}")
    going_on, drawing = (
        statistics.median(run["s"] for run in found[name])
        for name in ("torch's shuffle, 10^7, at half", "torch's permutation of 10^7, drawn once")
    )
    print(f"torch's shuffle: {going_on / drawing:.2f} times drawing its permutation (target: 1)")


def _fresh(name: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", name]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def _spread(runs: list[dict[str, float]], unit: str) -> str:
    values = [run[unit] for run in runs]
    return f"{statistics.median(values):8.3f} [{min(values):.3f}, {max(values):.3f}]"


def measured(work: Callable[[], Callable[[], object]]) -> dict[str, float]:
    """Prepare some work, do it, and return its seconds and what it added to the peak of memory."""
    torch.set_num_threads(1)
    ready = work()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    ready()
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"s": seconds, "mb": (peak - before) / 1024}


def _go_on(loader: DataLoader[Any], mark: dict[str, Any]) -> Callable[[], object]:
    cursor = cursor_of(loader)
    assert cursor is not None
    _warm_up()
    return lambda: next(cursor.open(loader, mark))


def _warm_up() -> None:
    """Let a process load what it loads once."""
    data = Numbers(1000)
    for sampler in (comm.get_sampler(data, shuffle=True), RandomSampler(data)):
        list(DataLoader(data, BATCH_SIZE, sampler=sampler))


def own_sampler() -> Callable[[], object]:
    data, batches = Numbers(10**9), 10**6
    loader = DataLoader(data, BATCH_SIZE, sampler=comm.get_sampler(data, shuffle=True, seed=1))
    cursor = batches * BATCH_SIZE
    tail = Permutation(len(data), 1, 0).take(np.arange(cursor - 8, cursor)).tolist()
    place = {"share": 0, "shares": 1, "cursor": cursor}
    mark = {"batches": batches, "samples": cursor, "tail": tail, "draws": False, **place}
    return _go_on(loader, mark)


def torchs_shuffle() -> Callable[[], object]:
    loader = DataLoader(Numbers(10**7), BATCH_SIZE, shuffle=True)
    batches = 10**7 // BATCH_SIZE // 2
    place = {"share": 0, "shares": 1}
    # Nothing to compare: which samples come depends on the seed.
    samples = batches * BATCH_SIZE
    mark = {"batches": batches, "samples": samples, "tail": [], "draws": False, **place}
    return _go_on(loader, mark)


def torchs_permutation() -> Callable[[], object]:
    sampler = RandomSampler(Numbers(10**7))
    _warm_up()
    return lambda: next(iter(sampler))


MEASUREMENTS: dict[str, Callable[[], Callable[[], object]]] = {
    "own sampler, 10^9, at batch 10^6": own_sampler,
    "torch's shuffle, 10^7, at half": torchs_shuffle,
    "torch's permutation of 10^7, drawn once": torchs_permutation,
}

if __name__ == "__main__":
    main()
