"""What watching costs: microseconds of CPU time per step of each callback, and of all together.

The same model and data are trained by Trainers that differ in their callbacks only, in turns of a
few steps, in one process and one thread. All have a logger that keeps what it gets, so that what a
callback logs is paid for too. Run it as ``python benchmarks/callbacks.py``.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import torch
from _loops import composer_train, machine
from _stopwatch import Contestant, Result, take_turns
from _tasks import TASKS

from composer.callbacks import (
    ActivationMonitor,
    EarlyStopper,
    FreeOutputs,
    HangMonitor,
    LossSpikeMonitor,
    LRMonitor,
    NaNMonitor,
    OptimizerMonitor,
    RuntimeEstimator,
    SpeedMonitor,
    StallMonitor,
    SystemMetricsMonitor,
    ThresholdStopper,
)
from composer.core import Callback
from composer.loggers import LoggerDestination

BUDGET_US = 20  # beyond what the logger itself costs
SHARE_OF_10_MS = 0.005
BASELINE = "no callback"


class Keeper(LoggerDestination):
    """Keeps the last value of each metric, as cheaply as can be."""

    is_lasting = False

    def __init__(self) -> None:
        self.last: dict[str, Any] = {}

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        del step
        self.last.update(metrics)


class LastingKeeper(Keeper):
    """The same, for which the Trainer adds what it adds by default."""

    is_lasting = True


LOSS = ("loss/train/total", "train")
EACH: dict[str, Callable[[], list[Callback]]] = {
    "ActivationMonitor (25ba)": lambda: [ActivationMonitor(only_log_wandb=False)],
    "EarlyStopper (every batch)": lambda: [EarlyStopper(*LOSS, patience="1000000ba")],
    "FreeOutputs": lambda: [FreeOutputs()],
    "HangMonitor": lambda: [HangMonitor(folder=tempfile.mkdtemp())],
    "LRMonitor": lambda: [LRMonitor()],
    "LossSpikeMonitor (warn)": lambda: [LossSpikeMonitor()],
    "NaNMonitor": lambda: [NaNMonitor()],
    "OptimizerMonitor (10ba)": lambda: [OptimizerMonitor()],
    "RuntimeEstimator": lambda: [RuntimeEstimator()],
    "SpeedMonitor": lambda: [SpeedMonitor()],
    "StallMonitor (10ba)": lambda: [StallMonitor()],
    "StallMonitor (100ba)": lambda: [StallMonitor("100ba")],
    "SystemMetricsMonitor": lambda: [SystemMetricsMonitor()],
    "ThresholdStopper (every batch)": lambda: [
        ThresholdStopper(*LOSS, threshold=-1.0, stop_on_batch=True)
    ],
}
USUAL = "LRMonitor, NaNMonitor, RuntimeEstimator, SpeedMonitor, HangMonitor and the default"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--blocks", type=int, default=30, help="turns of each loop")
    parser.add_argument("--steps", type=int, default=100, help="steps of a turn")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(machine())
    task = TASKS["mlp"]
    loops = {BASELINE: composer_train(task, loggers=[Keeper()])}
    for name, make in EACH.items():
        loops[name] = composer_train(task, loggers=[Keeper()], callbacks=make())
    default, usual = LastingKeeper(), LastingKeeper()
    loops["what the Trainer adds by default"] = composer_train(task, loggers=[default])
    watchers = [LRMonitor(), NaNMonitor(), RuntimeEstimator(), SpeedMonitor()]
    watchers.append(HangMonitor(folder=tempfile.mkdtemp()))
    loops[USUAL] = composer_train(task, loggers=[usual], callbacks=watchers)
    contestants = [Contestant(name, loop, task.batches()) for name, loop in loops.items()]
    _report(take_turns(contestants, options.blocks, options.steps), options)
    for name, keeper in (("by default", default), (USUAL, usual)):
        measured = keeper.last["time/instrumentation"] * 1e6
        print(f"time/instrumentation, {name}: {measured:.1f} us a step, logger included")


def _report(results: list[Result], options: argparse.Namespace) -> None:
    print(f"\n{options.blocks} turns of {options.steps} steps, microseconds over {BASELINE!r}")
    print("| callbacks | median | quartiles | mean | least tenth | calls | of a 10 ms step |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    base = results[0]
    for result in results[1:]:
        mean = result.mean_over_us
        print(
            f"| {result.name} | {result.over_us:.1f} | {result.low_us:.1f} .. {result.high_us:.1f} "
            f"| {mean:.1f} | {result.quiet_over_us:.1f} | {result.calls:.0f} "
            f"| {mean / 10_000:.2%} |"
        )
    print(
        f"the baseline's step: {base.step_us:.0f} us; budget for what is on by default: "
        f"{BUDGET_US} us, and {SHARE_OF_10_MS:.1%} of a 10 ms step"
    )


if __name__ == "__main__":
    main()
