"""What this rank's collectives are doing, for whoever must explain why nothing happens.

Written by the thread that trains, read by any: by a monitor that splits a step's time, and by one
that tells which rank does not come.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import Self

__all__ = ["RECORD", "CollectiveRecord"]


class CollectiveRecord:
    """Counts collectives and measures how long this rank waits in them.

    A context manager around a wait. Ranks call collectives in the same order, so that one number
    means the same collective everywhere.

    Attributes:
        count: collectives of all ranks begun so far.
        name: the one begun last.
        waited_ns: time spent waiting so far, in nanoseconds.
        waiting_in: number of the collective that is waited in, 0 for none.
        since_ns: since when, on the clock of ``time.perf_counter_ns``.
    """

    __slots__ = ("count", "name", "since_ns", "waited_ns", "waiting_in")

    def __init__(self) -> None:
        self.count = 0
        self.name = ""
        self.waited_ns = 0
        self.waiting_in = 0
        self.since_ns = 0

    def begin(self, name: str, of_all_ranks: bool = True) -> Self:
        """Note that a collective begins; used as ``with RECORD.begin(...)`` it is waited for too.

        Args:
            name: the collective.
            of_all_ranks: whether all take part; only those are numbered.
        """
        if of_all_ranks:
            self.count += 1
            self.name = name
        return self

    def __enter__(self) -> Self:
        self.waiting_in = self.count
        self.since_ns = perf_counter_ns()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.waited_ns += perf_counter_ns() - self.since_ns
        self.waiting_in = 0


RECORD = CollectiveRecord()
"""That of this process."""
