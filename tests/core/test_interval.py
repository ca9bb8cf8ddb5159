"""Intervals, asked event by event."""

import copy
import datetime
import pickle
from itertools import pairwise
from types import SimpleNamespace

import pytest

from composer.core.event import Event
from composer.core.interval import create_interval_scheduler, parse_interval
from composer.core.time import Time, Timestamp, TimeUnit
from composer.errors import ConfigError, StateError


def state(now, previous, max_duration="100ba", dataloader_len=10):
    """A state whose counters moved from `previous` to `now`."""
    return SimpleNamespace(
        timestamp=Timestamp(**now),
        previous_timestamp=None if previous is None else Timestamp(**previous),
        max_duration=None if max_duration is None else Time.from_timestring(max_duration),
        dataloader_len=None if dataloader_len is None else Time(dataloader_len, "ba"),
    )


def due_batches(scheduler, num_batches, event=Event.BATCH_CHECKPOINT, **options):
    """The batches after which a scheduler says yes."""
    return [
        batch
        for batch in range(1, num_batches + 1)
        if scheduler(state({"batch": batch}, {"batch": batch - 1}, **options), event)
    ]


class TestCounts:
    def test_every_third_batch(self):
        assert due_batches(create_interval_scheduler("3ba"), 10) == [3, 6, 9]

    def test_a_threshold_that_is_jumped_over_counts(self):
        scheduler = create_interval_scheduler("100sp")
        samples = [0, 60, 120, 180, 240, 460]
        asked = [
            scheduler(state({"sample": b}, {"sample": a}), Event.BATCH_CHECKPOINT)
            for a, b in pairwise(samples)
        ]
        assert asked == [False, True, False, True, True]

    @pytest.mark.parametrize(
        ("interval", "counter", "event", "end_event"),
        [
            ("2ba", "batch", Event.BATCH_CHECKPOINT, Event.BATCH_END),
            ("2sp", "sample", Event.BATCH_CHECKPOINT, Event.BATCH_END),
            ("2tok", "token", Event.BATCH_CHECKPOINT, Event.BATCH_END),
            ("2ep", "epoch", Event.EPOCH_CHECKPOINT, Event.EPOCH_END),
            ("2iter", "iteration", Event.ITERATION_CHECKPOINT, Event.ITERATION_END),
        ],
    )
    def test_each_unit_has_its_event(self, interval, counter, event, end_event):
        moved = state({counter: 2}, {counter: 1}, max_duration="99ep")
        for checkpoint_events, expected in ((True, event), (False, end_event)):
            for asked in Event:
                scheduler = create_interval_scheduler(interval, checkpoint_events=checkpoint_events)
                assert scheduler(moved, asked) is (asked is expected)

    def test_a_bare_number_counts_epochs(self):
        scheduler = create_interval_scheduler(1)
        assert scheduler(state({"epoch": 1}, {"epoch": 0}), Event.EPOCH_CHECKPOINT)

    def test_seconds_are_seconds_of_training(self):
        scheduler = create_interval_scheduler("30s")

        def at(a, b):
            seconds = datetime.timedelta
            times = {"total_wct": seconds(seconds=b)}, {"total_wct": seconds(seconds=a)}
            return scheduler(state(*times), Event.BATCH_CHECKPOINT)

        assert not at(10, 29.9)
        assert at(29.9, 30.1)
        assert not at(30.1, 59)

    @pytest.mark.parametrize("interval", [0, -1, "0ba", "-5ba", "0dur"])
    def test_zero_and_less_are_never(self, interval):
        scheduler = create_interval_scheduler(interval)
        for event in Event:
            assert not scheduler(state({"batch": 100, "epoch": 1}, {"batch": 99}), event)

    def test_before_the_first_batch_nothing_is_due(self):
        scheduler = create_interval_scheduler("1ba")
        assert not scheduler(state({"batch": 1}, None), Event.BATCH_CHECKPOINT)


class TestEndOfTraining:
    def test_the_end_is_due_though_no_interval_has_passed(self):
        assert due_batches(create_interval_scheduler("60ba"), 100) == [60, 100]

    def test_the_end_may_be_left_out(self):
        scheduler = create_interval_scheduler("60ba", include_end_of_training=False)
        assert due_batches(scheduler, 100) == [60]

    def test_the_end_is_noticed_on_the_events_named(self):
        scheduler = create_interval_scheduler("60ba", final_events={Event.FIT_END})
        assert due_batches(scheduler, 100) == [60]
        assert due_batches(scheduler, 100, event=Event.FIT_END) == [100]

    def test_the_end_is_reported_once(self):
        scheduler = create_interval_scheduler("7ba")
        last = state({"batch": 100}, {"batch": 99})
        assert scheduler(last, Event.BATCH_CHECKPOINT)
        assert not scheduler(last, Event.EPOCH_CHECKPOINT)

    def test_asking_twice_on_one_event_gives_the_same_answer(self):
        scheduler = create_interval_scheduler("7ba")
        last = state({"batch": 100}, {"batch": 99})
        assert [scheduler(last, Event.BATCH_CHECKPOINT) for _ in range(3)] == [True] * 3
        other = state({"batch": 14}, {"batch": 13})
        assert [scheduler(other, Event.BATCH_CHECKPOINT) for _ in range(3)] == [True] * 3

    def test_a_run_in_epochs_ends_at_an_epoch(self):
        scheduler = create_interval_scheduler("4ba")
        ends = {"batch": 10, "epoch": 1}, {"batch": 10}
        assert not scheduler(state({"batch": 10}, {"batch": 9}, "1ep"), Event.BATCH_CHECKPOINT)
        assert scheduler(state(*ends, "1ep"), Event.EPOCH_CHECKPOINT)

    def test_a_run_that_went_past_its_end_is_at_its_end(self):
        scheduler = create_interval_scheduler("1ep")
        over = state({"sample": 130}, {"sample": 90}, "100sp")
        assert scheduler(over, Event.BATCH_CHECKPOINT)

    def test_without_a_max_duration_there_is_no_end(self):
        assert due_batches(create_interval_scheduler("60ba"), 100, max_duration=None) == [60]


