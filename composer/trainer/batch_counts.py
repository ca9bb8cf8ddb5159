"""What a batch counts: samples, tokens, its weight in the loss and its time, over all ranks.

One collective a batch on the CPU group carries them all; it runs behind the forward pass. With one
process there is none. This file and ``core/logger.py`` are the only ones that may wait for a
device, and this one has no need to: batches are counted before they are moved.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Sequence

from composer.distributed import comm
from composer.errors import DataError

__all__ = ["BatchCounts"]


class BatchCounts:
    """Counts one batch after the other.

    Wall-clock time is rank 0's, so that timestamps agree on all ranks.

    Args:
        own_wishes: whether this rank was asked to stop, as numbers that travel with the counts; see
            :attr:`composer.trainer.preemption.Interruption.wishes`.
    """

    def __init__(self, own_wishes: Callable[[], tuple[int, int]]) -> None:
        self._own_wishes = own_wishes
        self._is_distributed = comm.get_world_size() > 1
        self._is_timekeeper = comm.get_global_rank() == 0
        self._last = time.perf_counter()
        self._samples: int | float = 0
        self._tokens: int | float = 0
        self._weight = 0.0
        self._seconds = 0.0
        self._wishes: Sequence[int | float] = (0, 0)
        self._reduction: comm.PendingNumbers | None = None

    def restart_clock(self) -> None:
        """Leave out of the wall-clock time what happened since the last batch (evaluation)."""
        self._last = time.perf_counter()

    def start(
        self, samples: int | float, tokens: int, weight: int | float, goes_on: bool = False
    ) -> None:
        """Begin counting a batch.

        Args:
            samples: samples of this rank's batch.
            tokens: its tokens.
            weight: its weight in the loss: samples, or tokens that generate loss.
            goes_on: whether this is a further part of the batch before, which is cut into several
                steps: what is counted adds up.
        """
        if not goes_on:
            self._samples = self._tokens = 0
            self._seconds = 0.0
        if self._is_distributed:
            seconds = self._elapsed() if self._is_timekeeper else 0.0
            numbers = [samples, tokens, weight, seconds, *self._own_wishes()]
            self._reduction = comm.start_reduce(numbers)
        else:
            self._samples += samples
            self._tokens += tokens
            self._weight = weight

    def mean_weight(self) -> float:
        """Return the batch's weight, averaged over ranks."""
        if self._reduction is not None:
            total = self._reduction.wait()
            samples, tokens, weight, seconds, *self._wishes = total
            self._samples += samples
            self._tokens += tokens
            self._seconds += seconds
            self._weight = weight / comm.get_world_size()
            self._reduction = None
        return self._weight

    def finish(self) -> tuple[int, int, datetime.timedelta]:
        """Return samples, tokens (both over all ranks) and the batch's wall-clock time.

        Raises:
            ValueError: ranks counted fractions of samples that do not add up to whole ones.
        """
        self.mean_weight()
        seconds = self._seconds if self._is_distributed else self._elapsed()
        samples = round(self._samples)
        if abs(samples - self._samples) > 1e-6:
            raise DataError(
                f"the batch counts {self._samples} samples over all ranks, which is no whole "
                "number; mend get_num_samples_in_batch of the DataSpec"
            )
        return samples, int(self._tokens), datetime.timedelta(seconds=seconds)

    def wishes(self) -> Sequence[int | float]:
        """Return what ranks were asked before the batch that was finished last, added up."""
        return self._wishes if self._is_distributed else self._own_wishes()

    def _elapsed(self) -> float:
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        return seconds
