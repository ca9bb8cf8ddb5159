"""Schedules refuse arguments that cannot work when they are made."""

import pytest

from composer.core.time import Time
from composer.optim.schedule_arguments import check_number, check_time


class Thing:
    pass


def test_a_time_may_be_given_as_text_or_as_time():
    assert check_time(Thing(), "t_max", "5ba") == check_time(Thing(), "t_max", Time(5, "ba"))


@pytest.mark.parametrize("value", [5, 0.5, None, ["5ba"]])
def test_a_time_without_a_unit_is_refused(value):
    with pytest.raises(TypeError, match=r"Thing: t_max=.* must be a time with a unit"):
        check_time(Thing(), "t_max", value)


@pytest.mark.parametrize("value", ["5", "5 apples", "1.5ba", "ep"])
def test_text_that_is_no_time_is_refused_naming_the_argument(value):
    with pytest.raises(ValueError, match=f"Thing: t_max='{value}'"):
        check_time(Thing(), "t_max", value)


@pytest.mark.parametrize("value", ["30s", "1h", "5sec"])
def test_clock_times_are_refused(value):
    with pytest.raises(ValueError, match="do not follow the clock"):
        check_time(Thing(), "t_max", value)


@pytest.mark.parametrize("value", ["0ba", "-1ba", "0dur"])
def test_times_that_are_not_positive_are_refused(value):
    with pytest.raises(ValueError, match="must be more than zero"):
        check_time(Thing(), "t_max", value)


def test_zero_passes_where_it_makes_sense():
    assert check_time(Thing(), "t_warmup", "0ba", may_be_zero=True) == Time(0, "ba")
    with pytest.raises(ValueError, match="must be at least zero"):
        check_time(Thing(), "t_warmup", "-1ba", may_be_zero=True)


@pytest.mark.parametrize("value", ["1", None, True, 1j])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match=r"Thing: gamma=.* must be a number"):
        check_number(Thing(), "gamma", value)


@pytest.mark.parametrize(
    ("value", "limits", "message"),
    [
        (float("nan"), {}, "finite"),
        (float("inf"), {}, "finite"),
        (0, {"above": 0}, "more than 0"),
        (-0.1, {"least": 0}, "at least 0"),
    ],
)
def test_numbers_out_of_range_are_refused(value, limits, message):
    with pytest.raises(ValueError, match=message):
        check_number(Thing(), "gamma", value, **limits)


def test_a_good_number_is_returned_as_it_is():
    assert check_number(Thing(), "gamma", 2, above=1, least=2) == 2
