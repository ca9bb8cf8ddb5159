"""Notices runs whose process has fallen silent.

Times are of the monotonic clock, so that a clock set back or forth crashes nobody. A server that
has just started gives every run the full time to be heard of again.
"""

import time
from collections.abc import Callable

from composer.tracking.store import runs
from composer.tracking.store.store import Store


class Heartbeats:
    """Remembers when each run was last heard of."""

    def __init__(
        self, store: Store, crash_after_s: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._crash_after_s = crash_after_s
        self._now = now
        self._heard: dict[int, float] = {}

    def hear(self, run_id: int) -> None:
        """Note that a run has been heard of."""
        self._heard[run_id] = self._now()

    def check(self) -> int:
        """Mark silent runs as crashed; returns how many."""
        now = self._now()
        with self._store.reading() as reader:
            active = [run["id"] for run in runs.active(reader)]
        heard = {number: self._heard.get(number, now) for number in active}
        silent = [number for number, at in heard.items() if now - at > self._crash_after_s]
        self._heard = {number: max(at, self._heard.get(number, at)) for number, at in heard.items()}
        if not silent:
            return 0
        return self._store.do(lambda tx: runs.mark_crashed(tx, silent))
