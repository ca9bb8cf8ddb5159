from __future__ import annotations

import copy
import datetime
import pickle
from typing import Any

import pytest

from composer.core.time import Time, Timestamp, TimeUnit
from composer.errors import ConfigError, TimeUnitError

SECOND = datetime.timedelta(seconds=1)
somewhere = Timestamp(
    iteration=1, epoch=2, batch=3, sample=4, token=5, epoch_in_iteration=6, token_in_iteration=7,
    batch_in_epoch=8, sample_in_epoch=9, token_in_epoch=10, total_wct=11 * SECOND,
    iteration_wct=12 * SECOND, epoch_wct=13 * SECOND, batch_wct=14 * SECOND,
)  # fmt: skip


def test_a_new_timestamp_is_zero_everywhere() -> None:
    assert not any(Timestamp().state_dict().values())


def test_the_next_batch_moves_counts_and_clocks() -> None:
    after = somewhere.to_next_batch(samples=100, tokens=1000, duration=SECOND)
    assert after == somewhere.copy(
        batch=4, batch_in_epoch=9, sample=104, sample_in_epoch=109, token=1005,
        token_in_epoch=1010, token_in_iteration=1007, total_wct=12 * SECOND,
        iteration_wct=13 * SECOND, epoch_wct=14 * SECOND, batch_wct=SECOND,
    )  # fmt: skip


def test_the_next_epoch_begins_with_nothing_done_in_it() -> None:
    after = somewhere.to_next_epoch(SECOND)
    zero = datetime.timedelta()
    assert after == somewhere.copy(
        epoch=3, epoch_in_iteration=7, batch_in_epoch=0, sample_in_epoch=0, token_in_epoch=0,
        total_wct=12 * SECOND, iteration_wct=13 * SECOND, epoch_wct=zero, batch_wct=zero,
    )  # fmt: skip


def test_the_next_iteration_begins_with_nothing_done_in_it() -> None:
    after = somewhere.to_next_iteration(SECOND)
    zero = datetime.timedelta()
    assert after == somewhere.copy(
        iteration=2, epoch_in_iteration=0, token_in_iteration=0, batch_in_epoch=0,
        sample_in_epoch=0, token_in_epoch=0, total_wct=12 * SECOND, iteration_wct=zero,
        epoch_wct=zero, batch_wct=zero,
    )  # fmt: skip


def test_moving_on_leaves_the_old_timestamp_as_it_was() -> None:
    before = somewhere.state_dict()
    somewhere.to_next_batch(1), somewhere.to_next_epoch(), somewhere.to_next_iteration()
    assert somewhere.state_dict() == before


def test_samples_may_be_given_as_a_time_or_a_whole_float() -> None:
    assert Timestamp().to_next_batch(Time(3, "sp"), Time(4, "tok")).token == Time(4, "tok")
    assert Timestamp().to_next_batch(3.0).sample == Time(3, "sp")


@pytest.mark.parametrize(
    ("unit", "count"),
    [("iter", 1), ("ep", 2), ("ba", 3), ("sp", 4), ("tok", 5), ("sec", 11)],
)
def test_each_unit_has_its_counter(unit: str, count: int) -> None:
    assert somewhere.get(unit) == Time(count, unit)
    assert somewhere.count(TimeUnit(unit)) == count


def test_no_counter_counts_shares_of_the_run() -> None:
    with pytest.raises(ConfigError, match="get_elapsed_duration"):
        somewhere.get("dur")


def test_a_timestamp_compares_with_times_of_any_unit() -> None:
    assert somewhere < "4ba"
    assert somewhere <= Time(3, "ba")
    assert somewhere > Time(1, "ep")
    assert somewhere >= "2ep"
    assert somewhere == "4sp"
    assert somewhere != Time(5, "sp")


def test_timestamps_are_equal_when_all_counters_are() -> None:
    assert somewhere.copy() == somewhere
    assert hash(somewhere.copy()) == hash(somewhere)
    assert somewhere.copy(batch_wct=SECOND) != somewhere


@pytest.mark.parametrize("other", [3, somewhere])
def test_a_timestamp_has_no_order_with_numbers_or_other_timestamps(other: Any) -> None:
    with pytest.raises(TypeError, match="compares with a Time"):
        assert somewhere < other


def test_a_copy_refuses_a_counter_there_is_not() -> None:
    with pytest.raises(TypeError, match="bach"):
        somewhere.copy(bach=3)


def test_a_counter_in_a_wrong_unit_is_refused() -> None:
    with pytest.raises((ConfigError, TimeUnitError), match="epoch="):
        Timestamp(epoch=Time(3, "ba"))


def test_a_clock_takes_only_a_timedelta() -> None:
    with pytest.raises(TypeError, match="batch_wct"):
        Timestamp(batch_wct=3)  # pyright: ignore[reportArgumentType]


def test_the_state_dict_holds_plain_integers_and_timedeltas() -> None:
    state = somewhere.state_dict()
    assert {type(value) for value in state.values()} == {int, datetime.timedelta}
    assert len(state) == 14


def test_loading_gives_the_same_timestamp() -> None:
    loaded = Timestamp()
    loaded.load_state_dict(somewhere.state_dict())
    assert loaded == somewhere


def test_a_state_dict_without_iterations_and_clocks_loads() -> None:
    old = {
        name: value
        for name, value in somewhere.state_dict().items()
        if "iteration" not in name and "wct" not in name
    }
    loaded = somewhere.copy()
    loaded.load_state_dict(old)
    assert loaded.batch == somewhere.batch
    assert loaded.iteration == Time(0, "iter")
    assert loaded.total_wct == datetime.timedelta()


def test_durations_in_seconds_load() -> None:
    loaded = Timestamp()
    loaded.load_state_dict({"total_wct": 2.5})
    assert loaded.total_wct == datetime.timedelta(seconds=2.5)


def test_a_timestamp_pickles_and_copies() -> None:
    assert pickle.loads(pickle.dumps(somewhere)) == somewhere
    assert copy.deepcopy(somewhere) == somewhere


def test_the_text_says_where_training_stands() -> None:
    assert str(somewhere) == "epoch 2, batch 3 (8 in epoch)"
    assert "batch_wct" in repr(somewhere)
