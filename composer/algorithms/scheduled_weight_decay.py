"""Scheduled weight decay: let the decay rise or fall in the course of a run.

Papers: Xie, Xu, Zhang, Sato, Sugiyama, "On the Overlooked Pitfalls of Weight Decay and How to
Mitigate Them: A Gradient-Norm Perspective", 2023, arXiv:2011.11152; Caron, Touvron, Misra, Jegou,
Mairal, Bojanowski, Joulin, "Emerging Properties in Self-Supervised Vision Transformers", 2021,
arXiv:2104.14294.

Idea: how much decay does good changes while training goes on. The decay of each group of parameters
follows a schedule, as the learning rate does: what the optimizer was given, times the schedule's
multiplier. The papers do not agree on the direction: the first shows that much decay late, when
gradients are small, keeps them from getting smaller; the second begins with little and ends with
ten times as much.

When it helps: long self-supervised training of vision transformers, in which the second paper and
its successors let decay rise along a cosine; optimizers whose decay does not fall with the learning
rate. When it hurts: where decay falls twice. torch's AdamW, Muon and Schedule-Free multiply it by
the learning rate, whose schedule thus counts too; so do `DecoupledAdamW` and `DecoupledSGDW`,
unless they are made with ``decay_follows='nothing'``. In short runs it is one more number to tune.

Suggested values: a rise from 0.04 to 0.4 over the run, as in the second paper:
``CosineAnnealingScheduler(alpha_f=10)`` with an AdamW of ``weight_decay=0.04``; a fall to nothing:
``LinearScheduler()``. `DecoupledAdamW` with ``decay_follows='gradient'`` is the first paper's own
schedule, by the size of gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

from composer.algorithms._checks import check_number
from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError
from composer.optim.learning_rates import set_number
from composer.optim.schedule import Schedule
from composer.optim.scheduler import read_schedule

__all__ = ["ScheduledWeightDecay"]

Group = dict[str, Any]


class ScheduledWeightDecay(Algorithm):
    """Multiply the weight decay of all groups of parameters by a schedule.

    A group has its scheduled decay while a batch is trained, and what it was given at all other
    times: so checkpoints hold the decay that was given, and a run can go on with the method, with
    another schedule, or without it. Groups without decay stay without. A decay that is a tensor
    keeps being the same tensor; one that is a number is fixed in a step captured as a CUDA graph.

    Times of a schedule in ``'dur'`` stretch with the run; a ``scale_schedule_ratio`` does not
    stretch others.

    Logs ``weight_decay-<optimizer>/group<i>``: the decay each group that has one trains a batch
    with.

    Args:
        schedule: gives the multiplier, at least 0: a schedule of `composer.optim`, any function of
            the state, or as JSON the name of such a schedule with its arguments,
            ``{'CosineAnnealingScheduler': {'alpha_f': 10.0}}``.

    Raises:
        TypeError: ``schedule`` is none.
        ValueError: it is not known, or a multiplier is out of range; when the run is set up, no
            group of the optimizers has a weight decay.

    Source:
        Caron et al. 2021, section 3.2 (a cosine from 0.04 to 0.4).
    """

    events: Mapping[Event, str] = {
        Event.INIT: "check",
        Event.FIT_START: "try_out",
        Event.BATCH_START: "set_decay",
        Event.BATCH_END: "put_back",
    }
    writes = ("optimizers",)

    def __init__(self, schedule: Callable[[State], float] | Mapping[str, Any]) -> None:
        self.schedule = read_schedule("schedule", schedule)
        self._given: list[tuple[Group, float | Tensor]] = []

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values; a function is none."""
        schedule = self.schedule
        if not isinstance(schedule, Schedule):
            return {}
        return {"schedule": {type(schedule).__name__: schedule.arguments()}}

    def __getstate__(self) -> dict[str, Any]:
        # A copy belongs to another run.
        return {**self.__dict__, "_given": []}

    def check(self, state: State, logger: Logger) -> None:
        """Refuse optimizers that do not decay.

        Raises:
            ValueError: none of them does.
        """
        if next(_decaying_groups(state), None) is None:
            kinds = [type(each).__name__ for each in state.optimizers]
            raise ConfigError(
                "ScheduledWeightDecay multiplies the weight decay of groups of parameters, and no "
                f"group of {kinds} has one: make an optimizer with weight_decay=..., of a class "
                "that takes it, or leave the method out"
            )

    def try_out(self, state: State, logger: Logger) -> None:
        """Find out before the first batch whether the schedule fits the run."""
        self._multiplier(state)

    def _multiplier(self, state: State) -> float:
        multiplier = self.schedule(state)
        check_number("a multiplier of schedule", multiplier, 0)
        return multiplier

    def set_decay(self, state: State, logger: Logger) -> None:
        """Let the batch be trained with the decay that is due."""
        # A batch before that ended in an error has put nothing back.
        self.put_back(state, logger)
        multiplier, decays = self._multiplier(state), dict[str, float | Tensor]()
        for name, group in _decaying_groups(state):
            given = group["weight_decay"]
            # A tensor is changed in place, so what is kept is a copy.
            self._given.append((group, given.clone() if isinstance(given, Tensor) else given))
            set_number(group, "weight_decay", given * multiplier)
            decays[name] = group["weight_decay"]
        logger.log_metrics(decays)

    def put_back(self, state: State, logger: Logger) -> None:
        """Give groups the decay back that they were made with."""
        for group, given in self._given:
            set_number(group, "weight_decay", given)
        self._given = []


def _decaying_groups(state: State) -> Iterator[tuple[str, Group]]:
    """Return the groups that decay, under the names they are logged with."""
    for name, optimizer in state.named_optimizers.items():
        for index, group in enumerate(optimizer.param_groups):
            # A tensor is not read, which would wait for its device.
            decay = group.get("weight_decay", 0)
            if isinstance(decay, Tensor) or decay:
                yield f"weight_decay-{name}/group{index}", group
