"""Sees whether worker processes draw random numbers while they read samples.

Where they do, and nothing seeds them per sample, what a sample looks like depends on all that its
worker has read before, and an epoch can be gone on with only by reading that again.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch.utils.data import DataLoader, get_worker_info

from composer.core.random_sources import fingerprint
from composer.core.seeded_dataset import find_seeded

__all__ = ["DrawsWatch"]

# A transform may draw for few samples only, so a worker is looked at again and again.
_ALWAYS_UNTIL, _THEN_EVERY = 16, 16


class DrawsWatch:
    """Looks at the random generators of worker processes, from within.

    It stands in for a loader's ``worker_init_fn`` (:meth:`begin`) and ``collate_fn``
    (:meth:`collate`) while the loader starts its workers.

    Args:
        loader: the loader.
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._collate = loader.collate_fn
        self._worker_init_fn: Callable[[int], object] | None = loader.worker_init_fn
        self._seen = torch.zeros((), dtype=torch.bool).share_memory_()
        self._num_batches = 0
        self._before = 0

    @property
    def has_seen_draws(self) -> bool:
        """Whether a worker drew a number; for the process that trains."""
        return bool(self._seen)

    def begin(self, worker_id: int) -> None:
        """Begin to watch, in a worker whose generators are seeded."""
        # A scheduler may signal every process there is; the one that trains still needs this one,
        # and ends it in time.
        signal.signal(signal.SIGTERM, _ignore_once)
        if self._worker_init_fn is not None:
            self._worker_init_fn(worker_id)
        info = get_worker_info()
        self._before = fingerprint(None if info is None else info.dataset)

    def collate(self, samples: Any) -> Any:
        """Put a batch together, in a worker."""
        batch = self._collate(samples)
        self._num_batches += 1
        if self._num_batches <= _ALWAYS_UNTIL or self._num_batches % _THEN_EVERY == 0:
            self._look()
        return batch

    def _look(self) -> None:
        info = get_worker_info()
        # What a seeded data set draws belongs to a sample and not to the worker.
        if info is None or self._seen or find_seeded(info.dataset):
            return
        if fingerprint(info.dataset) != self._before:
            self._seen.fill_(True)


def _ignore_once(number: int, frame: FrameType | None) -> None:
    del frame
    signal.signal(number, signal.SIG_DFL)
