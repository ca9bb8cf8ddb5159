"""One job beside training, whose failure is not lost."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

__all__ = ["BackgroundJob"]

log = logging.getLogger(__name__)


class BackgroundJob:
    """Runs one job at a time in a thread.

    What a job raises is raised again, once, by whoever asks next.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def is_running(self) -> bool:
        """Whether a job is under way."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, job: Callable[[], None], name: str) -> None:
        """Start a job; the one before must have been waited for.

        Args:
            job: what to do.
            name: what the thread is called.
        """

        def run() -> None:
            try:
                job()
            except BaseException as error:  # noqa: BLE001 - raised by check() or wait()
                self._error = error

        # Not a daemon: a program that ends must not cut off what is being written.
        self._thread = threading.Thread(target=run, name=name)
        self._thread.start()

    def check(self) -> None:
        """Raise what the last job failed with, if it has ended and failed."""
        if self._thread is not None and not self._thread.is_alive():
            self._finish()

    def wait(self) -> float:
        """Wait for the job under way, and raise what it failed with.

        Returns:
            The seconds waited.
        """
        if self._thread is None:
            return 0.0
        start = time.perf_counter()
        self._finish()
        return time.perf_counter() - start

    def _finish(self) -> None:
        assert self._thread is not None
        self._thread.join()
        self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error
