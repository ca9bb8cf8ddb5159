"""A shuffle computed entry by entry is a bijection, looks random, and never changes."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from composer.distributed.permutation import Permutation, mix, mix_each
from composer.errors import ConfigError


def entries(length: int, *key: int) -> list[int]:
    return Permutation(length, *key).take(np.arange(length)).tolist()


@pytest.mark.parametrize("length", [*range(1, 40), 100, 1000, 1023, 1024, 1025, 4099])
def test_every_entry_comes_exactly_once(length: int) -> None:
    for key in range(5):
        assert sorted(entries(length, key, 3)) == list(range(length))


def test_entries_are_the_same_alone_and_together() -> None:
    permutation = Permutation(1000, 7)
    assert [permutation[position] for position in range(0, 1000, 37)] == entries(1000, 7)[::37]


def test_a_huge_one_is_no_slower_and_inverts_nowhere() -> None:
    permutation = Permutation(10**15, 1)
    found = permutation.take(np.arange(10**14, 10**14 + 2000))
    assert len(set(found.tolist())) == 2000
    assert found.max() < 10**15


def test_which_permutation_belongs_to_a_key_never_changes() -> None:
    # Checkpoints of older versions rely on these numbers.
    assert entries(10, 0) == [6, 7, 2, 8, 5, 4, 1, 3, 9, 0]
    assert entries(10, 5, 2) == [4, 7, 8, 5, 0, 9, 3, 1, 2, 6]
    assert [Permutation(10**9, 17, 1)[each] for each in (0, 1, 10**9 - 1)] == [
        499876777,
        572760694,
        986796542,
    ]


@pytest.mark.parametrize("length", [2, 3, 4, 5])
def test_all_orders_of_a_few_entries_are_equally_frequent(length: int) -> None:
    number, kinds = 6000, math.factorial(length)
    counts = Counter(tuple(entries(length, key)) for key in range(number))
    expected = number / kinds
    chi_square = sum((counts[order] - expected) ** 2 / expected for order in counts)
    # Four standard deviations of a chi-square of so many degrees of freedom.
    assert len(counts) == kinds
    assert chi_square < kinds - 1 + 4 * math.sqrt(2 * kinds)


def test_no_entry_prefers_a_place_or_a_neighbour() -> None:
    length, number = 20, 2000
    places, steps = np.zeros((length, length)), np.zeros(length)
    for key in range(number):
        order = np.asarray(entries(length, key))
        places[np.arange(length), order] += 1
        np.add.at(steps, np.diff(order) % length, 1)
    expected = number / length
    assert ((places - expected) ** 2 / expected).sum() < 400 + 4 * math.sqrt(800)
    expected = number
    assert ((steps[1:] - expected) ** 2 / expected).sum() < 19 + 4 * math.sqrt(38)


def test_the_number_of_a_number_never_changes() -> None:
    numbers = [12888727951749679019, 16613338946343043936, 5167718485781182436]
    assert mix_each(np.arange(3), 1, 2).tolist() == numbers
    assert mix_each(np.arange(2, 3), 1, 2).tolist() == numbers[2:]
    assert mix_each(np.arange(3), 2, 1).tolist() != numbers


def test_keys_count_in_their_order() -> None:
    assert entries(50, 1, 2) != entries(50, 2, 1)
    assert mix(1, 2) != mix(2, 1)
    assert mix(-1) == mix(2**64 - 1)


@pytest.mark.parametrize("length", [0, -1, 2**62 + 1])
def test_a_length_out_of_range_is_refused(length: int) -> None:
    with pytest.raises(ConfigError, match="must be from 1"):
        Permutation(length)


@pytest.mark.parametrize("position", [-1, 10])
def test_a_position_out_of_range_is_refused(position: int) -> None:
    with pytest.raises(IndexError, match="not from 0 to 9"):
        Permutation(10)[position]
