"""Schedules with a warmup, against values computed by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.optim.warmup import (
    ConstantWithWarmupScheduler,
    CosineAnnealingWithWarmupScheduler,
    LinearWithWarmupScheduler,
    MultiStepWithWarmupScheduler,
    PolynomialWithWarmupScheduler,
    WarmupStableDecayScheduler,
)
from tests.optim._runs import at, make_state


def values(schedule, counts, max_duration="100ba", num_batches=10, ssr=1.0, unit="batch"):
    state = make_state(max_duration, num_batches)
    return [schedule(at(state, **{unit: count}), ssr) for count in counts]


HALF = math.sqrt(0.5)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (LinearWithWarmupScheduler("20ba"), {0: 0, 5: 0.25, 19: 0.95, 20: 1, 60: 0.5, 100: 0}),
        (
            LinearWithWarmupScheduler("20ba", 0.8, 0.4, "100ba"),
            {10: 0.4, 20: 0.8, 60: 0.6, 100: 0.4, 110: 0.4},
        ),
        (LinearWithWarmupScheduler("2ep"), {10: 0.5, 60: 0.5}),
        (LinearWithWarmupScheduler("0.2dur"), {10: 0.5, 60: 0.5}),
        (LinearWithWarmupScheduler("100ba"), {50: 0.5, 100: 1, 150: 1}),
        (LinearWithWarmupScheduler("200ba"), {50: 0.25, 100: 0.5, 250: 1}),
        (ConstantWithWarmupScheduler("20ba", 0.5), {0: 0, 10: 0.25, 20: 0.5, 99: 0.5}),
        (CosineAnnealingWithWarmupScheduler("20ba"), {10: 0.5, 20: 1, 40: (1 + HALF) / 2, 60: 0.5}),
        (CosineAnnealingWithWarmupScheduler("20ba", "1dur", 0.2), {20: 1, 60: 0.6, 100: 0.2}),
        (PolynomialWithWarmupScheduler("20ba"), {10: 0.5, 20: 1, 60: 0.25, 100: 0}),
        (PolynomialWithWarmupScheduler("20ba", 3, alpha_f=0.5), {20: 1, 60: 0.5625, 100: 0.5}),
        (
            MultiStepWithWarmupScheduler("4ba", ["8ba", "2ep"], 0.5),
            {0: 0, 1: 0.25, 4: 1, 7: 1, 8: 0.5, 19: 0.5, 20: 0.25},
        ),
        (MultiStepWithWarmupScheduler("4ba", ["2ba"], 0.5), {3: 0.75, 4: 0.5}),
        (
            WarmupStableDecayScheduler("10ba", "20ba"),
            {0: 0, 5: 0.5, 10: 1, 80: 1, 81: 0.95, 90: 0.5, 100: 0, 101: 0},
        ),
        (WarmupStableDecayScheduler("1ep", "0.2dur", alpha_f=0.2), {5: 0.5, 90: 0.6, 100: 0.2}),
        (
            WarmupStableDecayScheduler("10ba", "16ba", cooldown="1-sqrt"),
            {84: 1, 85: 0.75, 88: 0.5, 93: 0.25, 100: 0},
        ),
        (
            WarmupStableDecayScheduler("10ba", "16ba", alpha_f=0.2, cooldown="1-sqrt"),
            {84: 1, 88: 0.6, 100: 0.2},
        ),
        (WarmupStableDecayScheduler("50ba", "50ba"), {25: 0.5, 50: 1, 75: 0.5}),
        (WarmupStableDecayScheduler("10ba", "20ba", "200ba"), {100: 1}),
    ],
    ids=repr,
)
def test_the_multiplier_follows_the_formula(schedule, expected):
    assert values(schedule, expected) == pytest.approx(list(expected.values()))


@pytest.mark.parametrize("unit", ["sample", "token"])
def test_schedules_count_in_the_unit_of_the_run(unit):
    short = {"sample": "sp", "token": "tok"}[unit]
    schedule = LinearWithWarmupScheduler(f"20{short}")
    assert values(schedule, [10, 60], f"100{short}", unit=unit) == [0.5, 0.5]


EVERY = [
    LinearWithWarmupScheduler,
    ConstantWithWarmupScheduler,
    CosineAnnealingWithWarmupScheduler,
    PolynomialWithWarmupScheduler,
    lambda w, **k: MultiStepWithWarmupScheduler(w, ["90ba"], **k),
    lambda w, **k: WarmupStableDecayScheduler(w, "5ba", **k),
]
WITH_T_MAX = [make for make in EVERY if make is not EVERY[4]]


@pytest.mark.parametrize("make", EVERY)
def test_the_ratio_leaves_the_warmup_alone(make):
    assert values(make("10ba"), [5, 10], ssr=0.5) == [0.5, 1]


@pytest.mark.parametrize("make", EVERY)
@pytest.mark.parametrize("ssr", [0.5, 2.0])
def test_the_ratio_stretches_the_warmup_if_asked(make, ssr):
    schedule = make("10ba", scale_warmup=True)
    length = int(10 * ssr)
    assert values(schedule, [0, length - 1, length], ssr=ssr) == [0, (length - 1) / length, 1]


@pytest.mark.parametrize("make", EVERY)
def test_an_empty_warmup_warns_and_starts_at_the_top(make):
    with pytest.warns(UserWarning, match="the warmup is empty"):
        assert values(make("0ba"), [0]) == [1]


@pytest.mark.parametrize("make", EVERY)
def test_a_warmup_too_short_for_one_batch_warns(make):
    with pytest.warns(UserWarning, match="the run may be too short for it"):
        values(make("0.001dur"), [0])


@pytest.mark.parametrize("make", WITH_T_MAX)
def test_warmup_and_end_must_have_one_unit(make):
    with pytest.raises(ValueError, match="t_warmup comes to 10sp and t_max to 100ba"):
        values(make("10sp"), [0])


@pytest.mark.parametrize("make", WITH_T_MAX)
def test_a_schedule_that_ends_before_the_run_is_refused(make):
    with pytest.raises(ValueError, match="the schedule ends at 60ba, before the run does at 100ba"):
        values(make("10ba", t_max="60ba"), [0])


@pytest.mark.parametrize("make", WITH_T_MAX)
def test_a_schedule_may_end_after_the_run(make):
    assert values(make("10ba", t_max="200ba"), [5]) == [0.5]


def test_a_schedule_shorter_than_a_run_in_another_unit_cannot_be_told():
    assert values(LinearWithWarmupScheduler("10ba", t_max="20ba"), [5], "9000sp") == [0.5]


@pytest.mark.parametrize(
    ("warmup", "cooldown"), [("60ba", "60ba"), ("10ba", "95ba"), ("10ba", "5sp")]
)
def test_a_cooldown_that_does_not_fit_is_refused(warmup, cooldown):
    with pytest.raises(ValueError, match="do not fit into 100ba"):
        values(WarmupStableDecayScheduler(warmup, cooldown), [0])


def test_the_ratio_stretches_the_cooldown():
    assert values(WarmupStableDecayScheduler("10ba", "20ba"), [90, 95], ssr=0.5) == [1, 0.5]


def test_an_unknown_cooldown_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown cooldown shape 'sqrt'.*'1-sqrt'"):
        WarmupStableDecayScheduler("10ba", "20ba", cooldown="sqrt")  # pyright: ignore


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearWithWarmupScheduler("-1ba"), "t_warmup"),
        (lambda: LinearWithWarmupScheduler("10s"), "t_warmup"),
        (lambda: LinearWithWarmupScheduler("1ba", -1), "alpha_i"),
        (lambda: LinearWithWarmupScheduler("1ba", 1, -1), "alpha_f"),
        (lambda: LinearWithWarmupScheduler("1ba", t_max="0ba"), "t_max"),
        (lambda: ConstantWithWarmupScheduler("1ba", -1), "alpha"),
        (lambda: CosineAnnealingWithWarmupScheduler("1ba", alpha_f=-1), "alpha_f"),
        (lambda: PolynomialWithWarmupScheduler("1ba", 0), "power"),
        (lambda: MultiStepWithWarmupScheduler("1ba", ["2ba"], 0), "gamma"),
        (lambda: WarmupStableDecayScheduler("1ba", "0ba"), "t_cooldown"),
    ],
)
def test_arguments_out_of_range_are_refused_at_once(make, message):
    with pytest.raises(ValueError, match=message):
        make()


lengths = st.integers(1, 900)
shares = st.floats(0, 1)
smooth = st.sampled_from(
    [
        lambda w, a: LinearWithWarmupScheduler(f"{w}ba", alpha_f=a),
        lambda w, a: CosineAnnealingWithWarmupScheduler(f"{w}ba", alpha_f=a),
        lambda w, a: PolynomialWithWarmupScheduler(f"{w}ba", alpha_f=a),
        lambda w, a: WarmupStableDecayScheduler(f"{w}ba", "100ba", alpha_f=a),
        lambda w, a: WarmupStableDecayScheduler(f"{w}ba", "100ba", alpha_f=a, cooldown="1-sqrt"),
    ]
)


@given(make=smooth, warmup=lengths, alpha_f=shares)
def test_there_is_no_jump_where_the_warmup_ends(make, warmup, alpha_f):
    before, at_switch = values(make(warmup, alpha_f), [warmup - 1, warmup], "1000ba")
    assert at_switch == pytest.approx(1)
    assert at_switch - before == pytest.approx(1 / warmup)


@given(make=smooth, warmup=lengths, alpha_f=shares, counts=st.tuples(*[st.integers(0, 1100)] * 2))
def test_the_multiplier_rises_during_the_warmup_and_never_after(make, warmup, alpha_f, counts):
    early, late = sorted(counts)
    schedule = make(warmup, alpha_f)
    before, after = values(schedule, [early, late], "1000ba")
    if late <= warmup:
        assert after >= before
    elif early >= warmup:
        assert after <= before + 1e-12


@given(make=smooth, warmup=lengths, alpha_f=shares, count=st.integers(0, 1100))
def test_the_multiplier_stays_between_zero_and_one(make, warmup, alpha_f, count):
    value = values(make(warmup, alpha_f), [count], "1000ba")[0]
    lowest = 0 if count < warmup else alpha_f
    assert lowest - 1e-12 <= value <= 1 + 1e-12
