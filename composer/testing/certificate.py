"""The result of a comparison, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from composer.errors import TrainingError

__all__ = ["Difference", "ResumeCertificate"]

_CAUSES = {
    "itself": (
        "numbers drawn before the program seeds anything, or from a generator of its own that is "
        "not seeded; operations on a GPU that give other results each time (try "
        "deterministic_mode=True); worker processes that share something; the clock"
    ),
    "data": (
        "a sampler or data set that draws from a generator no checkpoint keeps (give it to the "
        "DataLoader as generator=, or use composer.utils.dist.get_sampler); random transforms in "
        "worker processes (wrap the data set in composer.SeededDataset); iterable data without "
        "state_dict; a data set kept from one run to the next and changed by it"
    ),
    "random": (
        "something draws random numbers when a run starts, or as often as it is started: a "
        "callback at FIT_START, a data set when it is opened"
    ),
    "metrics": (
        "a callback or method that keeps counts or averages and does not return them from "
        "state_dict; a metric object with a state of its own (save_metrics=True)"
    ),
    "weights": (
        "part of what makes a step is in no checkpoint: a method's state, a buffer with "
        "persistent=False, a schedule that counts for itself, an optimizer's state that "
        "load_state_dict changes"
    ),
    "optimizer": "an optimizer whose state_dict leaves something out, or loads it in another type",
    "final state": (
        "state_dict of what the path names leaves something out, or load_state_dict does not take "
        "it over"
    ),
}
_NAMES = {
    "data": "the data",
    "random": "the random states",
    "metrics": "the loss or another metric",
    "weights": "the weights",
    "optimizer": "the optimizer's state",
    "final state": "the state at the end",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which the interrupted run differs.

    Attributes:
        part: ``data``, ``metrics``, ``random``, ``weights``, ``optimizer`` or ``final state``.
        batch: number of the batch after which it was seen, from 1.
        detail: what exactly.
        resumed_at: batch and epoch at which the life had begun that it was seen in.
    """

    part: str
    batch: int
    detail: str
    resumed_at: tuple[int, int]

    def __str__(self) -> str:
        detail = f" ({self.detail.strip()})" if self.detail else ""
        return f"{_NAMES[self.part]} differ at batch {self.batch}{detail}"


@dataclass(frozen=True, slots=True)
class ResumeCertificate:
    """Whether an interrupted and resumed run was the same run, to the bit.

    Attributes:
        difference: the first thing that differs; ``None`` if nothing does.
        is_reproducible: whether two runs that were not interrupted are the same; if not, that is
            what ``difference`` tells, and nothing is known about resuming.
        num_batches: batches trained.
        resumed_at: batch and epoch of each resumption.
        num_kills: how many of the interruptions were SIGKILL.
        kills_inside_saves: how many of those hit a checkpoint that was just being written.
        num_tensors: tensors compared at the end.
        num_metrics: names of metrics compared.
        not_compared: metrics and parts of the state that tell time or otherwise differ between two
            runs that were not interrupted.
        machine: versions and device.
    """

    difference: Difference | None
    is_reproducible: bool
    num_batches: int
    resumed_at: tuple[tuple[int, int], ...]
    num_kills: int
    kills_inside_saves: int
    num_tensors: int
    num_metrics: int
    not_compared: tuple[str, ...]
    machine: str

    @property
    def is_proven(self) -> bool:
        """Whether the runs were the same."""
        return self.difference is None

    def require(self) -> None:
        """Refuse a run that does not resume exactly.

        Raises:
            RuntimeError: with the first thing that differs and what usually causes it.
        """
        if self.difference is not None:
            raise TrainingError(str(self))

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> list[str]:
        if self.difference is None:
            return self._proof()
        if not self.is_reproducible:
            return [
                "NOT REPRODUCIBLE: two runs that were not interrupted are not the same run.",
                f"  first difference: {self.difference}",
                f"  usual causes: {_CAUSES['itself']}.",
                "Resuming cannot be judged before this is mended.",
            ]
        batch, epoch = self.difference.resumed_at
        return [
            "NOT THE SAME RUN: the interrupted run differs from the straight one.",
            f"  first difference: {self.difference}",
            f"  in a life that was resumed at batch {batch} (epoch {epoch})",
            f"  usual causes: {_CAUSES[self.difference.part]}.",
        ]

    def _proof(self) -> list[str]:
        at = [f"batch {batch} (epoch {epoch})" for batch, epoch in self.resumed_at]
        lines = [
            "CERTIFICATE: interrupted and resumed, this run is the same run, to the bit.",
            f"  {self.num_batches} batches; resumed at {_listed(at, 6)}",
        ]
        if self.num_kills:
            lines.append(
                f"  killed by SIGKILL {self.num_kills} times, {self.kills_inside_saves} of them "
                "while a checkpoint was being written"
            )
        return [
            *lines,
            "  compared at every batch: data, random states, weights, optimizer state, "
            f"{self.num_metrics} metrics",
            f"  compared at the end: the whole state, {self.num_tensors} tensors",
            "  not compared, because straight runs differ in it too: "
            + (_listed(self.not_compared, 8) or "nothing"),
            f"  {self.machine}",
        ]


def _listed(names: Sequence[str], most: int) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
