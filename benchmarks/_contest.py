"""What a method takes next to a version written by hand: steps that take turns in one thread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Contest", "Entries", "Step", "holding", "line"]

Step = Callable[[], object]


@dataclass(frozen=True)
class Contest:
    """Steps to be timed.

    Attributes:
        method: the step with the method.
        by_hand: the same work in plain calls; ``None`` where there is no short way to write it.
        without: the step without the method, whose time is taken off; ``None`` takes off nothing.
    """

    method: Step
    by_hand: Step | None = None
    without: Step | None = None


Entries = dict[str, Callable[[], Contest]]
"""Line of the table -> what makes its steps."""


def holding(step: Step) -> Step:
    """Return a step whose result lives until the next one, as a batch does in a loop.

    Where memory is given back matters: asking the system for it anew takes longer than most steps.
    """
    held: object = None

    def hold() -> None:
        nonlocal held
        held = None
        held = step()

    return hold


def line(name: str, contest: Contest, turns: int) -> str:
    """Time a contest and return its line of the table.

    Args:
        name: what the line is called.
        contest: the steps.
        turns: how often each is taken.
    """
    taken = _take_turns(contest, turns)
    base = statistics.median(taken.get("without", [0.0]))
    added = [value - base for value in taken["method"]]
    ours = f"{statistics.median(added):.0f} {_spread(added)}"
    if "by_hand" not in taken:
        return f"| {name} | | {ours} | |"
    theirs = taken["by_hand"]
    ratio = statistics.median(added) / statistics.median(theirs)
    return f"| {name} | {statistics.median(theirs):.0f} {_spread(theirs)} | {ours} | {ratio:.2f} |"


def _take_turns(contest: Contest, turns: int) -> dict[str, list[float]]:
    """Microseconds of CPU time of each step of each turn."""
    steps = {kind: step for kind, step in vars(contest).items() if step is not None}
    taken: dict[str, list[float]] = {kind: [] for kind in steps}
    warming_up = turns // 10
    for turn in range(turns + warming_up):
        for kind in [*steps] if turn % 2 else [*steps][::-1]:
            started = time.thread_time_ns()
            steps[kind]()
            taken[kind].append((time.thread_time_ns() - started) / 1e3)
    return {kind: values[warming_up:] for kind, values in taken.items()}


def _spread(values: list[float]) -> str:
    low, _, high = statistics.quantiles(values, n=4)
    return f"({low:.0f} .. {high:.0f})"