class TestShareOfTheRun:
    def test_a_share_of_batches(self):
        assert due_batches(create_interval_scheduler("0.25dur"), 100) == [25, 50, 75, 100]

    def test_a_share_of_epochs_is_counted_in_batches(self):
        scheduler = create_interval_scheduler("0.5dur", include_end_of_training=False)
        assert due_batches(scheduler, 30, max_duration="3ep", dataloader_len=10) == [15, 30]

    def test_a_share_that_is_whole_but_for_rounding_is_whole(self):
        scheduler = create_interval_scheduler("0.1dur", include_end_of_training=False)
        due = due_batches(scheduler, 30, max_duration="3ep", dataloader_len=10)
        assert due == list(range(3, 31, 3))

    def test_a_share_that_is_not_whole_is_rounded_up(self):
        scheduler = create_interval_scheduler("0.3dur", include_end_of_training=False)
        assert due_batches(scheduler, 11, max_duration="11ba") == [4, 8]

    def test_a_share_below_one_batch_is_every_batch(self):
        scheduler = create_interval_scheduler("0.01dur")
        assert due_batches(scheduler, 3, max_duration="3ba") == [1, 2, 3]

    @pytest.mark.parametrize("counter", ["sample", "token"])
    def test_a_share_of_samples_and_tokens_is_a_threshold(self, counter):
        scheduler = create_interval_scheduler("0.5dur", include_end_of_training=False)
        unit = {"sample": "sp", "token": "tok"}[counter]

        def at(a, b):
            moved = state({counter: b}, {counter: a}, f"100{unit}", dataloader_len=None)
            return scheduler(moved, Event.BATCH_CHECKPOINT)

        assert [at(0, 40), at(40, 80), at(80, 99)] == [False, True, False]

    def test_a_share_of_epochs_needs_a_loader_with_a_length(self):
        scheduler = create_interval_scheduler("0.5dur")
        with pytest.raises(StateError, match="needs a dataloader with a length"):
            scheduler(state({"batch": 1}, {}, "3ep", None), Event.BATCH_CHECKPOINT)

    def test_a_share_needs_something_to_be_a_share_of(self):
        scheduler = create_interval_scheduler("0.5dur")
        with pytest.raises(StateError, match="max_duration"):
            scheduler(state({"batch": 1}, {}, None), Event.BATCH_CHECKPOINT)

    def test_a_share_of_iterations_is_refused(self):
        scheduler = create_interval_scheduler("0.5dur")
        with pytest.raises(StateError, match="2iter"):
            scheduler(state({"batch": 1}, {}, "2iter"), Event.BATCH_CHECKPOINT)


class TestObject:
    def test_it_shows_its_interval(self):
        assert repr(create_interval_scheduler("500ba")) == "IntervalScheduler('500ba')"

    @pytest.mark.parametrize("clone", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
    def test_a_copy_works_alone(self, clone):
        scheduler = create_interval_scheduler("3ba")
        copied = clone(scheduler)
        last = state({"batch": 100}, {"batch": 99})
        assert scheduler(last, Event.BATCH_CHECKPOINT)
        assert copied(last, Event.EPOCH_CHECKPOINT)


class TestParse:
    def test_times_texts_and_numbers_are_read(self):
        assert parse_interval("500ba") == Time(500, "ba")
        assert parse_interval(3) == Time(3, "ep")
        assert parse_interval(3, default_unit=TimeUnit.BATCH) == Time(3, "ba")
        assert parse_interval(Time(2, "tok")) == Time(2, "tok")

    def test_a_wrong_text_is_shown_with_the_name_of_the_argument(self):
        with pytest.raises(ValueError, match="500") as caught:
            parse_interval("500", name="save_interval")
        assert "save_interval='500'" in "".join(caught.value.__notes__)

    def test_a_unit_that_makes_no_sense_is_refused(self):
        with pytest.raises(ConfigError, match=r"log_interval='3tok' .* 'ep', 'ba'"):
            parse_interval("3tok", "log_interval", units=[TimeUnit.EPOCH, TimeUnit.BATCH])

    def test_another_type_is_refused(self):
        with pytest.raises(TypeError):
            parse_interval(None)
