"""Schedules that begin with a linear warmup.

In the formulas ``t`` is the current time, ``W`` is ``t_warmup``, ``T`` is ``t_max``, all in the
same unit, and ``x = min(1, (t - W) / (T - W))``, or 0 if the warmup lasts to ``T`` or longer.
The scale schedule ratio stretches everything but the warmup; with ``scale_warmup`` that too.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

from composer.core.time import Time, Timestamp
from composer.errors import ConfigError, unknown_name
from composer.optim.curves import check_milestones, cosine, count_milestones
from composer.optim.schedule import Curve, Run, Schedule
from composer.optim.schedule_arguments import check_number, check_time

__all__ = [
    "ConstantWithWarmupScheduler",
    "CosineAnnealingWithWarmupScheduler",
    "LinearWithWarmupScheduler",
    "MultiStepWithWarmupScheduler",
    "PolynomialWithWarmupScheduler",
    "WarmupStableDecayScheduler",
]

_COOLDOWNS: dict[str, Callable[[float], float]] = {
    "linear": lambda x: 1 - x,
    "1-sqrt": lambda x: 1 - math.sqrt(x),
}


class WarmupSchedule(Schedule):
    """Base of the schedules with a warmup.

    Args:
        t_warmup: length of the warmup. It may be zero, with a warning.
        scale_warmup: whether the scale schedule ratio stretches the warmup too.
    """

    def __init__(self, t_warmup: str | Time[Any], scale_warmup: bool) -> None:
        self.t_warmup = check_time(self, "t_warmup", t_warmup, may_be_zero=True)
        self.scale_warmup = bool(scale_warmup)

    def _resolve_warmup(self, run: Run) -> Time[int]:
        warmup = run.resolve(self.t_warmup, ssr=None if self.scale_warmup else 1.0)
        if warmup.value == 0:
            warnings.warn(
                f"{self!r}: the warmup is empty. If t_warmup is a share of the run ('dur'), the "
                "run may be too short for it. Where none is wanted, use a schedule without warmup.",
                stacklevel=2,
            )
        return warmup

    def _resolve_end(self, run: Run, warmup: Time[int]) -> Time[int]:
        """Resolve ``t_max``.

        Raises:
            ValueError: it has another unit than the warmup, or lies before the end of the run.
        """
        end, run_end = self._resolve_positive("t_max", run), run.end()
        if warmup.unit is not end.unit:
            raise ConfigError(
                f"{self!r}: t_warmup comes to {warmup} and t_max to {end}; give both in one unit "
                "(epochs count as batches, 'dur' takes the unit of max_duration)"
            )
        if run_end is not None and run_end.unit is end.unit and end.value < run_end.value:
            raise ConfigError(
                f"{self!r}: the schedule ends at {end}, before the run does at {run_end}. "
                "Use t_max='1dur' to end with the run, or a shorter max_duration."
            )
        return end

    def _plan_after_warmup(self, run: Run, shape: Callable[[float], float]) -> Curve:
        """Climb to ``shape(0)`` during the warmup, then follow ``shape`` over [0, 1] to the end."""
        warmup = self._resolve_warmup(run)
        unit, start = warmup.unit, warmup.value
        length = self._resolve_end(run, warmup).value - start
        peak = shape(0.0)

        def curve(now: Timestamp) -> float:
            count = now.count(unit)
            if count < start:
                return peak * count / start
            return shape(min(1.0, (count - start) / length) if length > 0 else 0.0)

        return curve


class MultiStepWithWarmupScheduler(WarmupSchedule):
    """Warm up, then multiply the learning rate by ``gamma`` at given times.

    ``multiplier = t / W`` while ``t < W``, then ``gamma ** (number of milestones <= t)``

    Args:
        t_warmup: length of the warmup.
        milestones: when the learning rate changes, counted from the start of training; each in
            its own unit, in any order.
        gamma: what each change multiplies by, more than 0.
        scale_warmup: whether the scale schedule ratio stretches the warmup too.
    """

    def __init__(
        self,
        t_warmup: str | Time[Any],
        milestones: Sequence[str | Time[Any]],
        gamma: float = 0.1,
        scale_warmup: bool = False,
    ) -> None:
        super().__init__(t_warmup, scale_warmup)
        self.milestones = check_milestones(self, milestones)
        self.gamma = check_number(self, "gamma", gamma, above=0)

    def plan(self, run: Run) -> Curve:
        """Return the multiplier as a function of the timestamp."""
        warmup, gamma = self._resolve_warmup(run), self.gamma
        unit, start = warmup.unit, warmup.value
        num_reached = count_milestones(self.milestones, run)

        def curve(now: Timestamp) -> float:
            count = now.count(unit)
            return count / start if count < start else gamma ** num_reached(now)

        return curve


class LinearWithWarmupScheduler(WarmupSchedule):
    """Warm up, then move the learning rate along a straight line.

    ``multiplier = alpha_i * t / W`` while ``t < W``, then ``alpha_i + x * (alpha_f - alpha_i)``

    Args:
        t_warmup: length of the warmup.
        alpha_i: multiplier at the end of the warmup, at least 0.
        alpha_f: multiplier at ``t_max``, at least 0.
        t_max: when the end of the line is reached; not before the end of the run.
        scale_warmup: whether the scale schedule ratio stretches the warmup too.
    """

    def __init__(
        self,
        t_warmup: str | Time[Any],
        alpha_i: float = 1.0,
        alpha_f: float = 0.0,
        t_max: str | Time[Any] = "1dur",
        scale_warmup: bool = False,
    ) -> None:
        super().__init__(t_warmup, scale_warmup)
        self.alpha_i = check_number(self, "alpha_i", alpha_i, least=0)
        self.alpha_f = check_number(self, "alpha_f", alpha_f, least=0)
        self.t_max = check_time(self, "t_max", t_max)

    def plan(self, run: Run) -> Curve:
        """Return the multiplier as a function of the timestamp."""
        alpha_i, change = self.alpha_i, self.alpha_f - self.alpha_i
        return self._plan_after_warmup(run, lambda x: alpha_i + x * change)


class ConstantWithWarmupScheduler(WarmupSchedule):
    """Warm up, then hold the learning rate.

    ``multiplier = alpha * t / W`` while ``t < W``, then ``alpha``

    Args:
        t_warmup: length of the warmup.
        alpha: multiplier from the end of the warmup on, at least 0.
        t_max: how long it holds; not shorter than the run.
        scale_warmup: whether the scale schedule ratio stretches the warmup too.
    """

    def __init__(
        self,
        t_warmup: str | Time[Any],
        alpha: float = 1.0,
        t_max: str | Time[Any] = "1dur",
        scale_warmup: bool = False,
    ) -> None:
        super().__init__(t_warmup, scale_warmup)
        self.alpha = check_number(self, "alpha", alpha, least=0)
        self.t_max = check_time(self, "t_max", t_max)

    def plan(self, run: Run) -> Curve:
        """Return the multiplier as a function of the timestamp."""
        alpha = self.alpha
        return self._plan_after_warmup(run, lambda _: alpha)


class CosineAnnealingWithWarmupScheduler(WarmupSchedule):
    """Warm up, then lower the learning rate along half a cosine wave.

    ``multiplier = t / W`` while ``t < W``, then ``alpha_f + (1 - alpha_f) * (1 + cos(pi * x)) / 2``

    Args:
        t_warmup: length of the warmup.
        t_max: when the bottom is reached; not before the end of the run.
        alpha_f: multiplier at ``t_max``, at least 0.
        scale_warmup: whether the scale schedule ratio stretches the warmup too.
    """

    def __init__(
        self,
        t_warmup: str | Time[Any],
        t_max: str | Time[Any] = "1dur",
        alpha_f: float = 0.0,
        scale_warmup: bool = False,
    ) -> None:
        super().__init__(t_warmup, scale_warmup)
        self.t_max = check_time(self, "t_max", t_max)
        self.alpha_f = check_number(self, "alpha_f", alpha_f, least=0)

    def plan(self, run: Run) -> Curve:
        """Return the multiplier as a function of the timestamp."""
        alpha_f = self.alpha_f
        return self._plan_after_warmup(run, lambda x: cosine(x, alpha_f))


class PolynomialWithWarmupScheduler(WarmupSchedule):
    """Warm up, then lower the learning rate along a power of the time that is left.

    ``multiplier = t / W`` while ``t < W``, then ``alpha_f + (1 - alpha_f) * (1 - x) ** power``

    Args:
        t_warmup: length of the warmup.
        power: the power, more than 0; 1 is a straight line.
        t_max: when the bottom is reached; not before the end of the run.
        alpha_f: multiplier at ``t_max``, at least 0.
        scale_warmup: whether the scale schedule ratio stretches the warmup too.
    """

    def __init__(
        self,
        t_warmup: str | Time[Any],
        power: float = 2.0,
        t_max: str | Time[Any] = "1dur",
        alpha_f: float = 0.0,
        scale_warmup: bool = False,
    ) -> None:
        super().__init__(t_warmup, scale_warmup)
        self.power = check_number(self, "power", power, above=0)
        self.t_max = check_time(self, "t_max", t_max)
        self.alpha_f = check_number(self, "alpha_f", alpha_f, least=0)

    def plan(self, run: Run) -> Curve:
        """Return the multiplier as a function of the timestamp."""
        power, alpha_f = self.power, self.alpha_f
        return self._plan_after_warmup(run, lambda x: alpha_f + (1 - alpha_f) * (1 - x) ** power)


class WarmupStableDecayScheduler(WarmupSchedule):
    """Warm up, hold the learning rate, and lower it only at the end ("WSD", "trapezoidal").

    With ``C`` for ``t_cooldown`` and ``y = min(1, (t - (T - C)) / C)``::

        multiplier = t / W                                     while t < W
                     1                                         while t < T - C
                     alpha_f + (1 - alpha_f) * (1 - y)         cooldown='linear'
                     alpha_f + (1 - alpha_f) * (1 - sqrt(y))   cooldown='1-sqrt'

    The stable part does not depend on the end of the run, so a run can be prolonged from a
    checkpoint taken there, or several lengths tried from one.

    Args:
        t_warmup: length of the warmup.
        t_cooldown: length of the cooldown, which ends at ``t_max``.
        t_max: when the bottom is reached; not before the end of the run.
        alpha_f: multiplier at ``t_max``, at least 0.
        cooldown: shape of the cooldown. ``'1-sqrt'`` falls fast at first; the source finds it
            better than a straight line.
        scale_warmup: whether the scale schedule ratio stretches the warmup too.

    Source: Hagele et al. 2024, "Scaling Laws and Compute-Optimal Training Beyond Fixed Training
    Durations" (arXiv 2405.18392); the name is from Hu et al. 2024, "MiniCPM"
    (arXiv 2404.06395).
    """

    def __init__(
        self,
        t_warmup: str | Time[Any],
        t_cooldown: str | Time[Any],
        t_max: str | Time[Any] = "1dur",
        alpha_f: float = 0.0,
        cooldown: Literal["linear", "1-sqrt"] = "linear",
        scale_warmup: bool = False,
    ) -> None:
        super().__init__(t_warmup, scale_warmup)
        self.t_cooldown = check_time(self, "t_cooldown", t_cooldown)
        self.t_max = check_time(self, "t_max", t_max)
        self.alpha_f = check_number(self, "alpha_f", alpha_f, least=0)
        if cooldown not in _COOLDOWNS:
            raise unknown_name("cooldown shape", cooldown, _COOLDOWNS)
        self.cooldown = cooldown

    def plan(self, run: Run) -> Curve:
        """Return the multiplier as a function of the timestamp.

        Raises:
            ValueError: the parts do not fit into one another or into the run.
        """
        warmup = self._resolve_warmup(run)
        end = self._resolve_end(run, warmup)
        cooldown = self._resolve_positive("t_cooldown", run)
        unit, start, length = end.unit, warmup.value, cooldown.value
        if cooldown.unit is not unit or start + length > end.value:
            raise ConfigError(
                f"{self!r}: a warmup of {warmup} and a cooldown of {cooldown} do not fit into "
                f"{end}; give times in one unit that add up to no more than t_max"
            )
        cooldown_start, shape, alpha_f = end.value - length, _COOLDOWNS[self.cooldown], self.alpha_f

        def curve(now: Timestamp) -> float:
            count = now.count(unit)
            if count < start:
                return count / start
            if count <= cooldown_start:
                return 1.0
            return alpha_f + (1 - alpha_f) * shape(min(1.0, (count - cooldown_start) / length))

        return curve
