"""Seeds and random-number states."""

import os
import random
import sys

import numpy as np
import pytest
import torch

from composer.distributed import comm, reproducibility
from composer.errors import ArgumentTypeError, ConfigError
from tests._dist import run_ranks


def _draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_a_seed_repeats_all_three_generators():
    reproducibility.seed_all(7)
    first = _draw()
    reproducibility.seed_all(7)
    assert _draw() == first
    reproducibility.seed_all(8)
    assert all(a != b for a, b in zip(_draw(), first, strict=True))


@pytest.mark.parametrize("seed", [-1, reproducibility.MAX_SEED + 1])
def test_a_seed_out_of_range_is_refused(seed: int):
    with pytest.raises(ConfigError, match=f"seed={seed} is out of range.*4294967295"):
        reproducibility.seed_all(seed)


def test_the_largest_seed_is_accepted():
    reproducibility.seed_all(reproducibility.MAX_SEED)


@pytest.mark.parametrize("seed", [1.5, True, "3"])
def test_a_seed_that_is_no_whole_number_is_refused(seed: object):
    with pytest.raises(ArgumentTypeError, match="whole number"):
        reproducibility.seed_all(seed)  # pyright: ignore[reportArgumentType]


def test_a_restored_state_goes_on_where_it_was_read():
    reproducibility.seed_all(1)
    state = reproducibility.get_rng_state()
    expected = _draw()
    reproducibility.load_rng_state(state)
    assert _draw() == expected


def test_a_state_that_lost_its_tuples_in_a_file_is_restored():
    state = reproducibility.get_rng_state()
    expected = _draw()
    version, numbers, gauss = state[0]["python"]
    state[0]["python"] = [version, list(numbers), gauss]
    state[0]["numpy"] = list(state[0]["numpy"])
    reproducibility.load_rng_state(state)
    assert _draw() == expected


def test_states_of_another_number_of_ranks_are_left_alone_with_a_warning():
    state = reproducibility.get_rng_state()
    reproducibility.seed_all(5)
    expected = _draw()
    reproducibility.seed_all(5)
    with pytest.warns(UserWarning, match="of 2 ranks and now there are 1"):
        reproducibility.load_rng_state(state * 2)
    assert _draw() == expected


def test_a_seed_context_leaves_the_generators_as_they_were():
    reproducibility.seed_all(3)
    expected = _draw()
    reproducibility.seed_all(3)
    with reproducibility.seed_context(9):
        inside = _draw()
    assert _draw() == expected
    reproducibility.seed_all(9)
    assert _draw() == inside


def test_a_seed_context_puts_the_generators_back_after_an_error():
    reproducibility.seed_all(3)
    expected = _draw()
    reproducibility.seed_all(3)
    with pytest.raises(ZeroDivisionError), reproducibility.seed_context(9):
        _ = random.random() / 0
    assert _draw() == expected


def test_random_seeds_are_in_range_and_disturb_no_generator():
    reproducibility.seed_all(3)
    seeds = {reproducibility.get_random_seed() for _ in range(20)}
    drawn = _draw()
    assert len(seeds) > 10
    assert all(0 <= seed <= reproducibility.MAX_SEED for seed in seeds)
    reproducibility.seed_all(3)
    assert _draw() == drawn


def test_deterministic_mode_is_switched_on_and_warned_of(monkeypatch: pytest.MonkeyPatch):
    cudnn = torch.backends.cudnn
    before = (
        torch.are_deterministic_algorithms_enabled(),
        cudnn.benchmark,
        cudnn.deterministic,
    )
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    try:
        with pytest.warns(UserWarning, match="slower"):
            reproducibility.configure_deterministic_mode()
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(before[0])
        cudnn.benchmark, cudnn.deterministic = before[1:]


def test_the_familiar_path_is_the_same_module():
    import composer.utils.reproducibility as familiar

    assert familiar is sys.modules["composer.distributed.reproducibility"]


def _two_ranks() -> None:
    rank = comm.get_global_rank()
    seed = reproducibility.agree_on_seed()
    assert comm.all_gather_object(seed) == [seed, seed]
    assert reproducibility.agree_on_seed(11 + rank) == 11
    with pytest.raises(ConfigError, match="each of the 2 ranks adds its number"):
        reproducibility.agree_on_seed(reproducibility.MAX_SEED)
    reproducibility.seed_all(11 + rank)
    state = reproducibility.get_rng_state()
    assert len(state) == 2
    mine = _draw()
    reproducibility.load_rng_state(state)
    assert _draw() == mine
    draws = comm.all_gather_object(mine)
    assert draws[0] != draws[1]


def test_each_of_two_ranks_has_its_own_state():
    run_ranks(2, _two_ranks)
