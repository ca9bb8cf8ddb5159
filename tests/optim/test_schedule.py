"""Times of schedules become counts, and a schedule is planned once for each run."""

import copy
import pickle

import pytest

from composer.core.time import Time
from composer.optim.curves import LinearScheduler, MultiStepScheduler
from composer.optim.schedule import Run, Schedule
from tests.optim._runs import at, make_state


def resolve(text, max_duration="10ep", batches_per_epoch=7, ssr=1.0):
    limit = None if max_duration is None else Time.from_timestring(max_duration)
    return str(Run(limit, batches_per_epoch, ssr).resolve(Time.from_timestring(text)))


@pytest.mark.parametrize(
    ("text", "max_duration", "ssr", "count"),
    [
        ("1dur", "10ep", 1.0, "70ba"),
        ("0.25dur", "10ep", 1.0, "17ba"),
        ("0.25dur", "10ep", 0.5, "17ba"),
        ("0.5dur", "99ba", 1.0, "49ba"),
        ("0.1dur", "1000tok", 2.0, "100tok"),
        ("3ep", "10ep", 1.0, "21ba"),
        ("3ep", "500sp", 0.5, "10ba"),
        ("9ba", "10ep", 0.5, "4ba"),
        ("100sp", "10ep", 1.5, "150sp"),
        ("100tok", None, 1.0, "100tok"),
        ("2iter", None, 2.0, "4iter"),
    ],
)
def test_a_time_becomes_a_count(text, max_duration, ssr, count):
    assert resolve(text, max_duration, ssr=ssr) == count


def test_a_share_of_a_run_without_length_is_refused():
    with pytest.raises(
        RuntimeError, match=r"'0.5dur' is a share of max_duration, which is not set"
    ):
        resolve("0.5dur", max_duration=None)


@pytest.mark.parametrize("text", ["1ep", "1dur"])
def test_epochs_of_an_unsized_loader_are_refused(text):
    with pytest.raises(RuntimeError, match="data loader without a length"):
        resolve(text, batches_per_epoch=None)


@pytest.mark.parametrize(
    ("max_duration", "batches_per_epoch", "end"),
    [
        ("10ep", 7, Time(70, "ba")),
        ("10ep", None, None),
        (None, 7, None),
        ("5ba", None, Time(5, "ba")),
    ],
)
def test_the_end_of_the_run_is_known_or_none(max_duration, batches_per_epoch, end):
    limit = None if max_duration is None else Time.from_timestring(max_duration)
    found = Run(limit, batches_per_epoch).end()
    assert (found is None) == (end is None)
    assert end is None or found == end


class CountingSchedule(Schedule):
    def __init__(self):
        self.num_plans = 0

    def plan(self, run):
        self.num_plans += 1
        return lambda now: 1.0


def test_a_schedule_is_planned_once_for_a_run():
    schedule, state = CountingSchedule(), make_state()
    for batch in range(5):
        schedule(at(state, batch=batch))
    assert schedule.num_plans == 1


def test_an_equal_run_needs_no_new_plan():
    schedule = CountingSchedule()
    schedule(make_state())
    schedule(make_state())
    assert schedule.num_plans == 1


def test_a_schedule_follows_a_changed_duration():
    schedule, state = LinearScheduler(), at(make_state("8ba"), batch=4)
    assert schedule(state) == 0.5
    state.max_duration = "16ba"
    assert schedule(state) == 0.75


def test_a_schedule_follows_a_changed_loader():
    schedule, state = LinearScheduler(), at(make_state("2ep", num_batches=4), batch=4)
    assert schedule(state) == 0.5
    state.set_dataloader(range(8), "train")
    assert schedule(state) == 0.75


def test_a_schedule_follows_a_changed_ratio():
    schedule, state = LinearScheduler(t_max="8ba"), at(make_state("8ba"), batch=2)
    assert (schedule(state, 1.0), schedule(state, 0.5), schedule(state, 1.0)) == (0.75, 0.5, 0.75)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_a_schedule_that_was_used_can_be_copied(duplicate):
    schedule, state = LinearScheduler(alpha_f=0.5), at(make_state("8ba"), batch=4)
    schedule(state)
    assert duplicate(schedule)(state) == schedule(state) == 0.75


def test_the_text_of_a_schedule_shows_its_arguments():
    schedule = MultiStepScheduler(["1ep", "30ba"])
    schedule(make_state())
    assert repr(schedule) == "MultiStepScheduler(milestones=['1ep', '30ba'], gamma=0.1)"


def test_too_short_a_time_is_refused_with_the_run_it_is_too_short_for():
    with pytest.raises(ValueError, match=r"t_max is less than one batch .*max_duration=8ba"):
        LinearScheduler(t_max="0.1dur")(make_state("8ba"))
