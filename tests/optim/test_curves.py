"""Schedules without a warmup, against values computed by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.optim.curves import (
    ConstantScheduler,
    CosineAnnealingScheduler,
    CosineAnnealingWarmRestartsScheduler,
    ExponentialScheduler,
    LinearScheduler,
    MultiStepScheduler,
    PolynomialScheduler,
    StepScheduler,
)
from tests.optim._runs import at, make_state


def values(schedule, counts, max_duration="100ba", num_batches=10, ssr=1.0, unit="batch"):
    state = make_state(max_duration, num_batches)
    return [schedule(at(state, **{unit: count}), ssr) for count in counts]


HALF = math.sqrt(0.5)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (StepScheduler("2ba"), {0: 1, 1: 1, 2: 0.1, 3: 0.1, 4: 0.01}),
        (StepScheduler("1ep", gamma=0.5), {9: 1, 10: 0.5, 19: 0.5, 20: 0.25}),
        (StepScheduler("0.5dur", gamma=2), {49: 1, 50: 2}),
        (MultiStepScheduler(["5ba", "1ep"], 0.5), {4: 1, 5: 0.5, 9: 0.5, 10: 0.25, 99: 0.25}),
        (MultiStepScheduler(["1ep", "5ba"], 0.5), {4: 1, 5: 0.5, 10: 0.25}),
        (MultiStepScheduler([]), {50: 1}),
        (ConstantScheduler(), {0: 1, 99: 1}),
        (ConstantScheduler(0.3, "5ba"), {0: 0.3, 4: 0.3, 5: 1, 6: 1}),
        (ConstantScheduler(0.3, "0ba"), {0: 1}),
        (LinearScheduler(), {0: 1, 25: 0.75, 100: 0, 120: 0}),
        (LinearScheduler(0.5, 2, "10ba"), {0: 0.5, 5: 1.25, 10: 2, 11: 2}),
        (ExponentialScheduler(0.25), {0: 1, 5: 0.5, 10: 0.25, 20: 0.0625}),
        (ExponentialScheduler(0.25, "4ba"), {1: HALF, 2: 0.5}),
        (CosineAnnealingScheduler(), {0: 1, 25: (1 + HALF) / 2, 50: 0.5, 100: 0, 150: 0}),
        (CosineAnnealingScheduler("10ba", 0.2), {0: 1, 5: 0.6, 10: 0.2, 11: 0.2}),
        (PolynomialScheduler(2), {0: 1, 50: 0.25, 75: 0.0625, 100: 0, 101: 0}),
        (PolynomialScheduler(3, "10ba", 0.5), {0: 1, 5: 0.5625, 10: 0.5}),
        (CosineAnnealingWarmRestartsScheduler("10ba"), {0: 1, 5: 0.5, 10: 1, 15: 0.5, 90: 1}),
        (
            CosineAnnealingWarmRestartsScheduler("10ba", 2.0, 0.2),
            {0: 1, 5: 0.6, 10: 1, 20: 0.6, 30: 1, 50: 0.6, 70: 1},
        ),
        (CosineAnnealingWarmRestartsScheduler("5ba", 1.5), {5: 1, 12: 1, 22: 1}),
    ],
    ids=repr,
)
def test_the_multiplier_follows_the_formula(schedule, expected):
    assert values(schedule, expected) == pytest.approx(list(expected.values()))


@pytest.mark.parametrize("unit", ["sample", "token"])
def test_schedules_count_in_the_unit_of_the_run(unit):
    short = {"sample": "sp", "token": "tok"}[unit]
    assert values(LinearScheduler(), [0, 25, 50], f"100{short}", unit=unit) == [1, 0.75, 0.5]


def test_milestones_may_be_in_different_units():
    state = make_state("100ba")
    schedule = MultiStepScheduler(["5ba", "1000sp"], 0.5)
    assert schedule(at(state, batch=5, sample=999)) == 0.5
    assert schedule(at(state, batch=5, sample=1000)) == 0.25


def test_the_ratio_stretches_times_but_not_shares():
    assert values(LinearScheduler(t_max="10ba"), [5], ssr=2) == [0.75]
    assert values(LinearScheduler(), [50], ssr=2) == [0.5]
    assert values(MultiStepScheduler(["3ba"], 0.5), [0, 1], ssr=0.5) == [1, 0.5]


def test_restarts_work_backwards_in_time_too():
    schedule = CosineAnnealingWarmRestartsScheduler("10ba", 2)
    assert values(schedule, [75, 5, 30]) == pytest.approx([values(schedule, [75])[0], 0.5, 1])


def test_restarts_that_shrink_to_nothing_within_the_run_are_refused():
    with pytest.raises(ValueError, match="shrink to nothing at 18"):
        values(CosineAnnealingWarmRestartsScheduler("10ba", 0.5), [0])


def test_restarts_that_shrink_only_after_the_run_are_fine():
    assert values(CosineAnnealingWarmRestartsScheduler("10ba", 0.5), [17], "18ba") == [1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StepScheduler("0ba"), "step_size"),
        (lambda: StepScheduler("1ep", 0), "gamma"),
        (lambda: MultiStepScheduler(["-1ep"]), "milestones"),
        (lambda: MultiStepScheduler(["1ep"], -1), "gamma"),
        (lambda: ConstantScheduler(-1), "alpha"),
        (lambda: LinearScheduler(alpha_i=-1), "alpha_i"),
        (lambda: LinearScheduler(alpha_f=-1), "alpha_f"),
        (lambda: LinearScheduler(t_max="0ba"), "t_max"),
        (lambda: ExponentialScheduler(0), "gamma"),
        (lambda: ExponentialScheduler(0.5, "0ep"), "decay_period"),
        (lambda: CosineAnnealingScheduler("10s"), "t_max"),
        (lambda: CosineAnnealingWarmRestartsScheduler("1ep", 0), "t_mult"),
        (lambda: PolynomialScheduler(0), "power"),
    ],
)
def test_arguments_out_of_range_are_refused_at_once(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_milestones_that_are_one_text_are_refused():
    with pytest.raises(TypeError, match="must be a list of times"):
        MultiStepScheduler("10ba")


shares = st.floats(0, 1)
counts = st.integers(0, 1000)
falling = st.one_of(
    st.builds(lambda a: LinearScheduler(alpha_f=a), shares),
    st.builds(lambda a: CosineAnnealingScheduler(alpha_f=a), shares),
    st.builds(lambda p, a: PolynomialScheduler(p, alpha_f=a), st.floats(0.1, 5), shares),
)


@given(schedule=falling, first=counts, second=counts)
def test_annealing_never_rises(schedule, first, second):
    early, late = values(schedule, sorted([first, second]), "1000ba")
    assert late <= early + 1e-12


@given(schedule=falling, count=st.integers(0, 2000))
def test_annealing_stays_between_its_ends(schedule, count):
    assert schedule.alpha_f - 1e-12 <= values(schedule, [count], "1000ba")[0] <= 1 + 1e-12


@given(t_0=st.integers(1, 50), t_mult=st.floats(1, 3), alpha_f=shares, count=st.integers(0, 500))
def test_restarts_stay_between_their_ends(t_0, t_mult, alpha_f, count):
    schedule = CosineAnnealingWarmRestartsScheduler(f"{t_0}ba", t_mult, alpha_f)
    assert alpha_f - 1e-12 <= values(schedule, [count])[0] <= 1 + 1e-12
