"""Schedules without a warmup.

In the formulas ``t`` is the current time, ``T`` is ``t_max``, both in the same unit, and
``x = min(1, t / T)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from composer.core.time import Time, Timestamp
from composer.errors import ArgumentTypeError, ConfigError
from composer.optim.schedule import Curve, Run, Schedule
from composer.optim.schedule_arguments import check_number, check_time

__all__ = [
    "ConstantScheduler",
    "CosineAnnealingScheduler",
    "CosineAnnealingWarmRestartsScheduler",
    "ExponentialScheduler",
    "LinearScheduler",
    "MultiStepScheduler",
    "PolynomialScheduler",
    "StepScheduler",
    "check_milestones",
    "cosine",
    "count_milestones",
]


def cosine(progress: float, alpha_f: float) -> float:
    """Return half a cosine wave from 1 (``progress`` 0) down to ``alpha_f`` (``progress`` 1)."""
    return alpha_f + (1 - alpha_f) * (1 + math.cos(math.pi * progress)) / 2


def check_milestones(owner: object, milestones: Sequence[str | Time[Any]]) -> list[Time[Any]]:
    """Read an argument that is a list of times.

    Raises:
        TypeError: it is no list, or an entry is no time.
        ValueError: an entry is negative, or in a unit that schedules do not count.
    """
    if not isinstance(milestones, list | tuple):
        raise ArgumentTypeError(
            f"{type(owner).__name__}: milestones={milestones!r} must be a list of times, "
            "such as ['30ep', '60ep']"
        )
    return [check_time(owner, "milestones", each, may_be_zero=True) for each in milestones]


def count_milestones(milestones: Sequence[Time[Any]], run: Run) -> Callable[[Timestamp], int]:
    """Return a function of the timestamp: how many milestones are reached."""
    reached_at = [(time.unit, time.value) for time in map(run.resolve, milestones)]
    return lambda now: sum(now.count(unit) >= value for unit, value in reached_at)


class StepScheduler(Schedule):
    """Multiply the learning rate by ``gamma`` at regular times.

    ``multiplier = gamma ** floor(t / step_size)``

    Args:
        step_size: time between two changes.
        gamma: what each change multiplies by, more than 0.
    """

    def __init__(self, step_size: str | Time[Any], gamma: float = 0.1) -> None:
        self.step_size = check_time(self, "step_size", step_size)
        self.gamma = check_number(self, "gamma", gamma, above=0)

    def plan(self, run: Run) -> Curve:
        """Return the multiplier as a function of the timestamp."""
        step = self._resolve_positive("step_size", run)
        unit, size, gamma = step.unit, step.value, self.gamma
        return lambda now: gamma ** (now.count(unit) // size)


class MultiStepScheduler(Schedule):
    """Multiply the learning rate by ``gamma`` at given times.

    ``multiplier = gamma ** (number of milestones <= t)``

    Args:
        milestones: when the learning rate changes; each in its own unit, in any order.
        gamma: what each change multiplies by, more than 0.
    """

    def __init__(self, milestones: Sequence[str | Time[Any]], gamma: float = 0.1) -> None:
        self.milestones = check_milestones(self, milestones)
        self.gamma = check_number(self, "gamma", gamma, above=0)

    def plan(self, run: Run) -> Curve:
        """Return the multiplier as a function of the timestamp."""
        num_reached, gamma = count_milestones(self.milestones, run), self.gamma
        return lambda now: gamma ** num_reached(now)


class ConstantScheduler(Schedule):
    """Hold the learning rate at a share of its initial value for a while.

    ``multiplier = alpha`` while ``t < T``, then ``1``

    Args:
        alpha: the share, at least 0.
        t_max: how long it holds.
    """

    def __init__(self, alpha: float = 1.0, t_max: str | Time[Any] = "1dur") -> None:
        self.alpha = check_number(self, "alpha", alpha, least=0)
        self.t_max = check_time(self, "t_max", t_max, may_be_zero=True)

    def plan(self, run: Run) -> Curve:
        """Return the multiplier as a function of the timestamp."""
        end = run.resolve(self.t_max)
        unit, end_count, alpha = end.unit, end.value, self.alpha
        return lambda now: alpha if now.count(unit) < end_count else 1.0


class LinearScheduler(Schedule):
    """Move the learning rate along a straight line.

    ``multiplier = alpha_i + x * (alpha_f - alpha_i)``

    Args:
        alpha_i: multiplier at the start, at least 0.
        alpha_f: multiplier from ``t_max`` on, at least 0.
        t_max: when the end of the line is reached.
    """

    def __init__(
        self, alpha_i: float = 1.0, alpha_f: float = 0.0, t_max: str | Time[Any] = "1dur"
    ) -> None:
        self.alpha_i = check_number(self, "alpha_i", alpha_i, least=0)
        self.alpha_f = check_number(self, "alpha_f", alpha_f, least=0)
        self.t_max = check_time(self, "t_max", t_max)

    def plan(self, run: Run) -> Curve:
        """Return the multiplier as a function of the timestamp."""
        alpha_i, change = self.alpha_i, self.alpha_f - self.alpha_i
        return _stretch(self._resolve_positive("t_max", run), lambda x: alpha_i + x * change)


class ExponentialScheduler(Schedule):
    """Decay the learning rate exponentially, a little every batch.

    ``multiplier = gamma ** (t / decay_period)``

    Args:
        gamma: what one ``decay_period`` multiplies by, more than 0.
        decay_period: the time that takes.
    """

    def __init__(self, gamma: float, decay_period: str | Time[Any] = "1ep") -> None:
        self.gamma = check_number(self, "gamma", gamma, above=0)
        self.decay_period = check_time(self, "decay_period", decay_period)

    def plan(self, run: Run) -> Curve:
        """Return the multiplier as a function of the timestamp."""
        period = self._resolve_positive("decay_period", run)
        unit, length, gamma = period.unit, period.value, self.gamma
        return lambda now: gamma ** (now.count(unit) / length)


class CosineAnnealingScheduler(Schedule):
    """Lower the learning rate along half a cosine wave.

    ``multiplier = alpha_f + (1 - alpha_f) * (1 + cos(pi * x)) / 2``

    Args:
        t_max: when the bottom is reached.
        alpha_f: multiplier from ``t_max`` on, at least 0.

    Source: Loshchilov and Hutter 2016, "SGDR" (arXiv 1608.03983), one cycle.
    """

    def __init__(self, t_max: str | Time[Any] = "1dur", alpha_f: float = 0.0) -> None:
        self.t_max = check_time(self, "t_max", t_max)
        self.alpha_f = check_number(self, "alpha_f", alpha_f, least=0)

    def plan(self, run: Run) -> Curve:
        """Return the multiplier as a function of the timestamp."""
        alpha_f = self.alpha_f
        return _stretch(self._resolve_positive("t_max", run), lambda x: cosine(x, alpha_f))


class CosineAnnealingWarmRestartsScheduler(Schedule):
    """Lower the learning rate along half cosine waves, starting again at the top after each.

    ``multiplier = alpha_f + (1 - alpha_f) * (1 + cos(pi * y)) / 2``, where ``y`` is the finished
    share of the current interval. Intervals last ``t_0``, ``int(t_mult * t_0)`` and so on, each
    computed from the one before.

    Args:
        t_0: length of the first interval.
        t_mult: how much longer each interval is than the one before, more than 0.
        alpha_f: multiplier at the bottom, at least 0.

    Source: Loshchilov and Hutter 2016, "SGDR" (arXiv 1608.03983).
    """

    def __init__(self, t_0: str | Time[Any], t_mult: float = 1.0, alpha_f: float = 0.0) -> None:
        self.t_0 = check_time(self, "t_0", t_0)
        self.t_mult = check_number(self, "t_mult", t_mult, above=0)
        self.alpha_f = check_number(self, "alpha_f", alpha_f, least=0)

    def plan(self, run: Run) -> Curve:
        """Return the multiplier as a function of the timestamp.

        Raises:
            ValueError: intervals shrink to nothing before the end of the run.
        """
        first, end, alpha_f = self._resolve_positive("t_0", run), run.end(), self.alpha_f
        unit, interval = first.unit, (0, first.value)
        if end is not None and end.unit is unit:
            self._interval_at(end.value - 1, interval)

        def curve(now: Timestamp) -> float:
            nonlocal interval
            count = now.count(unit)
            if count < interval[0]:  # time was set back
                interval = (0, first.value)
            start, length = interval = self._interval_at(count, interval)
            return cosine((count - start) / length, alpha_f)

        return curve

    def _interval_at(self, count: int, interval: tuple[int, int]) -> tuple[int, int]:
        """Return start and length of the interval with ``count`` in it, going on from another."""
        start, length = interval
        if self.t_mult == 1 and count >= start:
            return count - (count - start) % length, length
        while count >= start + length:
            start, length = start + length, int(self.t_mult * length)
            if length == 0:
                raise ConfigError(
                    f"{self!r}: intervals shrink to nothing at {start}; use a t_mult of at least 1 "
                    "or a longer t_0"
                )
        return start, length


class PolynomialScheduler(Schedule):
    """Lower the learning rate along a power of the time that is left.

    ``multiplier = alpha_f + (1 - alpha_f) * (1 - x) ** power``

    Args:
        power: the power, more than 0; 1 is a straight line.
        t_max: when the bottom is reached.
        alpha_f: multiplier from ``t_max`` on, at least 0.
    """

    def __init__(self, power: float, t_max: str | Time[Any] = "1dur", alpha_f: float = 0.0) -> None:
        self.power = check_number(self, "power", power, above=0)
        self.t_max = check_time(self, "t_max", t_max)
        self.alpha_f = check_number(self, "alpha_f", alpha_f, least=0)

    def plan(self, run: Run) -> Curve:
        """Return the multiplier as a function of the timestamp."""
        power, alpha_f = self.power, self.alpha_f
        return _stretch(
            self._resolve_positive("t_max", run),
            lambda x: alpha_f + (1 - alpha_f) * (1 - x) ** power,
        )


def _stretch(end: Time[int], shape: Callable[[float], float]) -> Curve:
    """Stretch a function of [0, 1] from the start of training to ``end``; flat from there on."""
    unit, end_count = end.unit, end.value
    return lambda now: shape(min(1.0, now.count(unit) / end_count))
