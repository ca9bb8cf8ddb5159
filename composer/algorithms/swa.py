"""SWA: average the weights of the last part of training, and end with the average.

Paper: Izmailov, Podoprikhin, Garipov, Vetrov, Wilson, "Averaging Weights Leads to Wider Optima and
Better Generalization", 2018, arXiv:1803.05407.

Idea: late in training, at a learning rate that stays high enough, the weights wander around an
optimum. Their plain average over some moments lies nearer to its middle than any of them. Near the
end the average becomes the model, which trains on for the rest of the run.

When it helps: image classifiers with SGD and a constant or cyclic rate at the end; it costs one
more set of weights. When it hurts: schedules that decay to zero leave nothing to average; weights
that are averaged too early lag behind.

Suggested values: the defaults. ``swa_end='0.97dur'`` leaves time for running statistics of batch
norm to settle; they are averaged too, which is only near what the averaged weights would give.
``schedule_swa_lr=True`` with ``swa_lr`` about half of the initial rate keeps weights moving.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

from composer.algorithms._checks import (
    check_choice,
    check_flags,
    check_number,
    check_whole,
    read_time,
)
from composer.algorithms._weight_average import (
    UPDATE_EVENTS,
    WeightAverage,
    has_passed,
    read_interval,
)
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.core.units import Time, TimeUnit
from composer.errors import ConfigError
from composer.optim.learning_rates import set_rate
from composer.utils.warnings import NoEffectWarning

__all__ = ["SWA"]

_STRATEGIES = ("linear", "cos")


class SWA(WeightAverage):
    """Average weights between two moments of training, then train on from the average.

    Between the two, evaluation, checkpoints and exports use the average, as with any weight view;
    training does not. A later ``fit`` that makes the run longer averages again when it is due.

    Args:
        swa_start: when averaging begins, in ``dur`` or ``ep``.
        swa_end: when the average becomes the model, in ``dur`` or ``ep``.
        update_interval: time between two sets of weights that are averaged, in ``ba`` or ``ep``.
        schedule_swa_lr: whether learning rates are set while weights are averaged.
        anneal_strategy: ``'linear'`` or ``'cos'``: how they go to ``swa_lr``.
        anneal_steps: how many batches or epochs, as ``update_interval`` counts, that takes; >= 0.
        swa_lr: the rate they go to; the one they have when averaging begins if ``None``.

    Raises:
        ValueError: an argument is not allowed.

    Source:
        Izmailov et al. 2018, algorithm 1: ``average = (n * average + weights) / (n + 1)``.
    """

    def __init__(
        self,
        swa_start: str | Time[Any] = "0.7dur",
        swa_end: str | Time[Any] = "0.97dur",
        update_interval: str | Time[Any] = "1ep",
        schedule_swa_lr: bool = False,
        anneal_strategy: str = "linear",
        anneal_steps: int = 10,
        swa_lr: float | None = None,
    ) -> None:
        self.swa_start = _moment("swa_start", swa_start)
        self.swa_end = _moment("swa_end", swa_end)
        if self.swa_start.unit is self.swa_end.unit and self.swa_start >= self.swa_end:
            raise ConfigError(f"swa_start={swa_start!r} must be before swa_end={swa_end!r}")
        self.update_interval = read_interval("update_interval", update_interval)
        check_flags(schedule_swa_lr=schedule_swa_lr)
        check_choice("anneal_strategy", anneal_strategy, _STRATEGIES)
        check_whole("anneal_steps", anneal_steps, 0)
        if swa_lr is not None:
            check_number("swa_lr", swa_lr, 0)
        self.schedule_swa_lr = schedule_swa_lr
        self.anneal_strategy = anneal_strategy
        self.anneal_steps = anneal_steps
        self.swa_lr = swa_lr
        self.events: Mapping[Event, str] = {
            Event.INIT: "register",
            Event.AFTER_LOAD: "take_over",
            Event.FIT_START: "prepare",
            **(
                {Event.BATCH_END: "set_rates", Event.EPOCH_END: "set_rates"}
                if schedule_swa_lr
                else {}
            ),
            UPDATE_EVENTS[self.update_interval.unit]: "update",
        }
        super().__init__()

    def forget(self) -> None:
        """Leave an earlier run behind."""
        super().forget()
        self._start_over()

    def _start_over(self) -> None:
        self.give_up()
        # Batches or epochs since averaging began, and how many sets of weights are averaged.
        self._num_steps = 0
        self._num_averaged = 0
        self._is_done = False
        self._start_rates: list[float] | None = None

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values."""
        times = {
            "swa_start": str(self.swa_start),
            "swa_end": str(self.swa_end),
            "update_interval": str(self.update_interval),
        }
        return {**times, **super().arguments()}

    # Events.

    def prepare(self, state: State, logger: Logger) -> None:
        """Go on, or start over in a run that has become longer."""
        self.go_on(state, logger)
        if not has_passed(state, self.swa_start):
            self._start_over()
        self.set_rates(state, logger)

    def update(self, state: State, logger: Logger) -> None:
        """Add the weights to the average where that is due, and end where that is due."""
        self.check_not_shown()
        has_begun = self._num_steps > 0 or has_passed(state, self.swa_start)
        if self._is_done or not has_begun:
            return
        if has_passed(state, self.swa_end):
            self._finish(state)
            return
        if self._num_steps % self.update_interval.value == 0:
            self._add_weights(state)
        self._num_steps += 1
        self.set_rates(state, logger)

    def _add_weights(self, state: State) -> None:
        number = self._num_averaged
        if number == 0:
            self.begin(state.model)
        else:
            self.average(state.model, number / (number + 1))
        self._num_averaged += 1

    def _finish(self, state: State) -> None:
        self._is_done = True
        if self.is_ready:
            self.end(state.model)
            return
        warnings.warn(
            f"SWA averaged nothing: no {self.update_interval.unit.value!r} ended between "
            f"swa_start='{self.swa_start}' and swa_end='{self.swa_end}'; let it begin earlier or "
            "count update_interval in batches",
            NoEffectWarning,
            stacklevel=2,
        )

    def set_rates(self, state: State, logger: Logger) -> None:
        """Set the learning rates, after the schedules have, while weights are averaged."""
        is_averaging = self._num_steps > 0 and not self._is_done
        if not self.schedule_swa_lr or not is_averaging:
            return
        groups = [group for optimizer in state.optimizers for group in optimizer.param_groups]
        if self._start_rates is None:
            self._start_rates = [float(group["lr"]) for group in groups]
        share = self.annealed_share(self._num_steps)
        for group, start in zip(groups, self._start_rates, strict=True):
            target = start if self.swa_lr is None else self.swa_lr
            set_rate(group, start + share * (target - start))

    def annealed_share(self, num_steps: int) -> float:
        """Return how much of the way to ``swa_lr`` is done, in [0, 1].

        Args:
            num_steps: batches or epochs since averaging began.
        """
        share = min(1.0, num_steps / self.anneal_steps) if self.anneal_steps else 1.0
        return (1 - math.cos(math.pi * share)) / 2 if self.anneal_strategy == "cos" else share

    # Checkpoints.

    def state_dict(self) -> dict[str, Any]:
        """Return the weights that the model does not hold at this moment, and the counts."""
        return {
            **super().state_dict(),
            "num_steps": self._num_steps,
            "num_averaged": self._num_averaged,
            "is_done": self._is_done,
            "start_rates": self._start_rates,
        }

    def load_state_dict(self, state: dict[str, Any], strict: bool = False) -> None:
        """Go on from what :meth:`state_dict` returned; see the base class."""
        super().load_state_dict(state, strict)
        self._num_steps = int(state.get("num_steps", 0))
        self._num_averaged = int(state.get("num_averaged", 0))
        self._is_done = bool(state.get("is_done", False))
        self._start_rates = state.get("start_rates")


def _moment(name: str, given: str | Time[Any]) -> Time[Any]:
    time = read_time(name, given, (TimeUnit.DURATION, TimeUnit.EPOCH))
    if time.unit is TimeUnit.DURATION:
        check_number(name, time.value, 0, 1)
    return time
