"""Bring files of checkpoints to a store.

For programs that write them with :mod:`composer.checkpoint.save`. The Trainer does so by itself
where ``save_folder`` is an address.
"""

from __future__ import annotations

import os
import posixpath
import tempfile
from typing import Literal

from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError
from composer.storage.uploader import Uploader
from composer.storage.uri import parse_uri, store_of
from composer.utils.folders import LINK_SUFFIX, create_symlink_file

__all__ = ["CheckpointUploadCallback", "upload_file"]


class CheckpointUploadCallback(Callback):
    """Waits for uploads: what fails is raised after a batch, what is left is awaited at the end.

    Args:
        remote_uploader: what uploads.
        upload_timeout_in_seconds: the longest wait at the end.
    """

    def __init__(self, remote_uploader: Uploader, upload_timeout_in_seconds: int = 3600) -> None:
        self.remote_uploader = remote_uploader
        self.upload_timeout_in_seconds = upload_timeout_in_seconds

    def batch_end(self, state: State, logger: Logger) -> None:
        """Raise what has failed for good."""
        del state, logger
        self.remote_uploader.check()

    def fit_end(self, state: State, logger: Logger) -> None:
        """Wait until everything is in the store."""
        del state, logger
        self.wait()

    def post_close(self) -> None:
        """Stop; what is left stays in the queue on disk."""
        self.remote_uploader.close(self.upload_timeout_in_seconds)

    def wait(self) -> None:
        """Wait until everything is in the store.

        Raises:
            RuntimeError: an upload failed for good, or not all were done in time.
        """
        self.remote_uploader.wait(self.upload_timeout_in_seconds)


def upload_file(
    dest_dir: str,
    source_path: str | None = None,
    symlink_granularity: Literal["file", "dir"] | None = None,
    symlink_name: str = "latest.symlink",
    async_upload: bool = True,
    state: State | None = None,
    overwrite: bool = False,
) -> None:
    """Upload a file to a folder in a store, and a link file that names it.

    The link goes when the file is there.

    Args:
        dest_dir: the folder's address, such as ``s3://bucket/run/ep1``.
        source_path: the local file; ``None`` on a rank that has none to upload.
        symlink_granularity: whether a link file names the file (``'file'``) or the folder
            (``'dir'``); ``None`` for no link file.
        symlink_name: name of the link file, which ends in ``.symlink``; it lies in ``dest_dir`` or,
            where it names the folder, next to it.
        async_upload: whether to return at once. Then ``state`` gets a callback that waits for the
            upload when training ends.
        state: the run.
        overwrite: whether an object of the name may be replaced.

    Raises:
        ValueError: ``async_upload`` without a state, a wrong name or granularity.
        RuntimeError: the upload failed.
    """
    if symlink_granularity not in (None, "file", "dir"):
        raise ConfigError(
            f"symlink_granularity={symlink_granularity!r} must be 'file', 'dir' or None"
        )
    if not symlink_name.endswith(LINK_SUFFIX):
        raise ConfigError(f"symlink_name={symlink_name!r} must end in {LINK_SUFFIX!r}")
    if async_upload and state is None:
        raise ConfigError("async_upload=True needs a state, whose end the upload must not miss")
    if source_path is None:
        return
    folder = parse_uri(dest_dir)[2].rstrip("/")
    uploader = Uploader(store_of(dest_dir), scope=dest_dir)
    name = posixpath.join(folder, os.path.basename(source_path))
    upload = uploader.submit(source_path, name, overwrite=overwrite)
    if symlink_granularity is not None:
        is_file = symlink_granularity == "file"
        link_folder = folder if is_file else posixpath.dirname(folder)
        with tempfile.TemporaryDirectory() as aside:
            link = os.path.join(aside, "link.symlink")
            create_symlink_file(name if is_file else folder, link)
            link_name = posixpath.join(link_folder, symlink_name)
            uploader.submit(link, link_name, overwrite=True, after=[upload])
    if async_upload and state is not None:
        state.callbacks.append(CheckpointUploadCallback(uploader))
        return
    try:
        uploader.wait()
    finally:
        uploader.close(0)
