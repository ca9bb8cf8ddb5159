"""The table, the verdict and the plot of `digits.py`; nothing here is about training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.ticker import PercentFormatter

COLORS = {"plain": "#b4530a", "composed": "#0b62c4"}


@dataclass
class Run:
    """What was measured in one run.

    Attributes:
        seconds: time spent training, evaluation left out, after each epoch.
        accuracy: on the validation part, after each epoch.
        test: accuracy on the test part, at the end.
    """

    seconds: Sequence[float]
    accuracy: Sequence[float]
    test: float

    def epochs_to(self, target):
        """Return after how many epochs the run was first at the target, None if it never was."""
        return next((i for i, value in enumerate(self.accuracy, 1) if value >= target), None)

    def seconds_to(self, target):
        """Return the same as seconds of training."""
        epochs = self.epochs_to(target)
        return None if epochs is None else float(self.seconds[epochs - 1])


def report(runs, target, plot):
    """Print the table and the verdict, and write the plot.

    Args:
        runs: name of the recipe -> its runs, seed by seed.
        target: the validation accuracy that all should reach.
        plot: path of the picture.
    """
    print_table(runs, target)
    print_verdict(runs, target)
    draw(runs, target, plot)


def spread(values):
    """Return the standard deviation over seeds; 0 for a single one."""
    return stdev(values) if len(values) > 1 else 0.0


def print_table(runs, target):
    """Print mean and spread over seeds; a run that missed the target shows as such."""
    print(f"\nTarget: {target:.1%} of the validation part. Mean ± standard deviation over seeds.\n")
    print(f"{'recipe':10}{'reached':>9}{'time to target':>18}{'epochs':>16}{'test accuracy':>19}")
    for name, each in runs.items():
        times = [s for s in (run.seconds_to(target) for run in each) if s is not None]
        epochs = [n for n in (run.epochs_to(target) for run in each) if n is not None]
        tests = [100 * run.test for run in each]
        print(
            f"{name:10}{f'{len(times)} of {len(each)}':>9}{_cell(times, ' s'):>18}"
            f"{_cell(epochs, ''):>16}{_cell(tests, ' %', 2):>19}"
        )
    print()


def _cell(values, unit, digits=1):
    if not values:
        return "-"
    return f"{mean(values):.{digits}f} ± {spread(values):.{digits}f}{unit}"


def print_verdict(runs, target):
    """Say in one line what was gained, comparing runs of the same seed."""
    pairs = list(zip(runs["plain"], runs["composed"], strict=True))
    times = [(a.seconds_to(target), b.seconds_to(target)) for a, b in pairs]
    tests = _difference([100 * (b.test - a.test) for a, b in pairs])
    if any(None in pair for pair in times):
        reached = {name: sum(r.epochs_to(target) is not None for r in runs[name]) for name in runs}
        speed = (
            f"no speed to compare, because not every run reached the target (plain "
            f"{reached['plain']}, composed {reached['composed']} of {len(pairs)})"
        )
    else:
        gains = [a - b for a, b in times]
        ratio = mean(a for a, _ in times) / mean(b for _, b in times)
        speed = f"{ratio:.1f} times as fast to the target, {_difference(gains, ' s saved')}"
    print(f"Composed against plain, seed by seed: {speed}; test accuracy {tests}.")


def _difference(values, what=" points"):
    average, deviation = mean(values), spread(values)
    text = f"{average:+.1f} ± {deviation:.1f}{what}"
    if len(values) < 2:
        return f"{text} (one seed: proves nothing)"
    return text if abs(average) > deviation else f"{text} (within the spread: no clear difference)"


def draw(runs, target, path):
    """Draw accuracy against training time for every run, and write it as a picture."""
    matplotlib.use("Agg")
    with plt.rc_context({"font.size": 12, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(figsize=(9, 4.8), layout="constrained")
        lowest = _draw_curves(axes, runs, target)
        axes.axhline(target, color="#444", linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.annotate(
            f"target {target:.1%}", (0, target), xycoords=("axes fraction", "data"),
            xytext=(6, 4), textcoords="offset points", ha="left", color="#444",
        )  # fmt: skip
        axes.set(xlabel="seconds of training", ylabel="validation accuracy")
        axes.set(xlim=(0, None), ylim=(lowest, 1.002))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.grid(axis="y", color="#e6e6e6")
        axes.set_axisbelow(True)
        axes.legend(frameon=False, loc="lower right")
        axes.set_title("The same network on handwritten digits, three seeds each", loc="left")
        figure.savefig(path, dpi=150)
    print(f"Plot: {Path(path).resolve()}")


def _draw_curves(axes, runs, target):
    """Draw one line per run and a dot where it meets the target; return where to cut off below."""
    for name, each in runs.items():
        for seed, run in enumerate(each):
            label = name if seed == 0 else None
            axes.plot(
                run.seconds, run.accuracy, color=COLORS[name], label=label,
                linewidth=1.8, alpha=0.75,
            )  # fmt: skip
            if (epochs := run.epochs_to(target)) is not None:
                point = run.seconds[epochs - 1], run.accuracy[epochs - 1]
                axes.plot(*point, "o", color=COLORS[name], markeredgecolor="white", markersize=9)
    best = min(max(run.accuracy) for each in runs.values() for run in each)
    return min(0.85, best - 0.1)
