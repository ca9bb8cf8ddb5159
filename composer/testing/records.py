"""What a run's lines say, and the first thing in which two runs differ."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch

from composer.checkpoint import monolith
from composer.testing.certificate import Difference
from composer.testing.digest import digest, flatten
from composer.testing.recorder import final_state_path, records_path

__all__ = [
    "Noise",
    "Records",
    "differences",
    "last_batch",
    "noise_between",
    "num_tensors",
    "ranks_of",
]

# What may differ between a run and its resumed twin: names, clocks, and lists of files.
_NOT_COMPARED = (
    "state/run_name",
    "state/metadata",
    "state/callbacks/CheckpointSaver",
    "state/dataset_state/position",
)
_CLOCKS = "_wct"
_TRAINED = ("state/model/", "state/optimizers/")


@dataclass(slots=True)
class Records:
    """One run, which may have had several lives.

    Attributes:
        batches: by number, each batch's facts; of one that was trained in several lives, all.
        metrics: by batch and name, the values logged, as hexadecimal text.
        starts: where each life began, as batch and epoch.
        seconds: from the first start of training to the last end of it that was written down.
        is_complete: whether the run came to its end.
    """

    batches: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    metrics: dict[tuple[int, str], list[str]] = field(default_factory=dict)
    starts: list[tuple[int, int]] = field(default_factory=list)
    is_complete: bool = False
    seconds: float = 0.0
    _began: float | None = None

    @classmethod
    def read(cls, folder: str, rank: int) -> Records:
        """Read the lines of a rank; none may be there yet, and the last may be cut short."""
        records = cls()
        path = records_path(folder, rank)
        if not os.path.exists(path):
            return records
        with open(path, encoding="utf-8") as file:
            for text in file:
                if text.endswith("\n"):
                    records._take(json.loads(text))
        return records

    def _take(self, line: dict[str, Any]) -> None:
        kind, batch = line.pop("kind"), line.pop("batch")
        if kind == "batch":
            self.batches.setdefault(batch, []).append(line)
        elif kind == "metrics":
            for name, value in line["values"].items():
                self.metrics.setdefault((batch, name), []).append(value)
        elif kind == "start":
            self.starts.append((batch, line["epoch"]))
            self._began = line["seconds"] if self._began is None else self._began
        else:
            self.is_complete = True
            self.seconds = line["seconds"] - (self._began or 0.0)

    def last_start_before(self, batch: int) -> tuple[int, int]:
        """Return where the life began that came to a batch first after being resumed."""
        return max((start for start in self.starts if start[0] < batch), default=(0, 0))


@dataclass(frozen=True, slots=True)
class Noise:
    """What differs between two runs that were not interrupted, and so proves nothing.

    Attributes:
        metrics: names, such as those that tell time.
        state: paths in the final state.
    """

    metrics: frozenset[str] = frozenset()
    state: frozenset[str] = frozenset()

    @classmethod
    def of_all(cls, several: Iterable[Noise]) -> Noise:
        """Return what differs on any rank."""
        each = list(several)
        metrics = frozenset[str]().union(*(noise.metrics for noise in each))
        return cls(metrics, frozenset[str]().union(*(noise.state for noise in each)))


def ranks_of(folder: str) -> list[int]:
    """Return the ranks that have written records."""
    names = (path.stem.removeprefix("records-rank") for path in Path(folder).glob("records-rank*"))
    return sorted(map(int, names))


def num_tensors(folder: str, rank: int) -> int:
    """Return how many tensors the state at the end of a run holds."""
    return sum(isinstance(leaf, torch.Tensor) for leaf in _final_state(folder, rank).values())


def noise_between(
    one: str, other: str, rank: int, ignored: Sequence[str]
) -> tuple[Noise, Difference | None]:
    """Compare two runs that were not interrupted.

    Args:
        one: folder of the first.
        other: folder of the second.
        rank: whose records.
        ignored: patterns of names of metrics that are noise by what they tell.

    Returns:
        What is to be left out of comparisons; and the first difference that cannot be left out,
        with which nothing can be proved.
    """
    left, right = Records.read(one, rank), Records.read(other, rank)
    names = {
        name
        for (batch, name), values in left.metrics.items()
        if right.metrics.get((batch, name)) != values
        or any(fnmatchcase(name, pattern) for pattern in ignored)
    }
    first = next(_in_batches(left, right, frozenset(names)), None)
    paths = frozenset(path for path, _ in _in_final_state(one, other, rank))
    fatal = next((path for path in sorted(paths) if path.startswith(_TRAINED)), None)
    if first is None and fatal is not None:
        first = Difference("final state", last_batch(left), fatal, (0, 0))
    return Noise(frozenset(names), paths), first


def differences(
    straight: str, interrupted: str, rank: int, noise: Noise, may_lose_metrics: bool
) -> Iterator[Difference]:
    """Yield in which a run that was interrupted differs from one that was not, first things first.

    Args:
        straight: folder of the run that was not.
        interrupted: folder of the one that was.
        rank: whose records.
        noise: what is left out.
        may_lose_metrics: whether values may be missing, as after SIGKILL, which leaves no time to
            deliver the last ones.
    """
    left, right = Records.read(straight, rank), Records.read(interrupted, rank)
    yield from _in_batches(left, right, noise.metrics, may_lose_metrics)
    start = max(right.starts, default=(0, 0))
    for path, how in _in_final_state(straight, interrupted, rank):
        if path not in noise.state:
            yield Difference("final state", last_batch(left), f"{path}: {how}", start)


def last_batch(records: Records) -> int:
    """Return the last batch of a run."""
    return max(records.batches, default=0)


def _in_batches(
    left: Records, right: Records, ignored: frozenset[str], may_lose_metrics: bool = False
) -> Iterator[Difference]:
    logged: dict[int, list[str]] = {}
    for batch, name in {**left.metrics, **right.metrics}:
        if name not in ignored:
            logged.setdefault(batch, []).append(name)
    for batch in sorted({*left.batches, *right.batches, *(batch + 1 for batch in logged)}):
        start = right.last_start_before(batch)
        facts = dict(_in_facts(left.batches.get(batch, []), right.batches.get(batch, [])))
        if "data" in facts:
            yield Difference("data", batch, facts.pop("data"), start)
        # A loss is logged with the number of batches before its own.
        names = logged.get(batch - 1, [])
        for detail in _in_metrics(left, right, batch - 1, names, may_lose_metrics):
            yield Difference("metrics", batch - 1, detail, start)
        for part, detail in facts.items():
            yield Difference(part, batch, detail, start)


def _in_facts(one: list[dict[str, Any]], others: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    if bool(one) != bool(others):
        yield "data", "trained in one of the runs only"
    elif one:
        # In the order in which one follows from the other.
        for part in ("data", "random", "weights", "optimizer"):
            different = [other[part] for other in others if other[part] != one[0][part]]
            if different:
                yield part, _which(one[0][part], different[0])


def _which(one: Any, other: Any) -> str:
    if not isinstance(one, Mapping):
        return ""
    return ", ".join(name for name in one if one[name] != other.get(name))


def _in_metrics(
    left: Records, right: Records, batch: int, names: list[str], may_lose: bool
) -> Iterator[str]:
    for name in sorted(names):
        one, other = left.metrics.get((batch, name)), right.metrics.get((batch, name))
        if one is None or other is None:
            if one is None or not may_lose:
                yield f"{name} was logged in one of the runs only"
        elif not set(other) <= set(one):
            lost = next(value for value in other if value not in one)
            yield f"{name}: {float.fromhex(one[-1])!r} and {float.fromhex(lost)!r}"


def _in_final_state(one: str, other: str, rank: int) -> Iterator[tuple[str, str]]:
    left, right = (_final_state(folder, rank) for folder in (one, other))
    for path in sorted({*left, *right}):
        if path.startswith(_NOT_COMPARED) or path.endswith(_CLOCKS):
            continue
        if path not in left or path not in right:
            yield path, "it is in one of the states only"
        elif digest(left[path]) != digest(right[path]):
            yield path, _shown(left[path], right[path])


def _shown(one: Any, other: Any) -> str:
    if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor):
        return f"{_short(one)} and {_short(other)}"
    if one.shape != other.shape or not one.is_floating_point():
        return f"tensors of shape {tuple(one.shape)} and {tuple(other.shape)}"
    return f"by up to {(one.double() - other.double()).abs().max().item():.3g}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _final_state(folder: str, rank: int) -> dict[str, Any]:
    path = final_state_path(folder, rank)
    return dict(flatten(monolith.read(path))) if os.path.exists(path) else {}
