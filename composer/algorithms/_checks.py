"""Checks of arguments, and a warning, that several methods share.

Arguments are checked where a method is made, so that a typing slip does not show at batch 10,000.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Collection, Iterable
from typing import Any

from torch import Tensor, nn

from composer.core.units import Time, TimeUnit
from composer.errors import ArgumentTypeError, ConfigError, DataError, TimeUnitError, did_you_mean
from composer.utils.warnings import NoEffectWarning

__all__ = [
    "check_choice",
    "check_flags",
    "check_number",
    "check_sample_count",
    "check_tensor",
    "check_whole",
    "read_time",
    "warn_no_effect",
]

_LARGEST = sys.float_info.max


def check_number(
    name: str,
    value: object,
    low: float = -_LARGEST,
    high: float = _LARGEST,
    *,
    above: float = -math.inf,
) -> None:
    """Refuse what is no number in ``[low, high]``, or not greater than ``above``.

    Infinity is refused too, where ``low`` and ``high`` do not name it.

    Raises:
        TypeError: not a number.
        ValueError: out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ArgumentTypeError(f"{name} must be a number, got {value!r} ({type(value).__name__})")
    if low <= value <= high and value > above:
        return
    rules = [f">= {low:g}"] if low > -_LARGEST else []
    rules += [f"> {above:g}"] if above > -math.inf else []
    rules += [f"<= {high:g}"] if high < _LARGEST else ["finite"] if high == _LARGEST else []
    raise ConfigError(f"{name}={value!r} is out of range; it must be {' and '.join(rules)}")


def check_whole(name: str, value: object, low: float = -_LARGEST, high: float = _LARGEST) -> None:
    """Refuse what is no whole number in ``[low, high]``.

    Raises:
        TypeError: not a whole number.
        ValueError: out of range.
    """
    if not isinstance(value, int):
        kind = type(value).__name__
        raise ArgumentTypeError(f"{name} must be a whole number, got {value!r} ({kind})")
    check_number(name, value, low, high)


def check_flags(**flags: object) -> None:
    """Refuse what is neither True nor False: a text such as ``'false'`` would count as True.

    Raises:
        TypeError: with the first such argument.
    """
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise ArgumentTypeError(f"{name} must be True or False, got {value!r}")


def read_time(name: str, given: Any, units: Collection[TimeUnit]) -> Time[Any]:
    """Return an argument as a time in one of some units.

    Raises:
        TypeError: it can be no time.
        ValueError: it is no time, or in another unit.
    """
    try:
        time = Time.from_input(given)
    except TypeError as error:
        raise ArgumentTypeError(f"{name}={given!r}: {error}") from error
    except (ValueError, TimeUnitError) as error:
        raise ConfigError(f"{name}={given!r}: {error}") from error
    if time.unit not in units:
        allowed = " or ".join(repr(unit.value) for unit in units)
        raise ConfigError(f"{name}={given!r} must be in {allowed}")
    return time


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Refuse what is not one of ``choices``.

    Raises:
        ValueError: with the nearest choice.
    """
    choices = list(choices)
    if value not in choices:
        raise ConfigError(f"{name}={value!r} is not known.{did_you_mean(value, choices)}")


def check_tensor(method: object, what: str, value: Any) -> Tensor:
    """Return a part of the batch or the outputs, which must be one tensor.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(value, Tensor):
        return value
    raise DataError(
        f"{type(method).__name__} needs {what} that are one tensor, got a {type(value).__name__}; "
        "give input_key and target_key as a pair of callables (get, set) if the tensor lies deeper"
    )


def check_sample_count(method: str, known: int, found: int) -> None:
    """Refuse a batch that has other samples than its loader gave it.

    Args:
        method: the method's name.
        known: samples that the loader gave.
        found: samples that the batch has.

    Raises:
        ValueError: the numbers differ.
    """
    if known != found:
        raise DataError(
            f"{method} knows {known} samples of a batch that has {found}: nothing else may add "
            "samples to batches or take some away"
        )


def warn_no_effect(method: str, model: nn.Module, wanted: str, advice: str = "") -> None:
    """Say that a method found no layer to act on.

    Args:
        method: the method's name.
        model: where it looked.
        wanted: what it looked for.
        advice: what else could be done.
    """
    warnings.warn(
        f"{method} changed nothing in {type(model).__name__}: it looked for {wanted}, and found "
        f"none{advice and '; '}{advice}",
        NoEffectWarning,
        stacklevel=3,
    )
