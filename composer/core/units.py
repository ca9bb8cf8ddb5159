"""Amounts of training time: a number with a unit.

:class:`Time` is what users write as ``"10ep"``, ``"500ba"`` or ``"1h30m"``. Counters that move
while training runs are in :mod:`composer.core.time`.
"""

from __future__ import annotations

import datetime
import math
import re
from typing import Any, Generic, TypeVar, cast

from composer.errors import TimeFormatError, TimeUnitError
from composer.utils.string_enum import StringEnum

__all__ = ["Time", "TimeInput", "TimeUnit", "ensure_time"]

TValue = TypeVar("TValue", int, float)


class TimeUnit(StringEnum):
    """Units in which training time is counted."""

    ITERATION = "iter"
    EPOCH = "ep"
    BATCH = "ba"
    SAMPLE = "sp"
    TOKEN = "tok"  # noqa: S105 - no password
    DURATION = "dur"
    SECOND = "sec"


_CLOCK = re.compile(r"^(?=\d)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$", re.IGNORECASE)
_NUMBER_AND_UNIT = re.compile(
    r"^\s*([-+]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:e[-+]?\d+)?)\s*(iter|ep|ba|sp|tok|dur|sec)\s*$",
    re.IGNORECASE,
)
_EXAMPLES = (
    "Write a number and a unit: '10ep', '500ba', '1000sp', '1e6tok', '0.1dur', '2iter', or a clock "
    "time like '1h30m'."
)


