"""Say when checkpoints are saved, what they are called and which are kept."""

from __future__ import annotations

import logging
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

from composer.checkpoint.container import check_can_write
from composer.checkpoint.layout import fill_for_loading, fill_for_saving
from composer.checkpoint.manager import CheckpointManager
from composer.checkpoint.manifest import Manifests
from composer.checkpoint.newest import why_invalid
from composer.checkpoint.remap import IgnoreKeys, check_ignore_keys, leave_out
from composer.checkpoint.remote_folder import RemoteFolder
from composer.checkpoint.retention import Retention
from composer.checkpoint.save_run import collect, counters_of, on_rank_zero
from composer.checkpoint.weights_file import check_can_write_weights
from composer.core.callback import Callback
from composer.core.event import Event
from composer.core.interval import create_interval_scheduler
from composer.core.logger import Logger
from composer.core.naming import (
    ensure_folder_has_no_conflicting_files,
    ensure_no_conflicting_names,
    format_name_with_dist,
)
from composer.core.state import State
from composer.core.time import Time, Timestamp
from composer.core.weight_view import evaluation_weights
from composer.distributed import comm
from composer.errors import ConfigError, StateError, unknown_name
from composer.storage.uri import is_uri, store_of
from composer.utils.folders import create_symlink_file

__all__ = ["CheckpointSaver"]

log = logging.getLogger(__name__)


