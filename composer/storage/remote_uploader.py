"""Composer's `RemoteUploader`: upload files to a remote folder and ask for their futures."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from enum import Enum
from typing import Any

from composer.errors import StorageError
from composer.storage.object_store import ObjectStore
from composer.storage.uploader import RetryPolicy, Uploader
from composer.storage.uri import parse_uri, store_of

__all__ = ["RemoteFilesExistingCheckStatus", "RemoteUploader"]

StrPath = str | os.PathLike[str]


class RemoteFilesExistingCheckStatus(Enum):
    """What came of waiting for files to appear in a store."""

    EXIST = 1
    TIMEOUT = 2
    ERROR = 3


class RemoteUploader:
    """Uploads files to a remote folder in the background.

    Args:
        remote_folder: an address in the store, e.g. ``"s3://bucket/runs"``. Names of files are
            whole names in the bucket.
        backend_kwargs: arguments of the store's class besides the bucket.
        num_concurrent_uploads: files uploaded at once, at least 1.
        num_attempts: tries for each file, at least 1.

    Raises:
        ValueError: an argument that cannot work, or no address of a store.
    """

    def __init__(
        self,
        remote_folder: str,
        backend_kwargs: dict[str, Any] | None = None,
        num_concurrent_uploads: int = 2,
        num_attempts: int = 3,
    ) -> None:
        self.remote_folder = remote_folder
        self.backend_kwargs = dict(backend_kwargs or {})
        self.path = parse_uri(remote_folder)[2]
        self.num_concurrent_uploads = num_concurrent_uploads
        self._retries = RetryPolicy(num_attempts)
        self._store = store_of(remote_folder, self.backend_kwargs)
        self._uploader: Uploader | None = None
        self._is_closing = threading.Event()

    @property
    def remote_backend(self) -> ObjectStore:
        """The store."""
        return self._store

    def init(self) -> None:
        """Take up what an earlier process has left, and begin. The first upload does so too."""
        if self._uploader is None:
            self._uploader = Uploader(
                self._store,
                scope=self.remote_folder,
                num_workers=self.num_concurrent_uploads,
                retries=self._retries,
            )

    def upload_file_async(
        self, remote_file_name: str, file_path: StrPath, overwrite: bool
    ) -> Future[str]:
        """Queue a file and return at once.

        Args:
            remote_file_name: name in the bucket.
            file_path: the local file; it may change or go away afterwards.
            overwrite: whether an object of that name may be replaced.

        Returns:
            The object's address, once it is there; or the reason why it is not.
        """
        return self._started().submit(file_path, remote_file_name, overwrite=overwrite).future

    def check_remote_files_exist_async(
        self,
        remote_checkpoint_file_names: Sequence[str],
        max_wait_time_in_seconds: int = 3600,
        wait_before_next_try_in_seconds: float = 30,
    ) -> Future[RemoteFilesExistingCheckStatus]:
        """Wait in the background until files are in the store, whoever uploads them.

        Args:
            remote_checkpoint_file_names: names in the bucket.
            max_wait_time_in_seconds: the longest wait.
            wait_before_next_try_in_seconds: the time between two looks.
        """
        future: Future[RemoteFilesExistingCheckStatus] = Future()

        def look() -> None:
            deadline = time.monotonic() + max_wait_time_in_seconds
            missing = list(remote_checkpoint_file_names)
            try:
                while missing := [name for name in missing if not self._exists(name)]:
                    left = deadline - time.monotonic()
                    if left <= 0 or self._is_closing.wait(
                        min(left, wait_before_next_try_in_seconds)
                    ):
                        future.set_result(RemoteFilesExistingCheckStatus.TIMEOUT)
                        return
            except StorageError:
                future.set_result(RemoteFilesExistingCheckStatus.ERROR)
            else:
                future.set_result(RemoteFilesExistingCheckStatus.EXIST)

        threading.Thread(target=look, daemon=True, name="look-for-files").start()
        return future

    def check_workers(self) -> None:
        """Raise if an upload has failed for good.

        Raises:
            UploadError: it has.
        """
        if self._uploader is not None:
            self._uploader.check()

    def wait(self) -> None:
        """Wait until everything is uploaded.

        Raises:
            UploadError: an upload failed for good.
        """
        if self._uploader is not None:
            self._uploader.wait()

    def wait_and_close(self) -> None:
        """Wait until everything is uploaded, then stop.

        Raises:
            UploadError: an upload failed for good.
        """
        self._is_closing.set()
        uploader, self._uploader = self._uploader, None
        if uploader is not None:
            uploader.close()
            uploader.check()

    def _started(self) -> Uploader:
        self.init()
        assert self._uploader is not None
        return self._uploader

    def _exists(self, name: str) -> bool:
        try:
            self._store.get_object_size(name)
        except FileNotFoundError:
            return False
        return True