class Time(Generic[TValue]):
    """A number of epochs, batches, samples, tokens, seconds, iterations, or a share of the run.

    Treat it as immutable. Times of one unit compare, add and subtract; a ``dur`` time is a share of
    ``max_duration`` and may multiply a time of another unit.

    Args:
        value: the amount. A float for ``dur``, an ``int`` for every other unit.
        unit: the unit, as :class:`TimeUnit` or its string.

    Raises:
        TypeError: the value is not an ``int`` although the unit counts whole things.
        ValueError: the unit is not known.

    Example:
        >>> Time(5, "ep") < Time.from_timestring("6ep")
        True
    """

    __slots__ = ("_unit", "_value")

    def __init__(self, value: TValue, unit: str | TimeUnit) -> None:
        unit = unit if type(unit) is TimeUnit else TimeUnit(unit)
        if unit is TimeUnit.DURATION:
            value = cast("TValue", float(value))
        elif type(value) is not int:
            if not isinstance(value, int):
                raise TypeError(
                    f"a time in {unit.value!r} needs an int, got {value!r} ({type(value).__name__})"
                )
            value = cast("TValue", int(value))
        self._value = value
        self._unit = unit

    @classmethod
    def from_iteration(cls, iteration: int) -> Time[int]:
        """Return ``Time(iteration, 'iter')``."""
        return Time(iteration, TimeUnit.ITERATION)

    @classmethod
    def from_epoch(cls, epoch: int) -> Time[int]:
        """Return ``Time(epoch, 'ep')``."""
        return Time(epoch, TimeUnit.EPOCH)

    @classmethod
    def from_batch(cls, batch: int) -> Time[int]:
        """Return ``Time(batch, 'ba')``."""
        return Time(batch, TimeUnit.BATCH)

    @classmethod
    def from_sample(cls, sample: int) -> Time[int]:
        """Return ``Time(sample, 'sp')``."""
        return Time(sample, TimeUnit.SAMPLE)

    @classmethod
    def from_token(cls, token: int) -> Time[int]:
        """Return ``Time(token, 'tok')``."""
        return Time(token, TimeUnit.TOKEN)

    @classmethod
    def from_duration(cls, duration: float) -> Time[float]:
        """Return ``Time(duration, 'dur')``, a share of ``max_duration`` (1.0 is the whole run)."""
        return Time(duration, TimeUnit.DURATION)

    @classmethod
    def from_timedelta(cls, timestring: str | datetime.timedelta) -> Time[int]:
        """Return whole seconds from a ``timedelta`` or a clock string like ``'1h30m'``."""
        if isinstance(timestring, datetime.timedelta):
            return Time(int(timestring.total_seconds()), TimeUnit.SECOND)
        seconds = _clock_seconds(timestring)
        if seconds is None:
            raise TimeFormatError(f"{timestring!r} is not a clock time; write e.g. '1h30m15s'.")
        return Time(seconds, TimeUnit.SECOND)

    @classmethod
    def from_timestring(cls, timestring: str) -> Time[Any]:
        """Parse ``'10ep'``, ``'1e3ba'``, ``'0.5dur'`` or a clock time such as ``'36h'``.

        Args:
            timestring: a number and a unit, in any case; or hours, minutes and seconds
                (``'1h30m'``), read as seconds.

        Raises:
            ValueError: the text is neither of the two.
            TypeError: a fraction in a unit that counts whole things.
        """
        if not isinstance(timestring, str):
            raise TypeError(
                f"a time string is a str, got {timestring!r} ({type(timestring).__name__})"
            )
        seconds = _clock_seconds(timestring)
        if seconds is not None:
            return Time(seconds, TimeUnit.SECOND)
        match = _NUMBER_AND_UNIT.match(timestring)
        if match is None:
            raise TimeFormatError(f"{timestring!r} is not a time. {_EXAMPLES}")
        number, unit = float(match.group(1)), TimeUnit(match.group(2).lower())
        if not math.isfinite(number):
            raise TimeFormatError(f"{timestring!r} is too large to be a time")
        if unit is TimeUnit.DURATION:
            return Time(number, unit)
        if number != int(number):
            raise TypeError(f"{timestring!r}: {unit.name.lower()}s are counted in whole numbers")
        return Time(int(number), unit)

    @classmethod
    def from_input(cls, i: TimeInput, default_int_unit: TimeUnit | str | None = None) -> Time[Any]:
        """Make a time of what a user may give: a :class:`Time`, a string, or a bare number.

        Args:
            i: the time.
            default_int_unit: the unit of a bare number; ``None`` refuses bare numbers.

        Raises:
            RuntimeError: a bare number without a default unit.
        """
        if isinstance(i, Time):
            return i
        if isinstance(i, str):
            return cls.from_timestring(i)
        if isinstance(i, int | float) and not isinstance(i, bool):
            if default_int_unit is None:
                raise TimeUnitError(f"the number {i!r} needs a unit here. {_EXAMPLES}")
            return Time(i, default_int_unit)
        raise TypeError(f"cannot read {i!r} ({type(i).__name__}) as a time. {_EXAMPLES}")

    @property
    def value(self) -> TValue:
        """The amount, without its unit."""
        return self._value

    @property
    def unit(self) -> TimeUnit:
        """The unit."""
        return self._unit

    def __repr__(self) -> str:
        return f"Time({self._value}, {self._unit})"

    def __str__(self) -> str:
        return self.to_timestring()

    def to_timestring(self) -> str:
        """Return the text that :meth:`from_timestring` reads back, e.g. ``'5ep'``."""
        return f"{self._value}{self._unit.value}"

    def _operand(self, other: object) -> float:
        """Return the value of ``other`` in this unit; a bare number has this unit already."""
        if isinstance(other, int | float):
            return other
        if isinstance(other, str):
            other = Time.from_timestring(other)
        if not isinstance(other, Time):
            raise TypeError(f"cannot combine {self!r} with {other!r} ({type(other).__name__})")
        if other._unit is not self._unit:
            raise TimeUnitError(f"{self!r} and {other!r} have different units and do not combine")
        return cast("float", other._value)

    def _same_unit(self, value: float) -> Time[TValue]:
        whole = self._unit is not TimeUnit.DURATION
        return Time(cast("TValue", int(value) if whole else value), self._unit)

    def __lt__(self, other: object) -> bool:
        return self._value < self._operand(other)

    def __le__(self, other: object) -> bool:
        return self._value <= self._operand(other)

    def __gt__(self, other: object) -> bool:
        return self._value > self._operand(other)

    def __ge__(self, other: object) -> bool:
        return self._value >= self._operand(other)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Time | int | float | str):
            return NotImplemented
        return self._value == self._operand(other)

    def __hash__(self) -> int:
        return hash((self._value, self._unit))

    def __add__(self, other: object) -> Time[TValue]:
        return self._same_unit(self._value + self._operand(other))

    def __radd__(self, other: object) -> Time[TValue]:
        return self + other

    def __sub__(self, other: object) -> Time[TValue]:
        return self._same_unit(self._value - self._operand(other))

    def __rsub__(self, other: object) -> Time[TValue]:
        return self._same_unit(self._operand(other) - self._value)

    def __neg__(self) -> Time[TValue]:
        return Time(-self._value, self._unit)

    def __pos__(self) -> Time[TValue]:
        return self

    def __int__(self) -> int:
        return int(self._value)

    def __float__(self) -> float:
        return float(self._value)

    def __mul__(self, other: object) -> Time[Any]:
        if isinstance(other, str):
            other = Time.from_timestring(other)
        if isinstance(other, Time):
            if self._unit is TimeUnit.DURATION:
                return other._same_unit(self._value * other._value)
            if other._unit is TimeUnit.DURATION:
                return self._same_unit(self._value * other._value)
            raise TimeUnitError(f"{self!r} * {other!r}: one of the two must be in 'dur'")
        if isinstance(other, int | float):
            return self._same_unit(self._value * other)
        return NotImplemented

    def __rmul__(self, other: object) -> Time[Any]:
        return self * other

    def __truediv__(self, other: object) -> Time[Any]:
        if isinstance(other, int | float):
            return self._same_unit(self._value / other)
        return Time(float(self._value / self._operand(other)), TimeUnit.DURATION)

    def __mod__(self, other: object) -> Time[TValue]:
        return self._same_unit(self._value % self._operand(other))

    def __reduce__(self) -> tuple[type[Time[Any]], tuple[TValue, str]]:
        return Time, (self._value, self._unit.value)


TimeInput = Time[Any] | str | int | float


def _clock_seconds(text: str) -> int | None:
    """Return the seconds of ``'1h30m15s'``; None where the text is no clock time."""
    match = _CLOCK.match(text.strip())
    if match is None or not any(match.groups()):
        return None
    hours, minutes, seconds = (int(group or 0) for group in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def ensure_time(maybe_time: TimeInput, int_unit: TimeUnit | str) -> Time[Any]:
    """Return the argument as :class:`Time`; a bare number is counted in ``int_unit``."""
    return Time.from_input(maybe_time, int_unit)
