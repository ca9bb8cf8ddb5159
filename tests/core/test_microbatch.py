from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from composer.core.microbatch import Microbatcher, check_microbatch_size
from composer.errors import ConfigError, TrainingError


def fits_up_to(limit: int, microbatcher: Microbatcher, seen: list[Any]) -> Callable[[], Any]:
    """Return an attempt that runs out of memory above a size, after drawing random numbers."""

    def attempt() -> Any:
        drawn = (torch.rand(1).item(), random.random(), np.random.rand())
        seen.append((microbatcher.size, drawn))
        assert microbatcher.size is not None
        if microbatcher.size > limit:
            raise torch.OutOfMemoryError("no more")
        return "done"

    return attempt


def nothing() -> None:
    pass


@pytest.mark.parametrize("size", [1, 2.5, "auto", None])
def test_sizes_that_can_be_are_accepted(size: Any) -> None:
    check_microbatch_size(size)


@pytest.mark.parametrize("size", [0, -1, "all", True, [4]])
def test_what_is_no_size_is_refused(size: Any) -> None:
    with pytest.raises(ConfigError, match=r"device_train_microbatch_size=.*positive number"):
        check_microbatch_size(size)


def test_a_fixed_size_lets_out_of_memory_through() -> None:
    microbatcher = Microbatcher(8, automatic=False)
    with pytest.raises(torch.OutOfMemoryError):
        microbatcher.run(lambda: 8, fits_up_to(4, microbatcher, []), nothing)


def test_the_size_is_halved_until_it_fits() -> None:
    microbatcher, seen, sizes = Microbatcher(16, automatic=True), [], []
    microbatcher._on_change = sizes.append
    assert microbatcher.run(lambda: 16, fits_up_to(5, microbatcher, seen), nothing) == "done"
    assert [size for size, _ in seen] == [16, 8, 4]
    assert sizes == [8, 4]
    assert microbatcher.size == 4


def test_without_a_size_it_starts_from_the_whole_batch() -> None:
    microbatcher, seen = Microbatcher(None, automatic=True), []
    microbatcher.run(lambda: 6, fits_up_to(3, microbatcher, seen), nothing)
    assert [size for size, _ in seen] == [6, 3]


def test_the_size_never_grows_back() -> None:
    microbatcher, seen = Microbatcher(8, automatic=True), []
    microbatcher.run(lambda: 8, fits_up_to(4, microbatcher, seen), nothing)
    microbatcher.run(lambda: 8, fits_up_to(100, microbatcher, seen), nothing)
    assert seen[-1][0] == 4


def test_a_batch_is_done_again_with_the_same_random_numbers() -> None:
    microbatcher, seen = Microbatcher(8, automatic=True), []
    microbatcher.run(lambda: 8, fits_up_to(2, microbatcher, seen), nothing)
    assert len({drawn for _, drawn in seen}) == 1


def test_what_an_attempt_changed_is_undone_before_the_next() -> None:
    microbatcher, order = Microbatcher(8, automatic=True), []
    attempt = fits_up_to(2, microbatcher, [])

    def noted() -> Any:
        order.append("attempt")
        return attempt()

    microbatcher.run(lambda: 8, noted, lambda: order.append("undo"))
    assert order == ["attempt", "undo", "attempt", "undo", "attempt"]


def test_one_sample_that_does_not_fit_is_an_error_with_advice() -> None:
    microbatcher = Microbatcher(4, automatic=True, label="the_size")
    with pytest.raises(TrainingError, match="the_size=1: one sample does not fit"):
        microbatcher.run(lambda: 4, fits_up_to(0, microbatcher, []), nothing)


def test_other_errors_pass_through() -> None:
    microbatcher = Microbatcher(4, automatic=True)

    def broken() -> None:
        raise RuntimeError("CUDA out of memory, says the text")

    with pytest.raises(RuntimeError, match="says the text"):
        microbatcher.run(lambda: 4, broken, nothing)
    assert microbatcher.size == 4


def test_a_new_size_is_told_to_the_reader_of_logs(caplog: pytest.LogCaptureFixture) -> None:
    microbatcher = Microbatcher(8, automatic=True)
    with caplog.at_level(logging.INFO, "composer"):
        microbatcher.run(lambda: 8, fits_up_to(4, microbatcher, []), nothing)
    assert "device_train_microbatch_size is now 4" in caplog.text


def test_two_batches_that_flush_the_allocators_cache_halve_the_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    retries = iter([0, 1, 2, 2])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", nothing)
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda: {"num_alloc_retries": next(retries)})
    microbatcher = Microbatcher(8, automatic=True)
    sizes = []
    for _ in range(4):
        microbatcher.run(lambda: 8, nothing, nothing)
        sizes.append(microbatcher.size)
    assert sizes == [8, 8, 4, 4]
