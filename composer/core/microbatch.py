"""The microbatcher: how many samples go through the model at a time.

With a fixed size it only says the size. With ``'auto'`` it redoes a batch that ran out of memory
with half of it, on all ranks at once, from the same inputs and the same random state. The size
found stays: it never grows back.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch

from composer.distributed import comm
from composer.errors import ConfigError, TrainingError

__all__ = ["MicrobatchSize", "Microbatcher", "check_microbatch_size"]

log = logging.getLogger(__name__)
T = TypeVar("T")
MicrobatchSize = int | float | str | None


def check_microbatch_size(size: MicrobatchSize, name: str = "device_train_microbatch_size") -> None:
    """Refuse what is no microbatch size.

    Raises:
        ValueError: not a positive number, ``'auto'`` or ``None``.
    """
    if size is None or size == "auto":
        return
    if isinstance(size, int | float) and not isinstance(size, bool) and size > 0:
        return
    raise ConfigError(
        f"{name}={size!r} must be a positive number of samples, 'auto', or None for the "
        "dataloader's batch size"
    )


class Microbatcher:
    """Runs batches at the current microbatch size, and finds the size where it is automatic.

    Args:
        size: samples per microbatch; ``None`` for whole batches.
        automatic: whether running out of memory halves the size and redoes the batch.
        on_change: called with each new size.
        label: what the size is called in messages.
    """

    def __init__(
        self,
        size: int | float | None,
        automatic: bool,
        on_change: Callable[[int | float], None] | None = None,
        label: str = "device_train_microbatch_size",
    ) -> None:
        self.size = size
        self.automatic = automatic
        self._on_change = on_change
        self._label = label
        self._num_retrying_batches = 0
        self._num_alloc_retries = 0

    def run(
        self,
        count_samples: Callable[[], int | float],
        attempt: Callable[[], T],
        undo: Callable[[], None],
    ) -> T:
        """Run one batch.

        Args:
            count_samples: counts the batch's samples, the size to start from where none is set.
            attempt: does the work at :attr:`size`; may run out of memory.
            undo: puts back what a failed attempt changed: gradients, losses, metrics, buffers.

        Returns:
            What ``attempt`` returned.

        Raises:
            RuntimeError: one sample at a time still runs out of memory.
        """
        if not self.automatic:
            return attempt()
        if self.size is None:
            self.size = count_samples()
        while True:
            random_state = _RandomState()
            result, is_out_of_memory = self._try(attempt)
            if not comm.any_rank(is_out_of_memory):
                self._watch_allocator()
                return result  # pyright: ignore[reportReturnType]
            undo()
            random_state.restore()
            self._halve("a batch ran out of memory")

    @staticmethod
    def _try(attempt: Callable[[], T]) -> tuple[T | None, bool]:
        # By type, never by the text of the message. Returning leaves the except block, which frees
        # the traceback and with it the tensors of the failed attempt.
        try:
            return attempt(), False
        except torch.OutOfMemoryError:
            return None, True

    def _halve(self, reason: str) -> None:
        size = self.size or 1
        if size <= 1:
            raise TrainingError(
                f"out of memory with {self._label}={size}: one sample does not fit. Use a smaller "
                "model or shorter samples, a lower precision, or activation checkpointing"
            )
        self.size = max(int(size // 2), 1)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        log.info("%s: %s is now %s", reason, self._label, self.size)
        if self._on_change is not None:
            self._on_change(self.size)

    def _watch_allocator(self) -> None:
        """Halve after two batches in a row in which the allocator had to flush its cache.

        It still fits then, but each flush stalls the device; a smaller size is faster.
        """
        if not torch.cuda.is_available():
            return
        retries = torch.cuda.memory_stats().get("num_alloc_retries", 0)
        had_retry = comm.any_rank(retries > self._num_alloc_retries)
        self._num_alloc_retries = retries
        self._num_retrying_batches = self._num_retrying_batches + 1 if had_retry else 0
        if self._num_retrying_batches >= 2 and (self.size or 1) > 1:
            self._num_retrying_batches = 0
            self._halve("the allocator had to flush its cache in two batches")


class _RandomState:
    """The random states of this process, to do a batch again with the same draws."""

    def __init__(self) -> None:
        self._python = random.getstate()
        self._numpy: Any = np.random.get_state()
        self._torch = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None

    def restore(self) -> None:
        random.setstate(self._python)
        np.random.set_state(self._numpy)
        torch.set_rng_state(self._torch)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda)
