"""The order in which samplers give indices, and going on in it from a mark."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sized
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import RandomSampler, SequentialSampler
from torch.utils.data.distributed import DistributedSampler

from composer.distributed import comm
from composer.distributed.sampler import (
    KeyedSampler,
    epoch_size,
    iterate_from,
    num_left,
    order_of,
)
from composer.errors import DataError

__all__ = ["BEGINNING", "Mark", "Order", "SharedOrder", "check_tail", "find_order", "marker"]

_CHUNK = 1 << 16

Mark = dict[str, Any]
"""Where an epoch stands; see :meth:`composer.core.index_cursor.IndexCursor.mark`."""

BEGINNING: Mark = {"batches": 0, "samples": 0, "tail": [], "share": 0, "shares": 1, "draws": False}
"""The beginning of an epoch."""


def find_order(sampler: Any) -> Order:
    """Return how to go on in the order of a sampler of indices."""
    if type(sampler) in (DistributedSampler, KeyedSampler):
        return SharedOrder(sampler)
    if type(sampler) is RandomSampler and not sampler.replacement:
        return _ShuffledOrder(sampler)
    if type(sampler) is SequentialSampler:
        return _SequentialOrder(sampler)
    return Order(sampler)


def marker(index: Any) -> int:
    """Return a number by which an index is recognized; an index may be anything hashable."""
    if isinstance(index, int | np.integer):
        return int(index)
    return zlib.crc32(repr(index).encode())


def check_tail(mark: Mark, found: list[int]) -> None:
    """Compare the last indices before a position with those noted there.

    Raises:
        ValueError: they differ, so the order is not the one in which the epoch was begun.
    """
    if mark["tail"] == found:
        return
    raise DataError(
        f"the order of samples has changed: before batch {mark['batches']} of the epoch the "
        f"samples {mark['tail']} were read, and now {found} stand in their place. Going on would "
        "read some samples twice and others never. Usual causes: another seed of the sampler, "
        "another data set, a sampler that draws from a generator which no checkpoint keeps. To go "
        "on nevertheless, give load_path and load_ignore_keys=['state/dataset_state/*']."
    )


class Order:
    """The order of any sampler: what comes before a mark is drawn and dropped.

    Args:
        sampler: gives the indices of one epoch.
    """

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler

    def place(self, samples: int, start: Mark | None) -> Mark:
        """Return what a mark says about shares, after ``samples`` of this one.

        Args:
            samples: indices this share has given in the epoch.
            start: where the epoch was gone on with, if it was.
        """
        del samples, start
        return {"share": comm.get_global_rank(), "shares": comm.get_world_size()}

    def is_same_share(self, mark: Mark) -> bool:
        """Whether a mark is one of this share."""
        own = self.place(0, None)
        return all(mark[name] == own[name] for name in ("share", "shares"))

    def after(self, mark: Mark, opened: Iterator[Any] | None) -> Iterator[Any]:
        """Yield nothing, once what comes before a mark is passed over, and then what comes after.

        Args:
            mark: the position.
            opened: the sampler's iterator, if it is there already.

        Raises:
            ValueError: the last indices before the mark are not what they were.
        """
        tail: list[int] = mark["tail"]
        indices = self._skip(mark["samples"] - len(tail), opened)
        check_tail(mark, [marker(index) for index in islice(indices, len(tail))])
        yield None
        yield from indices

    def _skip(self, count: int, opened: Iterator[Any] | None) -> Iterator[Any]:
        return islice(iter(self.sampler) if opened is None else opened, count, None)


class _SequentialOrder(Order):
    def _skip(self, count: int, opened: Iterator[Any] | None) -> Iterator[Any]:
        return iter(range(count, len(cast("Sized", self.sampler.data_source))))


class _ShuffledOrder(Order):
    """Torch's shuffle, drawn as torch draws it; what is skipped never becomes Python numbers."""

    def _skip(self, count: int, opened: Iterator[Any] | None) -> Iterator[Any]:
        generator, length = self.sampler.generator, len(self.sampler.data_source)
        if generator is None:
            generator = torch.Generator()
            generator.manual_seed(int(torch.empty((), dtype=torch.int64).random_().item()))
        whole, rest = divmod(self.sampler.num_samples, length)
        for number in range(whole + 1):
            # Also where there is no rest: torch draws once more, and the generator may be shared.
            order = torch.randperm(length, generator=generator)
            end = length if number < whole else rest
            for chunk in order[max(0, count - number * length) : end].split(_CHUNK):
                yield from chunk.tolist()


class SharedOrder(Order):
    """An order that several ranks take turns in, so that it can go on among any number of them."""

    sampler: DistributedSampler[Any]

    def place(self, samples: int, start: Mark | None) -> Mark:
        """Return the share, and how many samples all shares together have given."""
        shares = self.sampler.num_replicas
        before = (0, 0) if start is None else (self._cursor(start), start["samples"])
        cursor = before[0] + (samples - before[1]) * shares
        return {"share": self.sampler.rank, "shares": shares, "cursor": cursor}

    def num_left(self, mark: Mark) -> int:
        """Return how many samples this share gets after a mark."""
        return num_left(self.sampler, self._cursor(mark))

    def after(self, mark: Mark, opened: Iterator[Any] | None) -> Iterator[Any]:
        """As of any order; the mark may be one of another share."""
        order, cursor = order_of(self.sampler), self._cursor(mark)
        turns = np.arange(-len(mark["tail"]), 0)
        positions = cursor + turns * mark["shares"] + mark["share"]
        length = epoch_size(self.sampler)
        check_tail(mark, order(positions % max(1, length)).tolist())
        yield None
        yield from iterate_from(self.sampler, order, cursor)

    @staticmethod
    def _cursor(mark: Mark) -> int:
        return mark.get("cursor", mark["samples"] * mark["shares"])
