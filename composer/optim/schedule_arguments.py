"""Checks of what users give to learning rate schedules, made when a schedule is constructed."""

from __future__ import annotations

import math
from typing import Any

from composer.core.time import Time, TimeUnit
from composer.errors import ArgumentTypeError, ConfigError

__all__ = ["check_number", "check_time"]


def check_time(owner: object, name: str, value: Any, *, may_be_zero: bool = False) -> Time[Any]:
    """Read an argument that is a time.

    Args:
        owner: the schedule, for the message.
        name: the argument's name, for the message.
        value: a time string or a :class:`Time`.
        may_be_zero: whether zero makes sense here.

    Raises:
        TypeError: it is neither.
        ValueError: it is no time, counted in seconds, negative, or zero.
    """
    label = f"{type(owner).__name__}: {name}={value!r}"
    if not isinstance(value, str | Time):
        raise ArgumentTypeError(f"{label} must be a time with a unit, such as '10ep' or '500ba'")
    try:
        time = Time.from_input(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{label}: {error}") from error
    if time.unit is TimeUnit.SECOND:
        raise ConfigError(
            f"{label}: schedules do not follow the clock. "
            "Count in 'ep', 'ba', 'sp', 'tok' or 'dur' (a share of the run)."
        )
    if time.value < 0 or (time.value == 0 and not may_be_zero):
        raise ConfigError(f"{label} must be {'at least' if may_be_zero else 'more than'} zero")
    return time


def check_number(
    owner: object, name: str, value: Any, *, above: float | None = None, least: float | None = None
) -> float:
    """Read an argument that is a finite number.

    Args:
        owner: the schedule, for the message.
        name: the argument's name, for the message.
        value: what was given.
        above: the value must be greater.
        least: the value must be at least this.

    Raises:
        TypeError: it is not a number.
        ValueError: it is out of range.
    """
    label = f"{type(owner).__name__}: {name}={value!r}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ArgumentTypeError(f"{label} must be a number")
    if not math.isfinite(value):
        raise ConfigError(f"{label} must be finite")
    if above is not None and value <= above:
        raise ConfigError(f"{label} must be more than {above:g}")
    if least is not None and value < least:
        raise ConfigError(f"{label} must be at least {least:g}")
    return value
