"""Shares of an epoch's order: equal, disjoint, and gone on with among any number of ranks."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from typing import Any

import numpy as np
import pytest
from torch.utils.data.distributed import DistributedSampler

from composer.distributed import comm
from composer.distributed.sampler import epoch_size, iterate_from, num_left, order_of


class Long:
    """A data set of any length without samples."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length


def sampler(kind: str, length: int, ranks: int, rank: int, **options: Any) -> Any:
    options = {"shuffle": True, "seed": 3, "num_replicas": ranks, "rank": rank, **options}
    if kind == "ours":
        return comm.get_sampler(Long(length), **options)  # pyright: ignore[reportArgumentType]
    return DistributedSampler(Long(length), **options)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("options", [{}, {"drop_last": True}, {"shuffle": False}], ids=str)
@pytest.mark.parametrize("length", [0, 1, 2, 7, 24, 2500])
def test_it_is_as_long_as_torchs_and_gives_all_it_promises(
    length: int, options: dict[str, Any]
) -> None:
    shares = [sampler("ours", length, 3, rank, **options) for rank in range(3)]
    theirs = [sampler("torch", length, 3, rank, **options) for rank in range(3)]
    assert [len(each) for each in shares] == [len(each) for each in theirs]
    assert [len(list(each)) for each in shares] == [len(each) for each in shares]
    if not options.get("shuffle", True) and length:
        assert [list(each) for each in shares] == [list(each) for each in theirs]


def test_torchs_order_is_torchs() -> None:
    for rank in range(3):
        for options in ({}, {"drop_last": True}):
            theirs = sampler("torch", 20, 3, rank, **options)
            theirs.set_epoch(4)
            assert list(iterate_from(theirs, order_of(theirs), 0)) == list(theirs)


@pytest.mark.parametrize(("length", "repeated"), [(242, 0), (240, 2)])
@pytest.mark.parametrize("kind", ["ours", "torch"])
def test_four_then_two_then_three_ranks_give_every_sample_once(
    kind: str, length: int, repeated: int
) -> None:
    cursor = 0
    given: list[int] = []
    for ranks, batches in ((4, 3), (2, 5), (3, None)):
        shares = [sampler(kind, length, ranks, rank) for rank in range(ranks)]
        left = num_left(shares[0], cursor)
        taken = left if batches is None else batches * 8
        for share in shares:
            rest = list(iterate_from(share, order_of(share), cursor))
            assert len(rest) == left
            given += rest[:taken]
        cursor += ranks * taken
    counts = Counter(given)
    assert set(counts) == set(range(length))
    # Only where what is left at the end cannot be shared out equally.
    assert sum(counts.values()) == length + repeated


def test_epochs_and_seeds_shuffle_differently_and_repeatably() -> None:
    own = sampler("ours", 100, 1, 0)
    first = list(own)
    assert list(own) == first
    own.set_epoch(1)
    assert list(own) != first
    assert list(sampler("ours", 100, 1, 0, seed=4)) != first


def test_a_position_far_inside_needs_no_memory() -> None:
    own = sampler("ours", 10**12, 8, 5)
    tracemalloc.start()
    rest = iterate_from(own, order_of(own), 8 * 10**10)
    found = [next(rest) for _ in range(3000)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(set(found)) == 3000
    assert peak < 2**20


def test_an_epoch_may_be_made_of_some_samples_only() -> None:
    shares = [sampler("ours", 10, 2, rank) for rank in (0, 1)]
    for each in shares:
        each.chosen = np.array([1, 4, 5, 8, 9])
    given = [list(each) for each in shares]
    # Five samples for two ranks: the first one comes again.
    assert len(given[0]) == len(given[1]) == 3
    assert {*given[0], *given[1]} == {1, 4, 5, 8, 9}
    rest = [list(iterate_from(each, order_of(each), 2)) for each in shares]
    assert rest == [each[1:] for each in given]
    assert [epoch_size(each) for each in shares] == [len(each) for each in shares] == [5, 5]
    shares[0].chosen = None
    assert epoch_size(shares[0]) == 10
    assert len(list(shares[0])) == 5
