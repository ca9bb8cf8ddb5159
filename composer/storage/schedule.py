"""What waits to be uploaded, what is under way, what has failed: which file is next.

Everything here is in memory and thread-safe; :mod:`composer.storage.queue` keeps the same on disk.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from composer.errors import ObjectExistsError, UploadError
from composer.storage.queue import Entry, WaitingFiles

__all__ = ["Schedule", "Upload"]

log = logging.getLogger(__name__)

_POLL_S = 0.25


class Upload:
    """A file on its way.

    Attributes:
        name: the object's name.
        size: bytes.
        sent: bytes that are there already.
        future: the object's address once it is there, or the reason why it is not.
    """

    def __init__(self, waiting: WaitingFiles, entry: Entry, after: Sequence[Upload] = ()) -> None:
        self.name = entry.name
        self.size = entry.size
        self.sent = 0
        self.future: Future[str] = Future()
        self.waiting = waiting
        self.entry = entry
        self.after = after

    @property
    def is_done(self) -> bool:
        """Whether it is in the store, or has failed for good."""
        return self.future.done()

    @property
    def is_stored(self) -> bool:
        """Whether the store has confirmed it."""
        return self.future.done() and self.future.exception() is None

    @property
    def stays_queued(self) -> bool:
        """Whether it waits on disk for another start: a name that is taken stays taken."""
        error = self.future.exception() if self.future.done() else UploadError()
        return error is not None and not isinstance(error, ObjectExistsError)

    def wait(self, timeout_s: float | None = None) -> str:
        """Wait until it is in the store, and return its address.

        Raises:
            UploadError: it comes after one that failed for good.
            StorageError: it failed for good.
            TimeoutError: it is not there yet.
        """
        return self.future.result(timeout_s)


class Schedule:
    """Decides which upload may begin.

    The first that waits may, once everything it comes after is in the store and no upload of the
    same name is before it.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting: list[Upload] = []
        self._running: list[Upload] = []
        self._failed: list[Upload] = []
        self._is_stopped = False

    def add(self, upload: Upload) -> None:
        """Put an upload behind all others, in place of one that waits and that it replaces."""
        with self._condition:
            failed = next((each for each in upload.after if each in self._failed), None)
            if failed is None:
                if upload.entry.overwrite:
                    self._drop_replaced(upload)
                self._waiting.append(upload)
                self._condition.notify_all()
        if failed is not None:
            self.fail(upload, _comes_after(failed))

    def take(self) -> Upload | None:
        """Return the next upload that may begin, waiting for one; ``None`` once stopped."""
        with self._condition:
            while not self._is_stopped:
                names = {each.name for each in self._running}
                for upload in self._waiting:
                    if upload.name not in names and all(each.is_stored for each in upload.after):
                        self._waiting.remove(upload)
                        self._running.append(upload)
                        return upload
                    names.add(upload.name)
                self._condition.wait()
        return None

    def succeed(self, upload: Upload, uri: str) -> None:
        """Note that an upload is in the store."""
        upload.waiting.remove(upload.entry)
        upload.future.set_result(uri)
        self._end(upload)

    def fail(self, upload: Upload, error: Exception) -> None:
        """Note that an upload has failed for good, and so have those that come after it."""
        log.error("uploading %s failed for good: %s", upload.name, error)
        with self._condition:
            self._failed.append(upload)
            blocked = [each for each in self._waiting if upload in each.after]
            self._waiting = [each for each in self._waiting if each not in blocked]
        upload.future.set_exception(error)
        if not upload.stays_queued:
            upload.waiting.remove(upload.entry)
        for each in blocked:
            self.fail(each, _comes_after(upload))
        self._end(upload)

    def stop(self) -> None:
        """Let nothing begin any more."""
        with self._condition:
            self._is_stopped = True
            self._condition.notify_all()

    def unfinished(self) -> list[Upload]:
        """Return the uploads that are under way, then those that wait."""
        with self._condition:
            return [*self._running, *self._waiting]

    def failed(self) -> list[Upload]:
        """Return the uploads that failed for good."""
        with self._condition:
            return list(self._failed)

    def wait_until_idle(self, timeout_s: float | None, show: Callable[[], None]) -> bool:
        """Wait until nothing waits or is under way.

        Args:
            timeout_s: the longest wait, in seconds; without end if ``None``.
            show: called now and then.

        Returns:
            Whether that came about in time.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._condition:
            while self._running or self._waiting:
                left = _POLL_S if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    return False
                self._condition.wait(min(left, _POLL_S))
                show()
        show()
        return True

    def _end(self, upload: Upload) -> None:
        with self._condition:
            if upload in self._running:
                self._running.remove(upload)
            self._condition.notify_all()

    def _drop_replaced(self, newer: Upload) -> None:
        needed = {id(each) for upload in [*self._waiting, newer] for each in upload.after}
        for older in self._waiting:
            if older.name == newer.name and id(older) not in needed:
                self._waiting.remove(older)
                older.waiting.remove(older.entry)
                newer.future.add_done_callback(lambda done, old=older: _hand_on(done, old))
                return


def _comes_after(failed: Upload) -> UploadError:
    return UploadError(f"it comes after {failed.name!r}, which failed")


def _hand_on(done: Future[str], older: Upload) -> None:
    """Let an upload that was replaced end as its replacement does."""
    error = done.exception()
    if error is not None:
        older.future.set_exception(error)
    else:
        older.future.set_result(done.result())
