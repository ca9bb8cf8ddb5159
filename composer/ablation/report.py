"""What an ablation found: a row for each arm, in words, as JSON and as a table."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from composer.ablation.arms import ALL, OFF, Arm
from composer.ablation.records import Record
from composer.ablation.statistics import FEW, Comparison, compare, holm
from composer.utils.atomic import write_text
from composer.utils.text_table import format_table

__all__ = ["SURE", "Report", "Row", "count"]

FORMAT = 1
"""Version of the JSON form."""

SURE = 0.05
"""A corrected p-value below it shows a gain or a loss, as a 95 % interval would."""


@dataclass(frozen=True, slots=True)
class Row:
    """One arm.

    Attributes:
        arm: its name.
        methods: name -> what it stands for, of the methods that are on.
        against: the arm it is compared with: ``'off'``, or ``'all'`` for those that lack a method.
        finals: the metric at the end, seed by seed; NaN where a run failed.
        gain: difference of the finals, seed by seed; above 0 is better whatever the metric.
        p_holm: the gain's p-value, corrected for the number of arms.
        seconds: time of training, seed by seed.
        step_cost: how a step's cost compares, as a ratio: mean over seeds.
        to_target: seconds until the target was reached, seed by seed; NaN where it never was.
        speedup: how many times sooner than the other arm, over the seeds where both reached it:
            ratio of the sums.
    """

    arm: str
    methods: dict[str, str]
    against: str
    finals: list[float]
    gain: Comparison
    p_holm: float
    seconds: list[float]
    step_cost: float
    to_target: list[float]
    speedup: float

    @property
    def final(self) -> float:
        """Mean of the finals, over the runs that did not fail."""
        return _mean(self.finals)


class Report:
    """The result of an ablation. Its text is a table.

    Args:
        arms: the arms, ``off`` first.
        records: the runs, any number of them; pairs that are not complete are left out.
        metric: name of the metric.
        greater_is_better: which way it improves.
        target: value to be reached; ``None`` for none.
        conditions: budget, clock and so on, for the record.

    Attributes:
        rows: one for each arm.
        warnings: what keeps the numbers from meaning what they seem to, in sentences.
    """

    def __init__(
        self,
        arms: Sequence[Arm],
        records: Sequence[Record],
        *,
        metric: str,
        greater_is_better: bool,
        target: float | None,
        conditions: dict[str, Any],
    ) -> None:
        self.metric, self.target, self.conditions = metric, target, conditions
        self.greater_is_better = greater_is_better
        self.records = list(records)
        self.group = arms[0].group
        self._by_arm = {
            arm.name: {record.seed: record for record in records if record.arm == arm.name}
            for arm in arms
        }
        self.seeds = sorted({record.seed for record in records})
        rows = [self._row(arm) for arm in arms]
        corrected = holm([math.nan if row.arm == row.against else row.gain.p for row in rows])
        self.rows = [
            dataclasses.replace(row, p_holm=p) for row, p in zip(rows, corrected, strict=True)
        ]
        self.warnings = list(self._find_warnings())

    def _row(self, arm: Arm) -> Row:
        against = ALL if arm.name.startswith(f"{ALL} - ") and ALL in self._by_arm else OFF
        own, other = (
            [self._by_arm[name].get(seed) for seed in self.seeds] for name in (arm.name, against)
        )
        sign = 1.0 if self.greater_is_better else -1.0
        times, other_times = self._times_to_target(own), self._times_to_target(other)
        both = [
            (a, b)
            for a, b in zip(times, other_times, strict=True)
            if math.isfinite(a) and math.isfinite(b)
        ]
        return Row(
            arm=arm.name,
            methods=arm.methods,
            against=against,
            finals=_finals(own),
            gain=compare([sign * v for v in _finals(own)], [sign * v for v in _finals(other)]),
            p_holm=math.nan,
            seconds=[math.nan if each is None else each.seconds for each in own],
            step_cost=_mean(
                [
                    a.seconds_per_batch / b.seconds_per_batch
                    for a, b in zip(own, other, strict=True)
                    if a is not None and b is not None and a.batches and b.batches
                ]
            ),
            to_target=times,
            speedup=sum(b for _, b in both) / sum(a for a, _ in both) if both else math.nan,
        )

    def _times_to_target(self, records: Sequence[Record | None]) -> list[float]:
        if self.target is None:
            return [math.nan] * len(records)
        points = [
            None if each is None else each.reached(self.target, self.greater_is_better)
            for each in records
        ]
        return [math.nan if point is None else point.seconds for point in points]

    def _find_warnings(self) -> Any:
        n = len(self.seeds)
        if n == 1:
            yield "one seed: nothing can be said about chance, and no interval exists"
        elif n < FEW:
            yield (
                f"{n} seeds: an interval over so few pairs means little (with {FEW} it begins to); "
                "treat every difference as a hint"
            )
        yield from self._failures()
        yield from self._arms_without_effect()
        short = [r for r in self.records if r.ended == "max_duration" and not r.error]
        if short:
            yield (
                f"{len(short)} of {len(self.records)} runs ended at their max_duration before the "
                f"budget of {self.conditions.get('budget')}; give the Trainer a longer one"
            )
        missing = sum(len(self.seeds) - len(found) for found in self._by_arm.values())
        if missing:
            yield f"{missing} runs are still to be made; call it again to go on"

    def _failures(self) -> Iterator[str]:
        seeds: dict[tuple[str, str], list[str]] = {}
        for record in self.records:
            if record.error:
                seeds.setdefault((record.arm, record.error), []).append(str(record.seed))
        for (arm, error), failed in seeds.items():
            yield (
                f"{arm} failed with seed {', '.join(failed)} and is left out there: {error}. "
                "Remove the records from runs/ to try again"
            )

    def _arms_without_effect(self) -> Iterator[str]:
        arms = [row.arm for row in self.rows if self._is_without_effect(row)]
        if arms:
            yield (
                f"no effect of {', '.join(arms)}: every evaluation gave the value of the arm it is "
                "compared with. Such a method changes speed or memory alone, or could not act on "
                "the model, or is only a name, which does nothing unless make_trainer looks for it "
                "in the arm"
            )

    def _is_without_effect(self, row: Row) -> bool:
        if row.arm == row.against:
            return False
        own, other = self._by_arm[row.arm], self._by_arm[row.against]
        pairs = [(own[seed], other[seed]) for seed in own.keys() & other.keys()]
        complete = [pair for pair in pairs if not any(record.error for record in pair)]
        return bool(complete) and all(_values(a) == _values(b) for a, b in complete)

    def _verdict(self, row: Row) -> str:
        """Whether the arm is better than what it is compared with, in a word or two."""
        if self._is_without_effect(row):
            return "no effect"
        if math.isnan(row.p_holm) or row.p_holm >= SURE:
            return "not shown"
        return "yes" if row.gain.mean > 0 else "no, worse"

    def __str__(self) -> str:
        better = "higher" if self.greater_is_better else "lower"
        lines = [
            f"{self.metric} ({better} is better), budget {self.conditions.get('budget')}, "
            f"{count(len(self.seeds), 'seed')}; gain and its 95 % interval are paired by seed",
            "",
        ]
        header = ("arm", "final", "gain", "95 % interval", "p", "better?", "step cost")
        if self.target is not None:
            header = (*header, f"reached {self.target:g}", "seconds to it", "times as fast")
        lines += format_table([header, *(self._cells(row) for row in self.rows)])
        lines += ["", *(f"note: {text}" for text in self.warnings)] if self.warnings else []
        return "\n".join(lines)

    def _cells(self, row: Row) -> tuple[str, ...]:
        is_base = row.arm == row.against
        gain = row.gain
        no_interval = is_base or math.isnan(gain.low)
        cells = (
            row.arm,
            _cell(row.final, ".4g"),
            "-" if is_base or not gain.n else f"{gain.mean:+.3g} on {row.against}",
            "-" if no_interval else f"{gain.low:+.3g} .. {gain.high:+.3g}",
            _cell(row.p_holm, ".2g"),
            "-" if is_base or not gain.n else self._verdict(row),
            _cell(row.step_cost, ".2f", "x"),
        )
        if self.target is None:
            return cells
        times = [seconds for seconds in row.to_target if math.isfinite(seconds)]
        return (
            *cells,
            f"{len(times)} of {len(row.to_target)}",
            _cell(_mean(times), ".3g"),
            "-" if is_base else _cell(row.speedup, ".2f"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values: conditions, rows, runs; not-a-number is ``null``."""
        rows = [dataclasses.asdict(row) | {"final": row.final} for row in self.rows]
        return _without_nan(
            {
                "format": FORMAT,
                "group": self.group,
                "metric": self.metric,
                "greater_is_better": self.greater_is_better,
                "target": self.target,
                "conditions": self.conditions,
                "seeds": self.seeds,
                "rows": rows,
                "runs": [dataclasses.asdict(record) for record in self.records],
                "warnings": self.warnings,
            }
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON."""
        write_text(Path(path), json.dumps(self.to_dict(), indent=1))


def count(number: int, noun: str) -> str:
    """Return a number with its noun, such as ``'1 seed'`` or ``'5 seeds'``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _cell(value: float, form: str, unit: str = "") -> str:
    return "-" if math.isnan(value) else f"{value:{form}}{unit}"


def _values(record: Record) -> list[float]:
    return [point.value for point in record.points]


def _finals(records: Sequence[Record | None]) -> list[float]:
    return [math.nan if record is None else record.final for record in records]


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return statistics.fmean(finite) if finite else math.nan


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
