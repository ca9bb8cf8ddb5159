"""Keeps a run's files in a bucket: checkpoints, log files, traces, whatever is given to it."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from composer.core.logger import Logger
from composer.core.logger_destination import LoggerDestination
from composer.core.naming import format_name_with_dist
from composer.core.state import State
from composer.distributed import comm
from composer.errors import ConfigError, StateError, StorageError
from composer.storage.files import get_file, validate_credentials
from composer.storage.object_store import ObjectStore
from composer.storage.uploader import IN_THIS_PROCESS, RetryPolicy, Uploader
from composer.storage.uri import is_uri, parse_uri, store_of

if TYPE_CHECKING:
    from composer.devices.device import Device

__all__ = [
    "RemoteUploaderDownloader",
    "maybe_create_remote_uploader_downloader_from_uri",
]

log = logging.getLogger(__name__)

# How long to wait for uploads where the user has ended the run and wants to be gone.
_TIMEOUT_AFTER_INTERRUPT_S = 60


class RemoteUploaderDownloader(LoggerDestination):
    """Uploads the files it is given in the background, and gets them back.

    A file is copied when it is given, so it may change or go away afterwards. Files of one name
    are uploaded in order; one that still waits is dropped for a later one that may replace it.
    What the store could not take by the end stays on this machine, and a later run of the same
    name uploads it.

    Args:
        bucket_uri: the bucket, e.g. ``"s3://bucket"``; a path behind it is put in front of all
            names.
        backend_kwargs: arguments of the store's class besides the bucket; see
            :func:`composer.storage.uri.store_of`.
        file_path_format_string: how names in the bucket are made of ``{remote_file_name}`` and of
            ``{run_name}``, ``{rank}`` and the other placeholders of names.
        num_concurrent_uploads: files uploaded at once; 1 uploads them in the order given.
        upload_staging_folder: folder in which files wait; that of the environment variable
            ``COMPOSER_UPLOAD_FOLDER`` by default, else one among the system's temporary files.
        use_procs: upload large files in processes of their own, so that training is not held up;
            otherwise in threads.
        num_attempts: how often a failed upload is tried, in all.
        upload_timeout_in_seconds: how long the end of a run waits for what is not uploaded yet.

    Raises:
        ValueError: an argument that cannot work.
        ImportError: the package for the store is not installed.
    """

    is_essential = True

    def __init__(
        self,
        bucket_uri: str,
        backend_kwargs: dict[str, Any] | None = None,
        file_path_format_string: str = "{remote_file_name}",
        num_concurrent_uploads: int = 1,
        upload_staging_folder: str | None = None,
        use_procs: bool = True,
        num_attempts: int = 3,
        upload_timeout_in_seconds: float = 3600,
    ) -> None:
        if num_concurrent_uploads < 1:
            raise ConfigError(
                f"num_concurrent_uploads={num_concurrent_uploads!r} must be at least 1"
            )
        if "{remote_file_name}" not in file_path_format_string:
            raise ConfigError(
                f"file_path_format_string={file_path_format_string!r} must hold "
                "'{remote_file_name}': without it all files would get one name"
            )
        self.remote_backend_name, self.remote_bucket_name, self._prefix = parse_uri(bucket_uri)
        self.bucket_uri = bucket_uri
        self.file_path_format_string = file_path_format_string
        self.num_concurrent_uploads = num_concurrent_uploads
        self.upload_staging_folder = upload_staging_folder
        self.use_procs = use_procs and self.remote_backend_name not in IN_THIS_PROCESS
        self.upload_timeout_in_seconds = upload_timeout_in_seconds
        self._retries = RetryPolicy(num_attempts)
        self._store = store_of(bucket_uri, backend_kwargs)
        self._run_name: str | None = None
        self._uploader: Uploader | None = None
        self._was_interrupted = False
        self._is_closed = False

    @property
    def remote_backend(self) -> ObjectStore:
        """The store."""
        return self._store

    def can_upload_files(self) -> bool:
        """Return that files are kept."""
        return True

    def init(self, state: State, logger: Logger) -> None:
        """Ask whether the store lets us in, and take up what an earlier run has left.

        Raises:
            StorageError: the store does not answer or does not let us in.
        """
        del logger
        self._run_name = state.run_name
        problem: list[str | None] = [None]
        failure: StorageError | None = None
        if comm.get_global_rank() == 0:
            try:
                validate_credentials(self._store, self._name(".credentials_validated_successfully"))
            except StorageError as error:
                failure, problem = error, [str(error)]
        comm.broadcast_object_list(problem, src=0)
        if problem[0] is not None:
            raise StorageError(f"{self.bucket_uri!r} cannot be used: {problem[0]}") from failure
        self._started()

    def upload_file(
        self,
        state: State,
        remote_file_name: str,
        file_path: pathlib.Path,
        *,
        overwrite: bool,
    ) -> None:
        """Queue a file; see :meth:`LoggerDestination.upload_file`.

        An existing object that may not be replaced is reported by the next event.
        """
        if self._is_closed:
            log.warning("%s came after the end of the run and is not uploaded", file_path)
            return
        self._run_name = state.run_name
        self._started().submit(file_path, self._name(remote_file_name), overwrite=overwrite)

    def download_file(
        self,
        remote_file_name: str,
        destination: str,
        overwrite: bool = False,
        progress_bar: bool = True,
    ) -> None:
        """Fetch a file; see :meth:`LoggerDestination.download_file`.

        Raises:
            FileNotFoundError: there is no such file.
        """
        get_file(self._name(remote_file_name), destination, self._store, overwrite, progress_bar)

    def get_uri_for_file(self, remote_file_name: str) -> str:
        """Return the address of a file.

        Args:
            remote_file_name: the name under which it was or will be given.
        """
        return self._store.get_uri(self._name(remote_file_name))

    def batch_end(self, state: State, logger: Logger) -> None:
        """Raise what went wrong in the background."""
        self._check()

    def epoch_end(self, state: State, logger: Logger) -> None:
        """Raise what went wrong in the background."""
        self._check()

    def fit_end(self, state: State, logger: Logger) -> None:
        """Wait for the uploads."""
        self.wait_for_workers(state.device)

    def eval_standalone_end(self, state: State, logger: Logger) -> None:
        """Wait for the uploads."""
        self.wait_for_workers(state.device)

    def predict_end(self, state: State, logger: Logger) -> None:
        """Wait for the uploads."""
        self.wait_for_workers(state.device)

    def wait_for_workers(self, device: Device) -> None:
        """Wait until the files of all ranks are uploaded; all ranks call this.

        Args:
            device: taken for older callers, and not used.

        Raises:
            UploadError: an upload failed for good, or was not done in time.
            FileExistsError: an object exists and may not be replaced.
            DistributedError: that happened on another rank.
        """
        del device
        comm.run_while_others_wait(self._wait, f"upload to {self.bucket_uri!r}")

    def interrupted(self) -> None:
        """Do not make the user wait long."""
        self._was_interrupted = True

    def post_close(self) -> None:
        """Upload what is left within bounds, and say what could not be."""
        self._is_closed = True
        uploader, self._uploader = self._uploader, None
        if uploader is None:
            return
        timeout_s = self.upload_timeout_in_seconds
        if self._was_interrupted:
            timeout_s = min(timeout_s, _TIMEOUT_AFTER_INTERRUPT_S)
        if uploader.pending:
            log.warning("waiting up to %.0f s for uploads: %s", timeout_s, uploader.pending[:5])
        uploader.close(timeout_s)

    def _started(self) -> Uploader:
        if self._uploader is None:
            self._uploader = Uploader(
                self._store,
                scope=f"{self._run_name} {self.file_path_format_string}",
                folder=self.upload_staging_folder,
                num_workers=self.num_concurrent_uploads,
                retries=self._retries,
                use_processes=self.use_procs,
            )
        return self._uploader

    def _wait(self) -> None:
        if self._uploader is not None:
            is_first = comm.get_local_rank() == 0
            self._uploader.wait(self.upload_timeout_in_seconds, progress_bar=is_first)

    def _check(self) -> None:
        if self._uploader is not None:
            self._uploader.check()

    def _name(self, remote_file_name: str) -> str:
        template = self.file_path_format_string
        if self._run_name is None and "{run_name}" in template:
            raise StateError(
                f"names in the bucket are made by {template!r}, and the run has no name before the "
                "Trainer is made"
            )
        name = format_name_with_dist(
            template, self._run_name or "", remote_file_name=remote_file_name
        )
        return f"{self._prefix.rstrip('/')}/{name.lstrip('/')}".lstrip("/")


def maybe_create_remote_uploader_downloader_from_uri(
    uri: str, loggers: Sequence[LoggerDestination]
) -> RemoteUploaderDownloader | None:
    """Make a `RemoteUploaderDownloader` for the bucket an address lies in, if one is needed.

    Args:
        uri: an address such as ``s3://bucket/run-1``, or a local path.
        loggers: the run's logger destinations.

    Returns:
        ``None`` for a local path, and where one of ``loggers`` keeps files in that bucket already.
    """
    if not is_uri(uri):
        return None
    backend, bucket, _ = parse_uri(uri)
    for each in loggers:
        if isinstance(each, RemoteUploaderDownloader) and (
            (each.remote_backend_name, each.remote_bucket_name) == (backend, bucket)
        ):
            log.warning("the files for %r are kept by a logger that is there already", uri)
            return None
    return RemoteUploaderDownloader(f"{backend}://{bucket}")
