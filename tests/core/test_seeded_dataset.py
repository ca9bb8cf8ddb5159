"""A sample's random numbers depend on the seed, the epoch and its index, and on nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset

from composer.core.seeded_dataset import SeededDataset, find_seeded
from composer.errors import ArgumentTypeError


class Noisy(Dataset[list[float]]):
    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> list[float]:
        return [float(index), torch.rand(()).item(), float(np.random.rand()), random.random()]


def read(data: Dataset[Any], **options: Any) -> list[list[float]]:
    loader: Any = DataLoader(data, batch_size=None, **options)
    return [[float(value) for value in sample] for sample in loader]


def test_a_sample_is_the_same_in_whichever_process() -> None:
    alone = read(SeededDataset(Noisy(), 5))
    assert read(SeededDataset(Noisy(), 5), num_workers=2) == alone
    assert [SeededDataset(Noisy(), 5)[index] for index in range(12)] == alone
    assert len({sample[1] for sample in alone}) == 12


def test_epoch_and_seed_change_it_also_in_workers_that_live_on() -> None:
    data = SeededDataset(Noisy(), 5)
    loader: Any = DataLoader(data, batch_size=None, num_workers=1, persistent_workers=True)
    first = [[float(value) for value in sample] for sample in loader]
    data.set_epoch(1)
    second = [[float(value) for value in sample] for sample in loader]
    assert second == read(data)
    assert all(one[1:] != other[1:] for one, other in zip(first, second, strict=True))
    assert read(SeededDataset(Noisy(), 6)) != first


def test_the_process_that_trains_keeps_its_random_states() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    expected = torch.rand(()), np.random.rand(), random.random()
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    SeededDataset(Noisy())[3]
    assert (torch.rand(()), np.random.rand(), random.random()) == expected


def test_indices_may_be_anything() -> None:
    class Named(Noisy):
        def __getitem__(self, index: Any) -> Any:
            return super().__getitem__(0)

    data = SeededDataset(Named())
    assert data["a"] == data["a"]
    assert data["a"] != data["b"]


def test_it_is_found_inside_other_data_sets() -> None:
    data = SeededDataset(Noisy())
    assert find_seeded(ConcatDataset([Noisy(), Subset(data, [1])])) == [data]
    assert find_seeded(Noisy()) == []


def test_data_that_is_not_read_by_index_is_refused() -> None:
    class Stream(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            return iter(())

    with pytest.raises(ArgumentTypeError, match="Stream is not read by index"):
        SeededDataset(Stream())
