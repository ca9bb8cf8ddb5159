"""Runs an ablation: every arm with every seed, one run after the other.

Seeds are the outer loop, so that a machine that slows down on the way does so for every arm alike,
and so that an ablation that is stopped early has whole pairs. A run that is complete is on disk
before the next begins; started again, an ablation goes on with the first run it has not.
"""

from __future__ import annotations

import gc
import logging
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from composer.ablation.arms import DESIGNS, Arm, Method, make_arms, name_methods
from composer.ablation.checks import FreshWeights, check_metric, check_switched_on
from composer.ablation.estimate import estimate
from composer.ablation.plot import draw
from composer.ablation.records import CLOCKS, Record, Recorder, read_record, write_record
from composer.ablation.report import Report, count
from composer.ablation.statistics import FEW
from composer.core.units import Time, TimeUnit
from composer.errors import ArgumentTypeError, ConfigError, unknown_name
from composer.trainer.trainer import Trainer

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["Ablation", "MakeTrainer", "ablate"]

log = logging.getLogger(__name__)

MakeTrainer = Callable[[int, Arm], Trainer]
"""Makes the Trainer of one run from its seed and its arm."""


class Ablation:
    """An ablation that can be run, stopped and gone on with.

    Args:
        make_trainer: makes the Trainer of one run. It is given the seed and the arm: it hands
            ``arm.algorithms`` to the Trainer, seeds everything by the seed, and where a method is
            only a name, looks whether it is on: ``"muon" in arm``.
        methods: what is switched on and off: algorithms, classes or functions that make one, or
            names; a mapping gives them names of their own.
        metric: name of the evaluation metric that counts.
        label: the evaluator it belongs to; ``None`` where there is only one.
        seeds: how many, or which. Five or more, for an interval that means something.
        budget: how long each run trains: seconds (``'30s'``, ``'10m'``), or a duration such as
            ``'10ep'``, which must be the Trainer's own; ``None`` takes what the Trainer says.
        target: value of the metric to be reached, for the time to it.
        stop_at_target: whether a run ends there.
        greater_is_better: which way the metric improves; by default down where its name has
            ``loss``, ``error`` or ``perplexity`` in it, or ``entropy``.
        designs: which arms: ``'off'``, ``'each'``, ``'all'``, ``'all but one'``.
        clock: ``'wall'``, or ``'cpu'`` on a machine that does other work too (not for GPUs).
        folder: where records, report and plot are kept.
        group: name of the ablation; the folder's by default.
        say: is told what happens, in lines; ``None`` for silence.

    Raises:
        ValueError: an argument that cannot work.
    """

    def __init__(
        self,
        make_trainer: MakeTrainer,
        methods: Mapping[str, Method] | Sequence[Method],
        *,
        metric: str,
        label: str | None = None,
        seeds: int | Sequence[int] = 5,
        budget: str | Time[Any] | None = None,
        target: float | None = None,
        stop_at_target: bool = False,
        greater_is_better: bool | None = None,
        designs: Sequence[str] = DESIGNS,
        clock: str = "wall",
        folder: str | PathLike[str] = "ablation",
        group: str | None = None,
        say: Callable[[str], None] | None = print,
    ) -> None:
        if not callable(make_trainer):
            raise ArgumentTypeError(
                f"make_trainer={make_trainer!r} must be a function of a seed and an arm that "
                "returns a Trainer"
            )
        if clock not in CLOCKS:
            raise unknown_name("clock", clock, CLOCKS)
        if stop_at_target and target is None:
            raise ConfigError("stop_at_target=True needs a target")
        self.folder = Path(folder)
        self.seeds = _check_seeds(seeds)
        self.arms = make_arms(name_methods(methods), designs, group or self.folder.resolve().name)
        self._make_trainer = make_trainer
        self._metric, self._label, self._clock = metric, label, clock
        self._target, self._stops = target, stop_at_target
        self._greater = (
            _improves_upwards(metric) if greater_is_better is None else greater_is_better
        )
        self._budget = None if budget is None else _check_budget(budget)
        self._say = say or (lambda text: None)
        # The Trainer on which the time was measured: everything was put back, so it is used.
        self._first: Trainer | None = None
        self._weights = FreshWeights()

    def run(self) -> Report:
        """Make the runs that are missing, then report.

        Returns:
            The report, which also lies in the folder as ``report.json`` and ``report.png``.

        Raises:
            ValueError: runs would end at different budgets, or the folder has runs made under
                other conditions.
        """
        records = self._read_all()
        missing = [
            (seed, arm)
            for seed in self.seeds
            for arm in self.arms
            if (arm.name, seed) not in records
        ]
        self._announce(len(records), missing)
        started = time.perf_counter()
        for done, (seed, arm) in enumerate(missing, start=1):
            record = self._run_one(seed, arm)
            write_record(record, self._path(arm, seed))
            records[arm.name, seed] = record
            left = (time.perf_counter() - started) / done * (len(missing) - done)
            rest = f"; {_long(left)} left" if left else ""
            self._say(f"{arm.name}, seed {seed}: {_outcome(record)}{rest}")
        report = self._report([records[arm.name, seed] for seed in self.seeds for arm in self.arms])
        report.save(self.folder / "report.json")
        draw(report, self.folder / "report.png")
        self._say(f"\n{report}\n\n{self.folder / 'report.json'}, {self.folder / 'report.png'}")
        return report

    # One run.

    def _run_one(self, seed: int, arm: Arm) -> Record:
        trainer, self._first = self._first or self._trainer(seed, arm), None
        record = Record(arm.name, seed, self._conditions(arm))
        try:
            self._train(trainer, arm, record)
        except (ConfigError, ArgumentTypeError):
            raise
        except Exception as error:
            # One run that fails, perhaps because it diverged, must not end the others.
            log.exception("%s, seed %s failed", arm.name, seed)
            record.error = f"{type(error).__name__}: {error}"
        finally:
            trainer.close()
            del trainer
            gc.collect()
        return record

    def _train(self, trainer: Trainer, arm: Arm, record: Record) -> None:
        recorder = Recorder(
            record,
            self._metric,
            label=self._label,
            clock=self._clock,
            budget_s=self._budget_s,
            target=self._target if self._stops else None,
            greater_is_better=self._greater,
        )
        trainer.state.callbacks = [*trainer.state.callbacks, recorder]
        trainer.logger.log_hyperparameters(
            {
                "ablation/group": arm.group,
                "ablation/arm": arm.name,
                "ablation/seed": record.seed,
                "ablation/metric": self._metric,
            }
        )
        own_duration = trainer.state.max_duration is not None
        trainer.fit(duration=None if own_duration else str(self._budget))
        if not record.ended:
            record.ended = "budget" if self._budget_s is None else "max_duration"
        if not record.points or record.points[-1].batch != trainer.state.timestamp.batch.value:
            trainer.eval()

    def _trainer(self, seed: int, arm: Arm) -> Trainer:
        trainer = self._make_trainer(seed, arm)
        if not isinstance(trainer, Trainer):
            raise ArgumentTypeError(f"make_trainer must return a Trainer, got {trainer!r}")
        try:
            check_switched_on(trainer, arm)
            check_metric(trainer, self._metric, self._label)
            self._weights.check(trainer)
            self._check_budget_of(trainer, arm)
        except ConfigError:
            trainer.close()
            raise
        return trainer

    def _check_budget_of(self, trainer: Trainer, arm: Arm) -> None:
        own = trainer.state.max_duration
        if self._budget is None:
            if own is None:
                raise ConfigError("no budget: give budget, or max_duration to the Trainer")
            self._budget = own
        if self._budget_s is None and own is not None and str(own) != str(self._budget):
            raise ConfigError(
                f"{arm.name} trains for {str(own)!r} and the budget is {str(self._budget)!r}: runs "
                "that end at different budgets cannot be compared. Give every Trainer the same "
                "max_duration, or a budget of time"
            )
        if self._budget_s is not None and own is None:
            raise ConfigError(
                f"with a budget of {self._budget_s:g} s the Trainer needs a max_duration that is "
                "longer, because learning rate schedules refer to it"
            )

    # Before and after.

    @property
    def _budget_s(self) -> float | None:
        is_time = self._budget is not None and self._budget.unit is TimeUnit.SECOND
        return float(self._budget.value) if is_time and self._budget is not None else None

    def _conditions(self, arm: Arm) -> dict[str, Any]:
        return {
            "budget": None if self._budget is None else str(self._budget),
            "metric": self._metric,
            "label": self._label,
            "clock": self._clock,
            "stops_at": self._target if self._stops else None,
            "methods": arm.methods,
        }

    def _path(self, arm: Arm, seed: int) -> Path:
        name = re.sub(r"[^A-Za-z0-9.+-]+", "_", arm.name.replace(" ", ""))
        return self.folder / "runs" / f"{name}-seed{seed}.json"

    def _read_all(self) -> dict[tuple[str, int], Record]:
        """Return the runs that are complete already."""
        found: dict[tuple[str, int], Record] = {}
        for arm in self.arms:
            for seed in self.seeds:
                path = self._path(arm, seed)
                if not path.exists():
                    continue
                conditions = self._conditions(arm)
                if self._budget is None:
                    del conditions["budget"]
                found[arm.name, seed] = record = read_record(path, conditions)
                # Where the Trainers say how long, the runs there are have said so already.
                self._budget = _check_budget(record.conditions["budget"])
        return found

    def _announce(self, num_done: int, missing: Sequence[tuple[int, Arm]]) -> None:
        total = num_done + len(missing)
        what = f"{len(self.arms)} arms x {count(len(self.seeds), 'seed')} = {total} runs"
        done = f", {num_done} of them done" if num_done else ""
        if len(self.seeds) < FEW:
            self._say(
                f"note: with {count(len(self.seeds), 'seed')} an interval means little; use {FEW}"
            )
        if not missing:
            self._say(f"{what}, all read from {self.folder}; remove it to make them anew")
            return
        self._say(f"{what}{done}; measuring how long one takes")
        self._first = self._trainer(*missing[0])
        seconds = estimate(self._first, self._budget_s)
        if seconds is not None:
            self._say(f"about {_long(seconds)} a run, {_long(seconds * len(missing))} in all")

    def _report(self, records: Sequence[Record]) -> Report:
        return Report(
            self.arms,
            records,
            metric=self._metric,
            greater_is_better=self._greater,
            target=self._target,
            conditions={**self._conditions(self.arms[0]), "methods": None},
        )


