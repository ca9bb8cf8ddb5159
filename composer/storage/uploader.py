"""Upload files in the background, in an order that can be relied on, and lose none.

:meth:`Uploader.submit` puts a file into a queue on disk (:mod:`composer.storage.queue`) and returns
at once. Worker threads upload what waits, try again what fails for a moment, and take a file off
the queue only when the store has confirmed its size. What a killed process leaves behind is
uploaded by the next one of the same run.
"""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from composer.errors import (
    ConfigError,
    ObjectExistsError,
    StateError,
    StorageTransientError,
    UploadError,
)
from composer.storage.checks import check_name, exists_already
from composer.storage.files import shown_progress
from composer.storage.object_store import ObjectStore
from composer.storage.queue import WaitingFiles, place_for
from composer.storage.schedule import Schedule, Upload
from composer.storage.transfer import Carrier, HelperProcess, InThisProcess

__all__ = ["IN_THIS_PROCESS", "RetryPolicy", "Uploader"]

IN_THIS_PROCESS = ("file", "memory")
"""Schemes of stores that another process could not see, or that need no network."""

log = logging.getLogger(__name__)

StrPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a failed upload is tried again.

    Attributes:
        num_attempts: tries in all, at least 1.
        first_wait_s: seconds before the second; doubled before each further one.
        longest_wait_s: the longest wait in seconds.
    """

    num_attempts: int = 8
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0

    def __post_init__(self) -> None:
        if self.num_attempts < 1 or self.first_wait_s < 0 or self.longest_wait_s < 0:
            raise ConfigError(f"an upload needs at least one attempt and waits >= 0, got {self}")

    def wait_s(self, attempt: int) -> float:
        """Return how long to wait after attempt number ``attempt``, counted from 1."""
        # Many ranks fail at the same moment; they should not all come back at the same one.
        longest = min(self.longest_wait_s, self.first_wait_s * 2 ** (attempt - 1))
        return longest * random.uniform(0.75, 1.25)


class Uploader:
    """Uploads files to one store.

    A file is uploaded after those it names as ``after``, and after an earlier one of the same
    name. An earlier one that still waits is dropped if the later may replace it and no other file
    waits for it. Objects appear complete or not at all.

    Args:
        store: where to.
        scope: whose files these are, e.g. the run's name; what an earlier process with the same
            scope, store and rank has left waiting on this machine is uploaded first.
        folder: where files wait; see :func:`composer.storage.queue.place_for`.
        num_workers: files uploaded at once.
        retries: what to do about failures that may pass.
        use_processes: send large files in helper processes and not in threads; the store must be
            picklable.

    Raises:
        ValueError: an argument that cannot work.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        scope: str = "",
        folder: StrPath | None = None,
        num_workers: int = 2,
        retries: RetryPolicy | None = None,
        use_processes: bool = False,
    ) -> None:
        if num_workers < 1:
            raise ConfigError(f"num_workers={num_workers!r} must be at least 1")
        self.store = store
        self._retries = retries or RetryPolicy()
        self._schedule = Schedule()
        self._stop = threading.Event()
        self._is_closed = False
        place = place_for(store.get_uri("_"), scope, folder)
        left_behind = WaitingFiles.take_over(place)
        self._own = WaitingFiles.open_new(place)
        self._folders = [*left_behind, self._own]
        for waiting in left_behind:
            self._resume(waiting)
        carrier = HelperProcess if use_processes else InThisProcess
        self._carriers: list[Carrier] = [carrier(store) for _ in range(num_workers)]
        self._threads = [
            threading.Thread(target=self._work, args=(each,), daemon=True, name=f"upload-{index}")
            for index, each in enumerate(self._carriers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pending(self) -> list[str]:
        """Names of the files that are not in the store yet and have not failed for good."""
        return [each.name for each in self._schedule.unfinished()]

    def submit(
        self,
        path: StrPath,
        name: str,
        *,
        overwrite: bool = False,
        after: Sequence[Upload] = (),
        link: bool = False,
    ) -> Upload:
        """Queue a file.

        Args:
            path: the local file; it may change or go away once this returns.
            name: the object's name in the store.
            overwrite: whether an object of that name may be replaced.
            after: uploads of this uploader that must be in the store before this one begins. If
                one fails for good, so does this.
            link: queue the file itself and not a copy, where the file system can. Only for a file
                whose content never changes.

        Raises:
            RuntimeError: the uploader is closed.
        """
        name = check_name(name)
        if self._is_closed:
            raise StateError(f"{name!r} was submitted to an uploader that is closed")
        numbers = [each.entry.number for each in after if each.waiting is self._own]
        entry = self._own.add(path, name, overwrite, numbers, link)
        upload = Upload(self._own, entry, tuple(after))
        self._schedule.add(upload)
        return upload

    def check(self) -> None:
        """Raise if an upload has failed for good.

        Raises:
            UploadError: it has; the message names the files, the reasons and what to do.
            FileExistsError: the object exists and may not be replaced.
        """
        failed = self._schedule.failed()
        if not failed:
            return
        reasons = "; ".join(f"{each.name!r}: {each.future.exception()}" for each in failed[:5])
        kept = sorted({each.waiting.folder for each in failed if each.stays_queued})
        advice = f" They are kept in {kept}, and the run's next start tries again." if kept else ""
        first = failed[0].future.exception()
        kind = ObjectExistsError if isinstance(first, ObjectExistsError) else UploadError
        raise kind(f"{len(failed)} upload(s) failed for good: {reasons}.{advice}") from first

    def wait(self, timeout_s: float | None = None, progress_bar: bool = False) -> None:
        """Wait until everything that was submitted is in the store.

        Args:
            timeout_s: the longest wait, in seconds; without end if ``None``.
            progress_bar: whether to show how far it is.

        Raises:
            UploadError: an upload failed for good, or not all were done in time.
            FileExistsError: an object exists and may not be replaced.
        """
        if not self._wait_until_idle(timeout_s, progress_bar):
            raise UploadError(
                f"after {timeout_s} s these are not uploaded yet: {self.pending[:5]}. They wait in "
                f"{self._own.folder!r}; the run's next start uploads them."
            )
        self.check()

    def close(self, timeout_s: float | None = None) -> list[str]:
        """Upload what waits, then stop.

        Args:
            timeout_s: the longest wait, in seconds; without end if ``None``.

        Returns:
            Names of the files that are not in the store. They stay in the queue on disk.
        """
        if self._is_closed:
            return []
        self._is_closed = True
        self._wait_until_idle(timeout_s, progress_bar=False)
        self._stop.set()
        self._schedule.stop()
        failed = [each for each in self._schedule.failed() if each.stays_queued]
        left = [each.name for each in [*self._schedule.unfinished(), *failed]]
        for carrier in self._carriers:
            carrier.close()
        for thread in self._threads:
            # One that hangs in a client's call is left behind; it ends with the process.
            thread.join(timeout=1.0)
        if left:
            log.error("not uploaded: %s. They wait in %s.", left, os.path.dirname(self._own.folder))
        for folder in self._folders:
            folder.close()
        return left

    def _resume(self, waiting: WaitingFiles) -> None:
        found: dict[int, Upload] = {}
        for entry in waiting.entries():
            # A number that is gone belongs to a file that is in the store.
            after = [found[number] for number in entry.after if number in found]
            found[entry.number] = Upload(waiting, entry, after)
            self._schedule.add(found[entry.number])
        names = [each.name for each in found.values()][:5]
        log.warning("uploading %d file(s) an earlier process has left: %s", len(found), names)

    def _wait_until_idle(self, timeout_s: float | None, progress_bar: bool) -> bool:
        uploads = self._schedule.unfinished()
        total = sum(each.size for each in uploads)
        with shown_progress(f"Uploading {len(uploads)} file(s)", progress_bar) as tell:

            def show() -> None:
                if tell is not None:
                    tell(sum(each.size if each.is_stored else each.sent for each in uploads), total)

            return self._schedule.wait_until_idle(timeout_s, show)

    def _work(self, carrier: Carrier) -> None:
        while (upload := self._schedule.take()) is not None:
            try:
                is_stored = self._carry(upload, carrier)
            except Exception as error:  # noqa: BLE001 - kept, and raised where the caller asks
                self._schedule.fail(upload, error)
            else:
                if is_stored:
                    self._schedule.succeed(upload, self.store.get_uri(upload.name))

    def _carry(self, upload: Upload, carrier: Carrier) -> bool:
        """Try until it is in the store; false if the uploader was closed before."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._attempt(upload, carrier)
            except StorageTransientError as error:
                if self._stop.is_set():
                    return False
                if attempt >= self._retries.num_attempts:
                    raise
                wait_s = self._retries.wait_s(attempt)
                log.warning(
                    "uploading %s failed (attempt %d of %d), trying again in %.1f s: %s",
                    upload.name,
                    attempt,
                    self._retries.num_attempts,
                    wait_s,
                    error,
                )
                if self._stop.wait(wait_s):
                    return False

    def _attempt(self, upload: Upload, carrier: Carrier) -> bool:
        """Try once; false if the uploader was closed before anything was sent."""
        entry = upload.entry
        if not entry.overwrite and self._is_there(upload):
            return True
        # The answer may have come after closing, when the file is for the next start to send.
        if self._stop.is_set():
            return False
        upload.waiting.note_start(entry)

        def tell(sent: int, _total: int) -> None:
            upload.sent = sent

        carrier.upload(entry.name, upload.waiting.data_of(entry), tell)
        stored = self.store.get_object_size(entry.name)
        if stored != entry.size:
            uri = self.store.get_uri(entry.name)
            raise StorageTransientError(f"{uri!r} has {stored} of the {entry.size} bytes sent")
        return True

    def _is_there(self, upload: Upload) -> bool:
        """Whether an upload cut short had come through already; refuse what is another's."""
        try:
            size = self.store.get_object_size(upload.name)
        except FileNotFoundError:
            return False
        if upload.waiting.was_started(upload.entry):
            return size == upload.size
        raise exists_already(self.store.get_uri(upload.name))
