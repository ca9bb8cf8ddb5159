"""Save checkpoints at intervals, keep the newest, and name the last one."""

from __future__ import annotations

import logging
import os
import pathlib
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from composer.checkpoint.latest import move_link
from composer.checkpoint.layout import check_is_local, check_is_plain, fill_for_saving
from composer.checkpoint.remap import IgnoreKeys, check_ignore_keys
from composer.checkpoint.save import save
from composer.core.callback import Callback
from composer.core.event import Event
from composer.core.interval import create_interval_scheduler
from composer.core.logger import Logger
from composer.core.naming import (
    ensure_folder_has_no_conflicting_files,
    format_name_with_dist,
    format_name_with_dist_and_time,
)
from composer.core.state import State
from composer.core.time import Time, Timestamp
from composer.distributed import comm
from composer.errors import ConfigError
from composer.utils.folders import create_symlink_file

__all__ = ["CheckpointSaver"]

log = logging.getLogger(__name__)


class CheckpointSaver(Callback):
    """Saves checkpoints into a folder.

    Each checkpoint is written aside and renamed; then the link ``latest_filename`` is moved; only
    then are old checkpoints deleted. The callback's own state lists what it has saved, so that a
    resumed run goes on deleting where the interrupted one stopped.

    Args:
        folder: where to save; ``{run_name}`` and ranks are filled in.
        filename: name of each checkpoint; counters such as ``{epoch}`` and ``{batch}`` are filled
            in as well.
        remote_file_name: name under which logger destinations that keep files get each checkpoint;
            ``None`` for not at all.
        latest_filename: name of a link to the newest checkpoint; ``None`` for no link.
        latest_remote_file_name: name under which those destinations get a small text file, with
            ``.symlink`` behind the name, that holds the newest checkpoint's name.
        save_interval: when to save: a time, a time string, a number of epochs, or a function of
            the state and the event that says whether to save now. At the end of training too.
        overwrite: whether the folder may hold files this run would only write later.
        num_checkpoints_to_keep: how many of the newest to keep on disk; -1 for all. 0 deletes each
            once logger destinations have it, and makes no link.
        weights_only: save only the model's weights, from which training cannot go on.
        ignore_keys: what to leave out; see :func:`composer.checkpoint.remap.leave_out`.
        num_concurrent_uploads: how many files may be uploaded at once, at least 1.
        upload_timeout_in_seconds: how long to wait for an upload, more than 0.

    Raises:
        ValueError: an argument that cannot work.
    """

    def __init__(
        self,
        folder: str | pathlib.Path = "{run_name}/checkpoints",
        filename: str | pathlib.Path = "ep{epoch}-ba{batch}-rank{rank}.pt",
        remote_file_name: str
        | pathlib.Path
        | None = "{run_name}/checkpoints/ep{epoch}-ba{batch}-rank{rank}.pt",
        latest_filename: str | pathlib.Path | None = "latest-rank{rank}.pt",
        latest_remote_file_name: str
        | pathlib.Path
        | None = "{run_name}/checkpoints/latest-rank{rank}.pt",
        save_interval: Time[Any] | str | int | Callable[[State, Event], bool] = "1ep",
        *,
        overwrite: bool = False,
        num_checkpoints_to_keep: int = -1,
        weights_only: bool = False,
        ignore_keys: IgnoreKeys = None,
        num_concurrent_uploads: int = 1,
        upload_timeout_in_seconds: int = 3600,
    ) -> None:
        check_is_local(folder, "folder")
        check_is_plain(filename)
        check_ignore_keys(ignore_keys, "ignore_keys")
        for name, value, least in (
            ("num_checkpoints_to_keep", num_checkpoints_to_keep, -1),
            ("num_concurrent_uploads", num_concurrent_uploads, 1),
            ("upload_timeout_in_seconds", upload_timeout_in_seconds, 1),
        ):
            if value < least:
                raise ConfigError(f"{name}={value!r} must be at least {least}")
        self.folder = os.fspath(folder)
        self.filename = os.fspath(filename)
        self.remote_file_name = _text(remote_file_name)
        self.latest_filename = _text(latest_filename)
        self.latest_remote_file_name = _text(latest_remote_file_name)
        if not callable(save_interval):
            save_interval = create_interval_scheduler(save_interval)
        self.save_interval: Callable[[State, Event], bool] = save_interval
        self.overwrite = overwrite
        self.num_checkpoints_to_keep = num_checkpoints_to_keep
        self.weights_only = weights_only
        self.ignore_keys = ignore_keys
        self.num_concurrent_uploads = num_concurrent_uploads
        self.upload_timeout_in_seconds = upload_timeout_in_seconds
        self.all_saved_checkpoints_to_timestamp: dict[str, Timestamp] = {}
        self.last_checkpoint_batch: Time[int] | None = None
        self._folder: str | None = None

    @property
    def saved_checkpoints(self) -> list[str]:
        """Paths of the checkpoints that were saved and not deleted again, oldest first."""
        return list(self.all_saved_checkpoints_to_timestamp)

    def init(self, state: State, logger: Logger) -> None:
        """Make the folder."""
        del logger
        self._folder = format_name_with_dist(self.folder, state.run_name)
        os.makedirs(self._folder, exist_ok=True)

    def fit_start(self, state: State, logger: Logger) -> None:
        """Refuse a folder that holds later checkpoints: they are another run's."""
        del logger
        if not self.overwrite and comm.get_global_rank() == 0:
            folder = format_name_with_dist(self.folder, state.run_name)
            name = format_name_with_dist(self.filename, state.run_name)
            ensure_folder_has_no_conflicting_files(folder, name, state.timestamp)

    def batch_checkpoint(self, state: State, logger: Logger) -> None:
        """Save if it is time."""
        self._save_if_due(state, logger, Event.BATCH_CHECKPOINT)

    def epoch_checkpoint(self, state: State, logger: Logger) -> None:
        """Save if it is time."""
        self._save_if_due(state, logger, Event.EPOCH_CHECKPOINT)

    def iteration_checkpoint(self, state: State, logger: Logger) -> None:
        """Save if it is time."""
        self._save_if_due(state, logger, Event.ITERATION_CHECKPOINT)

    def state_dict(self) -> dict[str, Any]:
        """Return what was saved, with the time of each."""
        saved = self.all_saved_checkpoints_to_timestamp.items()
        return {
            "all_saved_checkpoints_to_timestamp": [
                (path, timestamp.state_dict()) for path, timestamp in saved
            ]
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what an interrupted run has saved.

        Files outside this run's folder are left alone: they belong to the run it started from.
        """
        for path, saved_at in state.get("all_saved_checkpoints_to_timestamp", []):
            if self._folder is None or not _is_inside(path, self._folder):
                continue
            if not os.path.exists(path):
                # Deleted right after the checkpoint that lists it was written.
                continue
            timestamp = Timestamp()
            timestamp.load_state_dict(saved_at)
            self.all_saved_checkpoints_to_timestamp[path] = timestamp

    def save(self, state: State, logger: Logger) -> str | None:
        """Save now, due or not.

        Returns:
            The path on rank 0; ``None`` on the others.
        """
        template = os.path.join(self.folder, self.filename)
        path = fill_for_saving(template, state.run_name, state.timestamp)
        saved = self.all_saved_checkpoints_to_timestamp
        before = saved.pop(path, None)
        # Noted first, so that the checkpoint knows of itself.
        saved[path] = state.timestamp
        try:
            save(state, path, weights_only=self.weights_only, ignore_keys=self.ignore_keys)
        except BaseException:
            del saved[path]
            if before is not None:
                saved[path] = before
            raise
        self.last_checkpoint_batch = state.timestamp.batch
        if comm.get_global_rank() == 0:
            self._link(path, state)
            self._upload(path, state, logger)
        self._delete_old()
        return path if comm.get_global_rank() == 0 else None

    def _save_if_due(self, state: State, logger: Logger, event: Event) -> None:
        if self.save_interval(state, event) and self.last_checkpoint_batch != state.timestamp.batch:
            self.save(state, logger)

    def _link(self, path: str, state: State) -> None:
        if self.latest_filename is None or self.num_checkpoints_to_keep == 0:
            return
        template = os.path.join(self.folder, self.latest_filename)
        move_link(fill_for_saving(template, state.run_name, state.timestamp), path)

    def _upload(self, path: str, state: State, logger: Logger) -> None:
        if self.remote_file_name is None or not logger.has_file_upload_destination():
            return
        logger.upload_file(self.remote_file_name, path, overwrite=self.overwrite)
        if self.latest_remote_file_name is None:
            return
        target = format_name_with_dist_and_time(
            self.remote_file_name, state.run_name, state.timestamp
        )
        with tempfile.TemporaryDirectory() as folder:
            link = os.path.join(folder, "latest.symlink")
            create_symlink_file(target, link)
            logger.upload_file(f"{self.latest_remote_file_name}.symlink", link, overwrite=True)

    def _delete_old(self) -> None:
        if self.num_checkpoints_to_keep < 0:
            return
        paths = self.saved_checkpoints
        for path in paths[: max(0, len(paths) - self.num_checkpoints_to_keep)]:
            del self.all_saved_checkpoints_to_timestamp[path]
            if comm.get_global_rank() == 0:
                with suppress(FileNotFoundError):
                    os.remove(path)
                log.debug("deleted the old checkpoint %s", path)


def _text(path: str | pathlib.Path | None) -> str | None:
    return None if path is None else os.fspath(path)


def _is_inside(path: str, folder: str) -> bool:
    folder = os.path.abspath(folder)
    return os.path.commonpath([os.path.abspath(path), folder]) == folder