def ablate(
    make_trainer: MakeTrainer, methods: Mapping[str, Method] | Sequence[Method], **arguments: Any
) -> Report:
    """Say which methods help: run an :class:`Ablation` with these arguments and report."""
    return Ablation(make_trainer, methods, **arguments).run()


def _check_seeds(seeds: int | Sequence[int]) -> list[int]:
    found = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not found or len(set(found)) != len(found):
        raise ConfigError(f"seeds={seeds!r} must be how many (at least 1), or different seeds")
    return found


def _check_budget(budget: str | Time[Any]) -> Time[Any]:
    parsed = Time.from_input(budget)
    if parsed.unit is TimeUnit.DURATION or parsed.value <= 0:
        raise ConfigError(
            f"budget={budget!r} must be a time such as '30s' or '10m', or a duration such as "
            "'10ep' or '500ba'"
        )
    return parsed


def _improves_upwards(metric: str) -> bool:
    return not any(word in metric.lower() for word in ("loss", "error", "perplexity", "entropy"))


def _outcome(record: Record) -> str:
    if record.error:
        return f"failed ({record.error})"
    return f"{record.final:.4g} after {record.batches} batches in {record.seconds:.1f} s"


def _long(seconds: float) -> str:
    if seconds < 10:
        return f"{max(seconds, 0.1):.1f} s"
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest if not hours else 0, "s")]
    return " ".join(f"{value} {unit}" for value, unit in parts if value)
