"""Batch size schedule: small batches early, large ones late.

Paper: Smith, Kindermans, Ying, Le, "Don't Decay the Learning Rate, Increase the Batch Size", 2018,
arXiv:1711.00489; McCandlish, Kaplan, Amodei, "An Empirical Model of Large-Batch Training", 2018,
arXiv:1812.06162; Merrill, Arora, Groeneveld, Hajishirzi, "Critical Batch Size Revisited", 2025,
arXiv:2505.23971.

Idea: how many samples a step can use well grows while training goes on. Early, when gradients point
the same way for all samples, a large batch wastes most of them; late, when they differ, it averages
their noise away, as a smaller learning rate would. So each batch of the loader is cut into several
steps at first and into fewer later, and from the last milestone on it is one step.

When it helps: runs with large batches, as on many devices, where the same number of samples then
gives more steps early; in place of a learning rate that decays in steps. When it hurts: batches
that are small from the start; where a step costs more than its samples do, small batches are slower
(a device that is not filled, an optimizer that costs much).

Suggested values: ``milestones=["0.1dur", "0.3dur"]`` and a loader of the largest batch, which the
learning rate is meant for; ``lr_scaling="sqrt"`` for Adam and Muon, ``"linear"`` for SGD. To
replace a learning rate that drops by a factor of 4 twice, take its milestones, ``factor=4``, a rate
that does not drop, and ``lr_scaling=None``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from composer.algorithms._checks import check_choice, check_whole, read_time
from composer.algorithms._run_length import share_done
from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.core.units import Time, TimeUnit
from composer.errors import ConfigError
from composer.optim.learning_rates import set_rate

__all__ = ["BatchSizeSchedule", "lr_factor"]

_UNITS = (TimeUnit.DURATION, TimeUnit.EPOCH, TimeUnit.BATCH, TimeUnit.SAMPLE, TimeUnit.TOKEN)
_EXPONENTS = {"sqrt": 0.5, "linear": 1.0}


def lr_factor(num_steps: int, lr_scaling: str | None = "sqrt") -> float:
    """Return what the learning rate of a whole batch is multiplied by for a part of it.

    Args:
        num_steps: how many steps a batch is cut into, >= 1.
        lr_scaling: ``'sqrt'`` keeps the noise of Adam's steps over a number of samples the same,
            ``'linear'`` that of plain SGD; ``None`` leaves the rate as it is.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> lr_factor(4), lr_factor(4, "linear"), lr_factor(4, None)
        (0.5, 0.25, 1.0)

    Source:
        Malladi et al., On the SDEs and Scaling Rules for Adaptive Gradient Algorithms, 2022,
        arXiv:2205.10287 (square root); Goyal et al., 2017, arXiv:1706.02677 (linear).
    """
    check_whole("num_steps", num_steps, 1)
    if lr_scaling is None:
        return 1.0
    check_choice("lr_scaling", lr_scaling, _EXPONENTS)
    return float(num_steps ** -_EXPONENTS[lr_scaling])


class BatchSizeSchedule(Algorithm):
    """Cut the loader's batches into several steps, fewer after each milestone.

    The loader gives batches of the largest size and is never rebuilt. Before the first milestone a
    batch is cut into ``factor ** len(milestones)`` parts, each of which is a step of the optimizer
    with gradients of its own; after each milestone into ``factor`` times fewer; after the last one
    it is a step as it is. With several ranks each cuts its own batch, and all step together.

    Time counts as ever: a batch is one of the loader's, with all its samples and tokens, however
    many steps it makes. So schedules of the learning rate, evaluation and checkpoints stay where
    they are in the data, and a run is resumed between two of the loader's batches. Training metrics
    are those of a batch's last step; the loss is the mean over its steps.

    What it does to the learning rate: schedules give the rate for the loader's batch; a part is
    trained at that rate times :func:`lr_factor`, while the optimizer steps and at no other time.

    Logs ``batch_size_schedule/steps_per_batch`` and ``batch_size_schedule/lr_factor``.

    Args:
        milestones: times at which the batch grows, in ``'dur'``, ``'ep'``, ``'ba'``, ``'sp'`` or
            ``'tok'``, from early to late. Those in ``'dur'`` stretch with the run.
        factor: by how much it grows at each, a whole number >= 2.
        lr_scaling: ``'sqrt'``, ``'linear'`` or ``None``; see :func:`lr_factor`.

    Raises:
        ValueError: an argument is out of range or the milestones are not in order; when training
            starts, the loader's batches have fewer samples than they are to be cut into.

    Source:
        Smith et al. 2018, section 3 (milestones); Merrill et al. 2025, section 5 (doubling, with
        the square root).
    """

    events: Mapping[Event, str] = {
        Event.INIT: "register",
        Event.FIT_START: "check",
        Event.BATCH_START: "cut",
    }
    writes = ("steps_per_batch", "optimizers")

    def __init__(
        self,
        milestones: Sequence[str] = ("0.1dur", "0.3dur"),
        factor: int = 2,
        lr_scaling: str | None = "sqrt",
    ) -> None:
        check_whole("factor", factor, 2)
        lr_factor(1, lr_scaling)
        self._times = _in_order(milestones)
        self.milestones = [str(time) for time in self._times]
        self.factor = factor
        self.lr_scaling = lr_scaling
        self._rates = _ScaledRates()

    def register(self, state: State, logger: Logger) -> None:
        """Be there when the optimizers step."""
        if self.lr_scaling is not None:
            self._rates = _ScaledRates()
            for optimizer in state.optimizers:
                optimizer.register_step_pre_hook(self._rates.scale)
                optimizer.register_step_post_hook(self._rates.restore)

    def check(self, state: State, logger: Logger) -> None:
        """Refuse batches that are too small to be cut.

        Raises:
            ValueError: with the size.
        """
        size, most = getattr(state.dataloader, "batch_size", None), self.steps_at(state)
        if size is not None and size < most:
            raise ConfigError(
                f"{self!r} cuts batches into {most} steps, and the loader's have {size} samples: "
                "give the loader batches of the largest size, or take fewer milestones or a "
                "smaller factor"
            )

    def steps_at(self, state: State) -> int:
        """Return how many steps a batch is cut into now."""
        num_left = sum(not self._has_passed(state, time) for time in self._times)
        return self.factor**num_left

    def cut(self, state: State, logger: Logger) -> None:
        """Say into how many steps the batch is to be cut, and at which rate."""
        num_steps = self.steps_at(state)
        state.steps_per_batch = num_steps
        self._rates.factor = factor = lr_factor(num_steps, self.lr_scaling)
        if logger.listens_to_metrics:
            logger.log_metrics(
                {
                    "batch_size_schedule/lr_factor": factor,
                    "batch_size_schedule/steps_per_batch": num_steps,
                }
            )

    def _has_passed(self, state: State, time: Time[Any]) -> bool:
        if time.unit is TimeUnit.DURATION:
            return share_done(self, state) >= time.value
        return state.timestamp >= time


class _ScaledRates:
    """Multiplies learning rates while an optimizer steps, whatever schedules do in between."""

    def __init__(self) -> None:
        self.factor = 1.0
        self._kept: list[Any] = []

    def scale(self, optimizer: Optimizer, *args: Any) -> None:
        """Multiply the rates, before a step."""
        if self.factor == 1.0:
            return
        for group in optimizer.param_groups:
            rate = group["lr"]
            # A tensor is changed in place, so what is kept is a copy.
            self._kept.append(rate.clone() if isinstance(rate, Tensor) else rate)
            set_rate(group, rate * self.factor)

    def restore(self, optimizer: Optimizer, *args: Any) -> None:
        """Put the rates back, after a step."""
        kept, self._kept = self._kept, []
        for group, rate in zip(optimizer.param_groups, kept, strict=bool(kept)):
            set_rate(group, rate)


def _in_order(milestones: Sequence[str]) -> list[Time[Any]]:
    is_list = isinstance(milestones, Sequence) and not isinstance(milestones, str)
    if not (is_list and milestones):
        raise ConfigError(
            f"milestones={milestones!r} must be a list of times, such as ['0.1dur', '0.3dur']"
        )
    times = [read_time("milestones", each, _UNITS) for each in milestones]
    values = [time.value for time in times]
    if len({time.unit for time in times}) > 1:
        raise ConfigError(f"milestones={list(milestones)!r} must all be in the same unit")
    if values[0] <= 0 or values != sorted(set(values)):
        raise ConfigError(f"milestones={list(milestones)!r} must grow, from more than 0 on")
    return times
