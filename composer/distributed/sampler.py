"""The library's own sampler: shuffled without a list, and it can begin anywhere.

Ranks take turns: of the epoch's order, rank ``r`` of ``W`` takes every ``W``-th sample. What all
ranks together have consumed is thus always the order's beginning, and one number, the cursor, says
where the epoch stands, whatever the number of ranks was until then or will be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sized
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data.distributed import DistributedSampler

from composer.distributed.permutation import Permutation

__all__ = ["KeyedSampler", "Order", "epoch_size", "iterate_from", "num_left", "order_of"]

Numbers = NDArray[np.integer]
Order = Callable[[Numbers], Numbers]
"""From positions in an epoch's order to the indices of samples."""

# Computed together, for speed; memory and the time to the first sample stay small.
_CHUNK = 1024


class KeyedSampler(DistributedSampler[Any]):
    """Gives each rank its share of an epoch; made by :func:`composer.utils.dist.get_sampler`.

    It is used as torch's class of which it is one, and shuffles by a
    :class:`~composer.distributed.permutation.Permutation`, whose key is the seed and the epoch:
    any position costs the same, and nothing as long as the data set is ever made.

    Attributes:
        chosen: the samples that epochs are made of, as indices in the data set, shape (K,); the
            same on all ranks. ``None`` for all samples. Its length stays that of all samples:
            epochs of fewer end before.
    """

    chosen: Numbers | None = None

    def __iter__(self) -> Iterator[int]:
        return iterate_from(self, order_of(self), 0)


def order_of(sampler: DistributedSampler[Any]) -> Order:
    """Return the order of the sampler's epoch.

    Args:
        sampler: this module's, or torch's own, whose permutation is drawn as torch draws it.
    """
    chosen = sampler.chosen if isinstance(sampler, KeyedSampler) else None
    order = _order_of_places(sampler, epoch_size(sampler))
    return order if chosen is None else lambda positions: chosen[order(positions)]


def _order_of_places(sampler: DistributedSampler[Any], length: int) -> Order:
    if not sampler.shuffle or length == 0:
        return _as_they_are
    if isinstance(sampler, KeyedSampler):
        return Permutation(length, sampler.seed, sampler.epoch).take
    generator = torch.Generator()
    generator.manual_seed(sampler.seed + sampler.epoch)
    return torch.randperm(length, generator=generator).numpy().__getitem__


def iterate_from(sampler: DistributedSampler[Any], order: Order, cursor: int) -> Iterator[int]:
    """Yield this rank's samples after the first ``cursor`` of the epoch's order.

    Args:
        sampler: this module's, or torch's own.
        order: what :func:`order_of` returned for it.
        cursor: how many samples of the epoch all ranks together have consumed, at least 0.
    """
    length, step = epoch_size(sampler), sampler.num_replicas
    end = cursor + num_left(sampler, cursor) * step
    for first in range(cursor + sampler.rank, end, step * _CHUNK):
        positions = np.arange(first, min(first + step * _CHUNK, end), step)
        # Behind the last sample the order begins again, so that all ranks get equally many.
        yield from order(positions % length).tolist()


def num_left(sampler: DistributedSampler[Any], cursor: int) -> int:
    """Return how many samples each rank gets after the first ``cursor`` of the epoch's order."""
    left = max(0, epoch_size(sampler) - cursor)
    return left // sampler.num_replicas if sampler.drop_last else -(-left // sampler.num_replicas)


def epoch_size(sampler: DistributedSampler[Any]) -> int:
    """Return how many samples all ranks together read in an epoch, each counted once."""
    if isinstance(sampler, KeyedSampler) and sampler.chosen is not None:
        return len(sampler.chosen)
    return len(cast("Sized", sampler.dataset))


def _as_they_are(positions: Numbers) -> Numbers:
    return positions
