"""Blocks keep the extremes, the mean and what is not finite."""

import math

from hypothesis import given
from hypothesis import strategies as st

from composer.tracking.protocol import rollup

numbers = st.lists(st.floats(), min_size=1, max_size=64)


@given(numbers)
def test_a_block_has_the_extremes_and_counts_of_its_values(values: list[float]) -> None:
    block = rollup.summarise(3, values)
    finite = [value for value in values if math.isfinite(value)]
    assert block.index == 3
    assert block.count == len(finite)
    assert block.nans == sum(map(math.isnan, values))
    assert block.plus == values.count(math.inf)
    assert block.minus == values.count(-math.inf)
    if finite:
        assert (block.low, block.high) == (min(finite), max(finite))
        assert math.isfinite(block.total)


@given(st.lists(numbers, min_size=1, max_size=8))
def test_merged_blocks_are_the_block_of_all_values(parts: list[list[float]]) -> None:
    merged = rollup.merge(0, [rollup.summarise(i, part) for i, part in enumerate(parts)])
    whole = rollup.summarise(0, [value for part in parts for value in part])
    assert merged[4:] == whole[4:]
    if whole.count:
        assert (merged.low, merged.high) == (whole.low, whole.high)


def test_the_mean_is_that_of_the_finite_values() -> None:
    assert rollup.summarise(0, [1.0, math.nan, 3.0, math.inf]).mean == 2.0
    assert math.isnan(rollup.summarise(0, [math.nan]).mean)


@given(st.lists(numbers, max_size=5))
def test_blocks_survive_being_bytes(parts: list[list[float]]) -> None:
    blocks = [rollup.summarise(i, part) for i, part in enumerate(parts)]
    assert repr(rollup.unpack(rollup.pack(blocks))) == repr(blocks)


def test_integers_too_large_for_a_double_count_as_infinite() -> None:
    assert rollup.numbers([1, 2**2000, -(2**2000), "x", None, True]) == [1.0, math.inf, -math.inf]
