from __future__ import annotations

import datetime
import operator
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from composer.core.units import Time, TimeUnit, ensure_time
from composer.errors import ConfigError, TimeFormatError, TimeUnitError

# What the reference reads and refuses, as recorded from it; its three errors ('3' read as half a
# minute, '24h' and '90m' refused) are tested on their own.
RECORDED: dict[str, tuple[float, TimeUnit] | type[Exception]] = {
    "5ep": (5, TimeUnit.EPOCH),
    "5EP": (5, TimeUnit.EPOCH),
    "1e3ba": (1000, TimeUnit.BATCH),
    "0.5dur": (0.5, TimeUnit.DURATION),
    "1dur": (1.0, TimeUnit.DURATION),
    "30s": (30, TimeUnit.SECOND),
    "1m": (60, TimeUnit.SECOND),
    "1h": (3600, TimeUnit.SECOND),
    "1h30m": (5400, TimeUnit.SECOND),
    "1h1m1s": (3661, TimeUnit.SECOND),
    "10sec": (10, TimeUnit.SECOND),
    "2iter": (2, TimeUnit.ITERATION),
    "7tok": (7, TimeUnit.TOKEN),
    "9sp": (9, TimeUnit.SAMPLE),
    "5 ep": (5, TimeUnit.EPOCH),
    "-1ba": (-1, TimeUnit.BATCH),
    "1_000ba": (1000, TimeUnit.BATCH),
    "1.5ep": TypeError,
    "ep": ValueError,
    "1ep2ba": ValueError,
}


@pytest.mark.parametrize(("text", "expected"), RECORDED.items())
def test_time_strings_read_as_recorded(text: str, expected: Any) -> None:
    if isinstance(expected, type):
        with pytest.raises(expected):
            Time.from_timestring(text)
        return
    time = Time.from_timestring(text)
    assert (time.value, time.unit) == expected
    assert type(time.value) is type(expected[0])


def test_a_number_without_a_unit_is_refused() -> None:
    with pytest.raises(TimeFormatError, match=r"'3' is not a time\. .*'10ep'"):
        Time.from_timestring("3")


@pytest.mark.parametrize(("text", "seconds"), [("24h", 86400), ("90m", 5400), ("48h90s", 172890)])
def test_clock_times_may_exceed_a_day_or_an_hour(text: str, seconds: int) -> None:
    assert Time.from_timestring(text) == Time(seconds, "sec")


@pytest.mark.parametrize("text", ["", " ", "ten ep", "1 h 2", "h", "1eep", "1ba!", "nanep", "s1"])
def test_text_that_is_no_time_is_a_value_error(text: str) -> None:
    with pytest.raises(TimeFormatError, match="is not a time"):
        Time.from_timestring(text)


def test_a_large_whole_number_in_float_notation_is_exact() -> None:
    assert Time.from_timestring("1e12tok").value == 10**12


def test_a_number_beyond_all_bounds_is_no_time() -> None:
    with pytest.raises(ValueError, match="1e400ba"):
        Time.from_timestring("1e400ba")


def test_only_text_is_a_time_string() -> None:
    with pytest.raises(TypeError, match="a time string is a str"):
        Time.from_timestring(3)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("unit", list(TimeUnit))
def test_the_text_of_a_time_reads_back(unit: TimeUnit) -> None:
    time = Time(3, unit)
    assert Time.from_timestring(str(time)) == time
    assert str(time) == time.to_timestring()


def test_the_repr_names_value_and_unit() -> None:
    assert repr(Time(5, "ep")) == "Time(5, TimeUnit.EPOCH)"


def test_whole_units_take_no_fraction() -> None:
    with pytest.raises(TypeError, match=r"'ba' needs an int, got 1\.5"):
        Time(1.5, "ba")


def test_a_share_of_the_run_is_a_float() -> None:
    assert type(Time(1, TimeUnit.DURATION).value) is float


def test_an_unknown_unit_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown TimeUnit 'epo'"):
        Time(1, "epo")


def test_the_named_constructors_choose_the_unit() -> None:
    assert Time.from_iteration(1).unit is TimeUnit.ITERATION
    assert Time.from_epoch(1).unit is TimeUnit.EPOCH
    assert Time.from_batch(1).unit is TimeUnit.BATCH
    assert Time.from_sample(1).unit is TimeUnit.SAMPLE
    assert Time.from_token(1).unit is TimeUnit.TOKEN
    assert Time.from_duration(1).unit is TimeUnit.DURATION


