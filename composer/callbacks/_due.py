"""Which batches are looked at: told at their start, once for all their microbatches."""

from __future__ import annotations

from composer.core.interval import parse_interval
from composer.core.state import State
from composer.core.time import Time, TimeUnit

__all__ = ["DueBatches"]


class DueBatches:
    """Picks one batch every so many batches or epochs.

    What it picks follows from the counters alone, so a resumed run picks the same.

    Args:
        interval: a number of batches, or a time in ``'ba'`` or ``'ep'``; 0 for never.

    Raises:
        ValueError: no such time.
    """

    def __init__(self, interval: int | str | Time[int]) -> None:
        self.interval = parse_interval(
            interval, default_unit=TimeUnit.BATCH, units=(TimeUnit.BATCH, TimeUnit.EPOCH)
        )
        self._last_batch = -1

    def is_due(self, state: State) -> bool:
        """Return whether this is one of them; asked again in the same batch, it is not."""
        every, batch = self.interval.value, state.timestamp.count(TimeUnit.BATCH)
        if every <= 0 or batch == self._last_batch:
            return False
        if self.interval.unit is TimeUnit.EPOCH:
            is_first = state.timestamp.batch_in_epoch.value == 0
            due = is_first and state.timestamp.count(TimeUnit.EPOCH) % every == 0
        else:
            due = batch % every == 0
        if due:
            self._last_batch = batch
        return due
