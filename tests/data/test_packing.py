"""Plans of which documents share a window."""

from __future__ import annotations

import numpy as np
import pytest

from composer.data.packing import Packing, plan_packing
from composer.errors import ConfigError, DataError

GENERATOR = np.random.default_rng(3)
LENGTHS = GENERATOR.integers(0, 150, 1000)


def windows(plan: Packing) -> list[list[tuple[int, int, int]]]:
    pieces = list(
        zip(plan.documents.tolist(), plan.starts.tolist(), plan.stops.tolist(), strict=True)
    )
    return [pieces[a:b] for a, b in zip(plan.first, plan.first[1:], strict=False)]


@pytest.mark.parametrize("seed", [None, 7])
@pytest.mark.parametrize("lookahead", [1, 13, 4096])
def test_every_token_lies_in_one_window_and_no_window_overflows(
    seed: int | None, lookahead: int
) -> None:
    plan = plan_packing(LENGTHS, 64, lookahead, seed)
    seen = [np.zeros(length, dtype=int) for length in LENGTHS]
    for window in windows(plan):
        assert 0 < sum(stop - start for _, start, stop in window) <= 64
        for document, start, stop in window:
            seen[document][start:stop] += 1
    assert all((counts == 1).all() for counts in seen)


def test_only_documents_longer_than_a_window_are_cut() -> None:
    plan = plan_packing(LENGTHS, 64)
    pieces = np.bincount(plan.documents, minlength=len(LENGTHS))
    assert (pieces == -(-LENGTHS // 64)).all()


def test_little_room_is_left_unused_and_more_is_with_less_lookahead() -> None:
    lengths = GENERATOR.integers(1, 65, 5000)
    assert plan_packing(lengths, 64).fill > 0.98
    assert plan_packing(lengths, 64, lookahead=1).fill < 0.6


def test_the_fullest_window_with_room_is_taken() -> None:
    assert windows(plan_packing([6, 4, 3, 2, 1], 8)) == [
        [(0, 0, 6), (3, 0, 2)],
        [(1, 0, 4), (2, 0, 3), (4, 0, 1)],
    ]


def test_a_seed_shuffles_documents_the_same_way_each_time() -> None:
    shuffled = plan_packing(LENGTHS, 64, seed=1)
    assert (shuffled.documents == plan_packing(LENGTHS, 64, seed=1).documents).all()
    assert (shuffled.documents != plan_packing(LENGTHS, 64, seed=2).documents).any()


@pytest.mark.parametrize("length", [1, 2.5, True])
def test_a_window_of_no_use_is_refused(length: int) -> None:
    with pytest.raises(ConfigError, match="length"):
        plan_packing([3], length)


@pytest.mark.parametrize("lengths", [[], [0, 0]])
def test_documents_without_a_token_are_refused(lengths: list[int]) -> None:
    with pytest.raises(DataError, match="nothing to pack"):
        plan_packing(lengths, 8)


def test_negative_lengths_are_refused() -> None:
    with pytest.raises(ConfigError, match="-1 tokens"):
        plan_packing([3, -1], 8)
