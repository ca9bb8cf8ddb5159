"""Random transforms that give a sample the same numbers however its reading was interrupted."""

from __future__ import annotations

import random
from collections.abc import Sized
from typing import Any, Generic, TypeVar, cast

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from composer.distributed.permutation import mix
from composer.errors import ArgumentTypeError

__all__ = ["SeededDataset", "find_seeded"]

T = TypeVar("T")


class SeededDataset(Dataset[T], Generic[T]):
    """Lets a map-style data set draw its random numbers from the seed, the epoch and the index.

    A data set that flips, crops or masks at random draws from the generators of the process that
    reads it. Worker processes start with fresh ones, and where those would stand after a thousand
    batches nobody can say without reading a thousand batches. In this wrapper Python's, numpy's
    and torch's global generators are seeded before each sample is read, so that a sample looks the
    same in whichever process, after whatever interruption, and with any number of workers or ranks.
    In the process that trains, they are put back afterwards.

    The Trainer tells it the epoch. Generators that a transform keeps for itself are not seeded.

    Args:
        dataset: the data set, which must have a length and be read by index.
        seed: any whole number; the same on all ranks.

    Raises:
        TypeError: the data set is iterable; it must seed itself.

    Example:
        >>> import torch
        >>> class Noisy(torch.utils.data.Dataset):
        ...     def __len__(self):
        ...         return 4
        ...
        ...     def __getitem__(self, index):
        ...         return index + torch.rand(())
        >>> data = SeededDataset(Noisy(), seed=1)
        >>> bool(data[2] == data[2])
        True
    """

    def __init__(self, dataset: Dataset[T], seed: int = 0) -> None:
        if isinstance(dataset, IterableDataset) or not isinstance(dataset, Sized):
            raise ArgumentTypeError(
                f"a {type(dataset).__name__} is not read by index, so nothing says which sample it "
                "is about to draw numbers for; seed it where it makes its samples"
            )
        self.dataset = dataset
        self.seed = seed
        # Shared with worker processes, which live on from one epoch to the next.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        """The epoch samples are read for."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch samples are read for from now on; the Trainer does so."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(cast("Sized", self.dataset))

    def __getitem__(self, index: Any) -> T:
        # A worker's own state is of no use to anybody, and putting it back would take longer.
        if get_worker_info() is not None:
            self._seed(index)
            return self.dataset[index]
        kept = random.getstate(), np.random.get_state(), torch.get_rng_state()
        try:
            self._seed(index)
            return self.dataset[index]
        finally:
            random.setstate(kept[0])
            np.random.set_state(kept[1])
            torch.set_rng_state(kept[2])

    def _seed(self, index: Any) -> None:
        number = int(index) if isinstance(index, int | np.integer) else _number_of(repr(index))
        seed = mix(self.seed, self.epoch, number)
        random.seed(seed)
        np.random.seed(seed & 0xFFFFFFFF)
        # Not `torch.manual_seed`: that seeds the GPUs as well.
        torch.default_generator.manual_seed(seed)


def find_seeded(dataset: Any) -> list[SeededDataset[Any]]:
    """Return the wrappers a data set is or holds, through subsets and concatenations."""
    if isinstance(dataset, SeededDataset):
        return [cast("SeededDataset[Any]", dataset)]
    inner = [getattr(dataset, "dataset", None), *(getattr(dataset, "datasets", None) or ())]
    return [each for part in inner if part is not None for each in find_seeded(part)]


def _number_of(text: str) -> int:
    return int.from_bytes(text.encode(), "little")
