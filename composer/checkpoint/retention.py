"""How long checkpoints are kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from composer.checkpoint.manifest import Record
from composer.core.units import Time, TimeInput, TimeUnit
from composer.errors import ConfigError

__all__ = ["Retention"]

_COUNTERS = {
    TimeUnit.ITERATION: "iteration",
    TimeUnit.EPOCH: "epoch",
    TimeUnit.BATCH: "batch",
    TimeUnit.SAMPLE: "sample",
    TimeUnit.TOKEN: "token",
}


@dataclass(frozen=True, slots=True)
class Retention:
    """Which checkpoints are kept; what no rule keeps is deleted once a newer one is safe.

    A checkpoint is kept if it is among the last, among the best, or the first one at or after a
    multiple of ``every``, or if it is pinned. The decision is made from the manifests in the
    folder, so it is the same for a run that was interrupted and resumed.

    Args:
        last: how many of the newest; -1 for all. Resumption needs one.
        best: how many of the best by ``metric``.
        metric: what they are judged by, as it is logged: ``'metrics/eval/MulticlassAccuracy'`` or
            ``'loss/train/total'``. A value of an evaluation counts for a checkpoint if both
            happened at the same batch.
        mode: whether ``'max'`` or ``'min'`` of it is best.
        every: keep one for ever at each multiple of this, e.g. ``'10ep'`` or ``'1000ba'``.

    Raises:
        ValueError: numbers below 0 (-1 for ``last``), ``best`` without a metric, an unknown mode,
            or an ``every`` that is no whole positive number of epochs, batches, samples or tokens.

    Example:
        >>> Retention(last=2, best=1, metric="metrics/eval/MulticlassAccuracy", mode="max").best
        1
    """

    last: int = 1
    best: int = 0
    metric: str | None = None
    mode: Literal["min", "max"] = "min"
    every: TimeInput | None = None

    def __post_init__(self) -> None:
        if self.last < -1:
            raise ConfigError(f"last={self.last!r} must be -1 (all), 0, or a positive number")
        if self.best < 0:
            raise ConfigError(f"best={self.best!r} must be at least 0")
        if (self.best > 0) != (self.metric is not None):
            raise ConfigError(
                f"best={self.best!r} and metric={self.metric!r} belong together: give both or none"
            )
        if self.mode not in ("min", "max"):
            raise ConfigError(f"mode={self.mode!r} must be 'min' or 'max'")
        if self.every is not None:
            self._step()

    def outdated(self, records: Sequence[Record]) -> list[Record]:
        """Return what is to be deleted.

        Args:
            records: the checkpoints of one series, the newest last.
        """
        if self.last < 0:
            return []
        kept = {record.name for record in records[max(0, len(records) - self.last) :]}
        kept.update(record.name for record in records if record.pinned)
        kept.update(record.name for record in self._best_of(records))
        kept.update(record.name for record in self._milestones_of(records))
        return [record for record in records if record.name not in kept]

    def _best_of(self, records: Iterable[Record]) -> list[Record]:
        if self.metric is None:
            return []
        sign = 1 if self.mode == "min" else -1
        judged = [
            (sign * record.metrics[self.metric], record.sequence, record)
            for record in records
            if math.isfinite(record.metrics.get(self.metric, math.nan))
        ]
        # Of equals the older one is kept, so that a plateau does not rewrite the best for ever.
        return [record for *_, record in sorted(judged, key=lambda each: each[:2])[: self.best]]

    def _milestones_of(self, records: Iterable[Record]) -> Iterable[Record]:
        if self.every is None:
            return
        counter, step = self._step()
        reached = 0
        for record in records:
            multiple = int(record.timestamp.get(counter, 0)) // step
            if multiple > reached:
                reached = multiple
                yield record

    def _step(self) -> tuple[str, int]:
        time: Time[Any] = Time.from_input(self.every or 0, TimeUnit.EPOCH)
        counter = _COUNTERS.get(time.unit)
        if counter is None or time.value < 1 or time.value != int(time.value):
            raise ConfigError(
                f"every={self.every!r} must be a whole number of epochs ('ep'), batches ('ba'), "
                "samples ('sp'), tokens ('tok') or iterations ('iter')"
            )
        return counter, int(time.value)