class CheckpointSaver(Callback):
    """Saves checkpoints into a folder.

    A save holds training only while the state is copied. Beside training the copy is written aside
    and renamed when it is safe on disk; then the link ``latest_filename`` is moved; only then are
    old checkpoints deleted. One save is under way at a time. What goes wrong is raised at the next
    step, and at the end of training all is written or an error is raised.

    Which checkpoints there are is read from the manifests in the folder (see
    :mod:`composer.checkpoint.manifest`), so a resumed run goes on deleting where the interrupted
    one stopped.

    Args:
        folder: where to save; ``{run_name}`` and ranks are filled in. At an address such as
            ``s3://bucket/{run_name}`` checkpoints are uploaded beside training, and the newest
            stays on this machine.
        filename: name of each checkpoint; counters such as ``{epoch}`` and ``{batch}`` are filled
            in as well. An ending such as ``.pt.zst`` or ``.tar.gz`` asks for compression.
        remote_file_name: name under which logger destinations that keep files get each checkpoint;
            ``None`` for not at all.
        latest_filename: name of a link to the newest checkpoint; ``None`` for no link.
        latest_remote_file_name: name under which those destinations get a small text file, with
            ``.symlink`` behind the name, that holds the newest checkpoint's name.
        save_interval: when to save: a time, a time string, a number of epochs, or a function of
            the state and the event that says whether to save now. At the end of training too.
        overwrite: whether the folder may hold files this run would only write later.
        num_checkpoints_to_keep: how many of the newest to keep on disk; -1 for all. 0 deletes each
            once logger destinations have it, and makes no link. With an address as folder it is
            about this machine, where -1 keeps one; nothing is deleted at the address.
        weights_only: save only the model's weights, from which training cannot go on.
        ignore_keys: what to leave out; see :func:`composer.checkpoint.remap.leave_out`.
        num_concurrent_uploads: how many files may be uploaded at once, at least 1.
        upload_timeout_in_seconds: how long to wait for an upload, more than 0.
        retention: which checkpoints to keep, where the number of the newest is not enough; with an
            address as folder, which to keep there.
        save_async: whether writing goes on beside training. It takes host memory of the size of
            the state.
        with_safetensors: whether the model's weights are written to a ``.safetensors`` file beside
            each checkpoint as well.

    Raises:
        ValueError: an argument that cannot work.
        ImportError: a program or package is missing that an argument asks for.
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
        retention: Retention | None = None,
        save_async: bool = True,
        with_safetensors: bool = False,
    ) -> None:
        if is_uri(folder):
            # Refuses unknown schemes and missing packages; placeholders are not filled yet.
            store_of(os.fspath(folder))
        check_can_write(filename)
        check_ignore_keys(ignore_keys, "ignore_keys")
        for name, value, least in (
            ("num_checkpoints_to_keep", num_checkpoints_to_keep, -1),
            ("num_concurrent_uploads", num_concurrent_uploads, 1),
            ("upload_timeout_in_seconds", upload_timeout_in_seconds, 1),
        ):
            if value < least:
                raise ConfigError(f"{name}={value!r} must be at least {least}")
        if retention is not None and num_checkpoints_to_keep != -1:
            raise ConfigError(
                f"num_checkpoints_to_keep={num_checkpoints_to_keep} and retention={retention!r} "
                "both say what to keep; give Retention(last=...) alone"
            )
        if with_safetensors:
            check_can_write_weights()
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
        self.retention = Retention(num_checkpoints_to_keep) if retention is None else retention
        self._is_retention_given = retention is not None
        self.save_async = save_async
        self.with_safetensors = with_safetensors
        self.last_checkpoint_batch: Time[int] | None = None
        self._folder: str | None = None
        self._is_open = False
        self._manager: CheckpointManager | None = None
        self._remote: RemoteFolder | None = None
        self._run_name = ""
        # Names of checkpoints in the folder that the run has written, perhaps under another name.
        self._adopted: set[str] = set()
        self._saving: dict[str, Timestamp] = {}
        # Names of checkpoints that logger destinations do not have yet, and their names there.
        self._to_hand_over: dict[str, str] = {}
        self._evaluated_at: Time[int] | None = None

    @property
    def saved_checkpoints(self) -> list[str]:
        """Paths of the checkpoints that are written and not deleted again, oldest first.

        Addresses, if the folder is one.
        """
        return list(self.all_saved_checkpoints_to_timestamp)

    @property
    def all_saved_checkpoints_to_timestamp(self) -> dict[str, Timestamp]:
        """Those checkpoints, each with the time of training at which it was saved."""
        if self._folder is None:
            return {}
        if self._manager is not None and self._remote is None:
            records = self._manager.records
        else:
            found = self._remote.records if self._remote else Manifests(self._folder).all()
            series = [record for record in found if record.series == self.filename]
            records = [r for r in series if r.run_name == self._run_name or r.name in self._adopted]
        return {self._shown(r.name): _as_timestamp(r.timestamp) for r in records}

    def init(self, state: State, logger: Logger) -> None:
        """Make the folder; where it is far away, see what is there."""
        del logger
        self._open_folder(state.run_name)

    def fit_start(self, state: State, logger: Logger) -> None:
        """Take the folder, and refuse one that holds later checkpoints: they are another run's."""
        del logger
        on_rank_zero(lambda: self._take_folder(state), f"use the folder {self._folder!r}")

    def bring_newest(self, run_name: str) -> str:
        """Bring the newest whole checkpoint here, if the folder is far away; all ranks call this.

        Args:
            run_name: the run's name.

        Returns:
            The folder on this machine in which to look for it.
        """
        folder = self._open_folder(run_name)
        if self._remote is not None:
            self._remote.bring_newest(self.filename)
        return folder

    def batch_end(self, state: State, logger: Logger) -> None:
        """Raise what went wrong beside training, and hand over what was written."""
        del state
        if self._manager is not None:
            self._manager.check()
            if self._to_hand_over and not self._manager.is_saving:
                self._hand_over(logger)

    def eval_after_all(self, state: State, logger: Logger) -> None:
        """Note that the values of evaluations are of now."""
        del logger
        self._evaluated_at = state.timestamp.batch

    def batch_checkpoint(self, state: State, logger: Logger) -> None:
        """Save if it is time."""
        self._save_if_due(state, logger, Event.BATCH_CHECKPOINT)

    def epoch_checkpoint(self, state: State, logger: Logger) -> None:
        """Save if it is time."""
        self._save_if_due(state, logger, Event.EPOCH_CHECKPOINT)

    def iteration_checkpoint(self, state: State, logger: Logger) -> None:
        """Save if it is time."""
        self._save_if_due(state, logger, Event.ITERATION_CHECKPOINT)

    def fit_end(self, state: State, logger: Logger) -> None:
        """Wait until everything is written and handed over, or raise what went wrong."""
        del state
        self.wait(logger)

    def close(self, state: State, logger: Logger) -> None:
        """Wait as at the end of training, also where training has failed."""
        del state
        self._is_open = False
        try:
            self._finish(logger)
        finally:
            manager, self._manager = self._manager, None
            if manager is not None:
                manager.close()
            if self._remote is not None:
                self._remote.close()

    def state_dict(self) -> dict[str, Any]:
        """Return what was saved, this checkpoint included, with the time of each."""
        saved = {**self.all_saved_checkpoints_to_timestamp, **self._saving}
        return {
            "all_saved_checkpoints_to_timestamp": [
                (path, timestamp.state_dict()) for path, timestamp in saved.items()
            ]
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what an interrupted run has saved.

        Files outside this run's folder are left alone: they belong to the run it started from.
        """
        folder = self._remote.uri if self._remote else self._folder
        for path, _ in state.get("all_saved_checkpoints_to_timestamp", []):
            if folder is not None and _is_inside(path, folder):
                self._adopted.add(os.path.relpath(os.path.abspath(path), os.path.abspath(folder)))
        for each in (self._manager, self._remote):
            if each is not None:
                each.adopt(self._adopted)

    def save(self, state: State, logger: Logger) -> str | None:
        """Save now, due or not; :meth:`wait` says when the file is there. All ranks call this.

        Returns:
            The path or address of the file on rank 0, which writes it; ``None`` on the others.
        """
        name = fill_for_saving(self.filename, state.run_name, state.timestamp)
        path = self._shown(name)
        metrics = self._judged_by(state)
        # Noted first, so that the checkpoint knows of itself.
        self._saving = {path: state.timestamp}
        try:
            with evaluation_weights(state):
                contents = collect(state, self.weights_only)
                contents = leave_out(contents, self.ignore_keys, "save_ignore_keys")
                on_rank_zero(
                    lambda: self._write(contents, name, metrics, state, logger), f"save {path!r}"
                )
        finally:
            self._saving = {}
        self.last_checkpoint_batch = state.timestamp.batch
        log.info("saving a checkpoint at %s: %s", state.timestamp, path)
        return path if comm.get_global_rank() == 0 else None

    def wait(self, logger: Logger) -> None:
        """Wait until what was saved is written and handed over; all ranks call this.

        Raises:
            Exception: what writing failed with; a ``RuntimeError`` on ranks other than 0.
        """
        is_first = comm.get_global_rank() == 0
        comm.run_while_others_wait(
            lambda: self._finish(logger) if is_first else None, "write the last checkpoint"
        )

    def settle(self) -> None:
        """Wait for the save under way where another error is being raised; never raises itself."""
        if self._manager is not None:
            try:
                self._manager.wait()
            except Exception:
                log.exception("the checkpoint that was being written when training failed is lost")

    def pin(self, path: str, pinned: bool = True) -> None:
        """Keep a checkpoint for ever, or leave it to the rules again; for rank 0.

        Args:
            path: one of :attr:`saved_checkpoints`.
            pinned: whether to keep it.

        Raises:
            RuntimeError: there is no run yet, or there is no such checkpoint.
        """
        if self._manager is None:
            raise StateError("pin() is for the run that saves, after it has started")
        name = os.path.relpath(path, self._shown(""))
        (self._manager if self._remote is None else self._remote).pin(name, pinned)

    def _save_if_due(self, state: State, logger: Logger, event: Event) -> None:
        if self.save_interval(state, event) and self.last_checkpoint_batch != state.timestamp.batch:
            self.save(state, logger)

    def _take_folder(self, state: State) -> None:
        # Before anything is looked at: another process may be writing there.
        manager = self._manager_of(state)
        if self.overwrite:
            return
        try:
            self._refuse_conflicts(manager.folder, state)
        except FileExistsError:
            self._manager = None
            manager.close()
            raise

    def _refuse_conflicts(self, folder: str, state: State) -> None:
        """Refuse a folder with checkpoints this run would only write later."""
        name = format_name_with_dist(self.filename, state.run_name)
        if self._remote is not None:
            names = self._remote.later()
            ensure_no_conflicting_names(names, name, state.timestamp, self._remote.uri)
        else:
            # What is broken was not gone on from, and may be written anew.
            ensure_folder_has_no_conflicting_files(
                folder, name, state.timestamp, lambda path: why_invalid(path, folder) is not None
            )

    def _manager_of(self, state: State) -> CheckpointManager:
        if self._manager is None:
            latest = None if self.retention.last == 0 else self.latest_filename
            retention = self.retention
            if self._remote is not None and (retention.last < 0 or self._is_retention_given):
                # What is kept is in the bucket; here it would fill the disk.
                retention = Retention(last=1)
            self._manager = CheckpointManager(
                self._folder or "",
                state.run_name,
                self.filename,
                retention=retention,
                latest=None if latest is None else fill_for_loading(latest, state.run_name),
                is_async=self.save_async,
                with_safetensors=self.with_safetensors,
                uploader=self._remote,
            )
            self._manager.adopt(self._adopted)
        return self._manager

    def _write(
        self,
        contents: dict[str, Any],
        name: str,
        metrics: dict[str, Any],
        state: State,
        logger: Logger,
    ) -> None:
        manager = self._manager_of(state)
        has_takers = self.remote_file_name is not None and logger.has_file_upload_destination()
        if self._to_hand_over:
            manager.wait()
            self._hand_over(logger)
        manager.save(
            contents,
            name,
            timestamp=counters_of(state.timestamp),
            metrics=metrics,
            weights_only=self.weights_only,
            hold=has_takers,
        )
        if has_takers:
            self._to_hand_over[name] = fill_for_saving(
                self.remote_file_name or "", state.run_name, state.timestamp
            )

    def _finish(self, logger: Logger) -> None:
        if self._manager is not None:
            self._manager.wait()
            self._hand_over(logger)
            self._manager.finish()

    def _hand_over(self, logger: Logger) -> None:
        """Give what was written to the logger destinations that keep files."""
        manager = self._manager
        if manager is None:
            return
        for name, remote_name in self._to_hand_over.items():
            path = os.path.join(manager.folder, name)
            logger.upload_file(remote_name, path, overwrite=self.overwrite)
            if self.latest_remote_file_name is None:
                continue
            with tempfile.TemporaryDirectory() as folder:
                link = os.path.join(folder, "latest.symlink")
                create_symlink_file(remote_name, link)
                logger.upload_file(f"{self.latest_remote_file_name}.symlink", link, overwrite=True)
        manager.release(self._to_hand_over)
        self._to_hand_over = {}

    def _open_folder(self, run_name: str) -> str:
        """Make the folder, unless that was done; where it is far away, see what is there."""
        if self._folder is not None and self._is_open:
            return self._folder
        self._is_open = True
        self._run_name = run_name
        folder = fill_for_loading(self.folder, run_name)
        if is_uri(folder):
            latest = self.latest_filename
            self._remote = RemoteFolder(
                folder,
                run_name,
                latest=None if latest is None else fill_for_loading(latest, run_name),
                num_uploads=self.num_concurrent_uploads,
                timeout_s=self.upload_timeout_in_seconds,
                retention=self.retention if self._is_retention_given else None,
            )
            self._remote.adopt(self._adopted)
            self._remote.open()
            folder = self._remote.folder
        os.makedirs(folder, exist_ok=True)
        self._folder = folder
        return folder

    def _shown(self, name: str) -> str:
        """The path of a checkpoint of this name, as users know it."""
        if self._remote is not None:
            return f"{self._remote.uri}/{name}"
        return os.path.join(self._folder or "", name)

    def _judged_by(self, state: State) -> dict[str, Any]:
        """Return the value by which this checkpoint may be one of the best, if it has one."""
        name = self.retention.metric
        if name is None:
            return {}
        if name in state.total_loss_dict:
            return {name: state.total_loss_dict[name]}
        kind, _, rest = name.partition("/")
        label, _, metric = rest.partition("/")
        groups = {"train": state.train_metrics or {}, **state.eval_metrics}
        if kind != "metrics" or metric not in groups.get(label, {}):
            known = [f"metrics/{group}/{each}" for group in groups for each in groups[group]]
            raise unknown_name("metric of Retention", name, [*known, *state.total_loss_dict])
        if label in state.eval_metrics and self._evaluated_at != state.timestamp.batch:
            return {}
        value = groups[label][metric].compute()
        return {name: value}


def _text(path: str | pathlib.Path | None) -> str | None:
    return None if path is None else os.fspath(path)


def _as_timestamp(counters: dict[str, Any]) -> Timestamp:
    timestamp = Timestamp()
    timestamp.load_state_dict(counters)
    return timestamp


def _is_inside(path: str, folder: str) -> bool:
    folder = os.path.abspath(folder)
    return os.path.commonpath([os.path.abspath(path), folder]) == folder