@pytest.mark.parametrize("given", [datetime.timedelta(hours=1, seconds=30.7), "1h30s"])
def test_a_timedelta_becomes_whole_seconds(given: Any) -> None:
    assert Time.from_timedelta(given) == Time(3630, "sec")


def test_a_timedelta_string_must_be_a_clock_time() -> None:
    with pytest.raises(TimeFormatError, match="'5ep' is not a clock time"):
        Time.from_timedelta("5ep")


def test_a_bare_number_takes_the_default_unit() -> None:
    assert Time.from_input(3, TimeUnit.BATCH) == Time(3, "ba")
    assert ensure_time(3, "ep") == Time(3, "ep")


def test_a_bare_number_without_a_default_unit_is_refused() -> None:
    with pytest.raises(RuntimeError, match="3 needs a unit"):
        Time.from_input(3)


def test_a_time_given_as_input_is_returned_itself() -> None:
    time = Time(3, "ba")
    assert Time.from_input(time, "ep") is time


@pytest.mark.parametrize("given", [None, True, [1]])
def test_what_is_no_time_at_all_is_a_type_error(given: Any) -> None:
    with pytest.raises(TypeError, match="as a time"):
        Time.from_input(given, "ep")


def test_times_of_one_unit_compare() -> None:
    assert Time(1, "ep") < Time(2, "ep") <= Time(2, "ep")
    assert Time(3, "ep") > "2ep"
    assert Time(3, "ep") >= 3
    assert Time(3, "ep") == 3.0
    assert Time(3, "ep") != Time(4, "ep")


@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.eq])
def test_times_of_different_units_do_not_compare(compare: Callable[[Any, Any], bool]) -> None:
    with pytest.raises(TimeUnitError, match="different units"):
        compare(Time(1, "ep"), Time(1, "ba"))


def test_a_time_is_unequal_to_what_is_no_time() -> None:
    assert Time(1, "ep") != [1]
    assert Time(1, "ep") != None  # noqa: E711 - the comparison is what is tested


def test_equal_times_have_one_hash() -> None:
    assert len({Time(1, "ep"), Time(1, "ep"), Time(1, "ba")}) == 2


def test_times_add_and_subtract_within_a_unit() -> None:
    assert Time(1, "ep") + Time(2, "ep") == Time(3, "ep")
    assert 1 + Time(2, "ep") == Time(3, "ep")
    assert Time(5, "ep") - "2ep" == Time(3, "ep")
    assert 5 - Time(2, "ep") == Time(3, "ep")
    with pytest.raises(RuntimeError, match="different units"):
        Time(1, "ep") + Time(1, "ba")


def test_multiplying_by_a_number_rounds_whole_units_down() -> None:
    assert Time(5, "ep") * 0.5 == Time(2, "ep")
    assert 2 * Time(0.25, "dur") == Time(0.5, "dur")


def test_a_share_of_a_time_has_the_unit_of_the_time() -> None:
    assert Time(0.5, "dur") * Time(10, "ba") == Time(5, "ba")
    assert Time(10, "ba") * "0.5dur" == Time(5, "ba")


def test_two_times_multiply_only_if_one_is_a_share() -> None:
    with pytest.raises(RuntimeError, match="one of the two must be in 'dur'"):
        Time(2, "ba") * Time(2, "ba")


def test_dividing_by_a_time_gives_a_share_and_by_a_number_keeps_the_unit() -> None:
    assert Time(1, "ba") / Time(4, "ba") == Time(0.25, "dur")
    assert Time(5, "ba") / 2 == Time(2, "ba")
    with pytest.raises(RuntimeError, match="different units"):
        Time(1, "ba") / Time(4, "ep")


def test_modulo_keeps_the_unit() -> None:
    assert Time(7, "ba") % Time(4, "ba") == Time(3, "ba")


def test_signs_and_conversions() -> None:
    assert -Time(2, "ba") == Time(-2, "ba")
    assert +Time(2, "ba") == Time(2, "ba")
    assert int(Time(0.9, "dur")) == 0
    assert float(Time(2, "ba")) == 2.0


def test_a_time_pickles() -> None:
    assert pickle.loads(pickle.dumps(Time(0.5, "dur"))) == Time(0.5, "dur")


def test_an_unreadable_time_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError):
        Time.from_timestring("soon")
