"""What the Trainer costs over a loop written by hand, in microseconds of CPU time per step.

The same model, data and optimizer are trained by both, in turns of a few steps, in one process and
one thread. Run it as ``python benchmarks/overhead.py``; ``--help`` tells what can be chosen.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from _loops import PEERS, Features, composer_eval, composer_train, machine, raw_eval, raw_train
from _stopwatch import Contestant, Result, take_turns
from _tasks import TASKS, Task

# Names of things timed, and what each step of them may take over the loop by hand.
TARGETS_US = {"bare": 25, "defaults": 60, "eval": 10, "eval, metric": 5}
MANY = 20


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(machine())
    for name in options.tasks:
        task = TASKS[name]
        if "steps" in options.measure:
            _report(f"training, {name}", _train_results(task, options), task, options)
        if "eval" in options.measure:
            for with_metric in (False, True):
                results = _eval_results(task, with_metric, options)
                _report(f"evaluation, {name}", results, task, options)
    if "start" in options.measure:
        _report_start(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--tasks", nargs="+", choices=[*TASKS], default=[*TASKS])
    parser.add_argument(
        "--measure", nargs="+", choices=["steps", "eval", "start"],
        default=["steps", "eval", "start"],
    )  # fmt: skip
    parser.add_argument("--blocks", type=int, default=30, help="turns of each loop")
    parser.add_argument("--steps", type=int, default=50, help="steps of a turn")
    parser.add_argument("--starts", type=int, default=3, help="fresh processes of each kind")
    parser.add_argument("--peers", nargs="*", choices=[*PEERS], default=[], help="other libraries")
    parser.add_argument(
        "--loggers",
        help="time one more Trainer: none, or some of memory,defaults,bar,console,file; "
        "with the options below",
    )
    parser.add_argument("--metrics", action="store_true", help="a training metric")
    parser.add_argument("--callbacks", type=int, default=0, help="idle callbacks")
    parser.add_argument("--floats", type=int, default=0, help="numbers logged each step")
    parser.add_argument("--tensors", type=int, default=0, help="tensors logged each step")
    parser.add_argument("--methods", nargs="*", default=[], help="such as LabelSmoothing EMA")
    return parser.parse_args()


def _train_results(task: Task, options: argparse.Namespace) -> list[Result]:
    loops: dict[str, Callable[[Iterable], None]] = {
        "by hand": raw_train(task),
        "bare": composer_train(task),
        "defaults": composer_train(task, Features(loggers="defaults")),
    }
    if task.name == "mlp":
        for name, features in {
            "terminal bar": Features(loggers="bar"),
            "memory logger": Features(loggers="memory"),
            "training metric": Features(loggers="defaults", metrics=True),
            f"{MANY} idle callbacks": Features(callbacks=MANY),
            f"defaults, {MANY} numbers": Features(loggers="defaults", floats=MANY),
            f"defaults, {MANY} tensors": Features(loggers="defaults", tensors=MANY),
        }.items():
            loops[name] = composer_train(task, features)
    asked = Features(
        options.loggers or "none", options.metrics, options.callbacks, options.floats,
        options.tensors, tuple(options.methods),
    )  # fmt: skip
    if options.loggers or asked != Features():
        loops[_label(asked)] = composer_train(task, asked)
    for peer in options.peers:
        loops[peer] = PEERS[peer](task)
    return _take_turns(loops, task, options)


def _eval_results(task: Task, with_metric: bool, options: argparse.Namespace) -> list[Result]:
    suffix = ", metric" if with_metric else ""
    loops = {
        f"by hand{suffix}": raw_eval(task, with_metric),
        f"eval{suffix}": composer_eval(task, with_metric),
    }
    return _take_turns(loops, task, options)


def _take_turns(
    loops: dict[str, Callable[[Iterable], None]], task: Task, options: argparse.Namespace
) -> list[Result]:
    contestants = [Contestant(name, loop, task.batches()) for name, loop in loops.items()]
    return take_turns(contestants, options.blocks, options.steps)


def _report(title: str, results: list[Result], task: Task, options: argparse.Namespace) -> None:
    print(f"\n{title} ({options.blocks} turns of {options.steps} steps, microseconds)")
    print(
        "| loop | step | over by hand: median | quartiles | mean | least tenth: step "
        "| over by hand "
        "| calls over by hand | target |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for result in results:
        target = TARGETS_US.get(result.name, "")
        print(
            f"| {result.name} | {result.step_us:.0f} | {result.over_us:.1f} "
            f"| {result.low_us:.1f} .. {result.high_us:.1f} | {result.mean_over_us:.1f} "
            f"| {result.quiet_step_us:.0f} | {result.quiet_over_us:.1f} "
            f"| {result.calls:.0f} | {target} |"
        )
    by_name = {result.name: result.quiet_over_us for result in results}
    for name, over in by_name.items():
        base = by_name["defaults" if name.startswith("defaults, ") else results[1].name]
        if str(MANY) in name:
            print(f"each of {name.removeprefix('defaults, ')}: {(over - base) / MANY:.2f} us")


def _label(features: Features) -> str:
    given = dataclasses.asdict(features)
    return " ".join(f"{name}={value}" for name, value in given.items() if value)


def _report_start(options: argparse.Namespace) -> None:
    """Print what a run costs before its second step, in fresh processes."""
    kinds = {"by hand": ["hand"], "bare": ["trainer"], "defaults": ["trainer", "with-bar"]}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in kinds}
    for turn in range(options.starts + 1):
        for name, arguments in kinds.items():
            measured = _start(arguments)
            if turn:  # the first turn reads files that later ones find in memory
                runs[name].append(measured)
    best = {
        name: {key: min(run[key] for run in measured) for key in measured[0]}
        for name, measured in runs.items()
    }
    print(f"\nstart, mlp (least of {options.starts} fresh processes, over `import torch`)")
    print("| run | imports, s | first step done, s | over by hand | peak MB over by hand |")
    print("|---|--:|--:|--:|--:|")
    hand = best["by hand"]
    for name, run in best.items():
        print(
            f"| {name} | {run['import_s']:.3f} | {run['first_step_s']:.3f} "
            f"| {run['first_step_s'] - hand['first_step_s']:.3f} "
            f"| {run['peak_mb'] - hand['peak_mb']:.1f} |"
        )
    print("targets: imports 0.2 s, first step 0.3 s over by hand, 15 MB")


def _start(arguments: list[str]) -> dict[str, float]:
    script = Path(__file__).with_name("_start.py")
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
