"""How a run's checkpoints get into a folder, and which of them stay there.

A save has two halves. The first holds training: the state is copied. The second runs beside it:
the copy is written aside, forced to disk, described in a manifest and renamed; then ``latest`` is
moved, the uploader is told, and what is outdated is deleted, in this order. One save is under way
at a time; the next one waits for it. What fails in the second half is raised at the next step.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import torch

from composer.checkpoint.background import BackgroundJob
from composer.checkpoint.commit import PendingCheckpoint, clear_aside
from composer.checkpoint.container import write_file
from composer.checkpoint.folder_lock import lock_folder, unlock_folder
from composer.checkpoint.latest import move_link
from composer.checkpoint.manifest import Manifests, Record
from composer.checkpoint.plain import as_plain
from composer.checkpoint.retention import Retention
from composer.checkpoint.staging import Staged, StagingArea
from composer.checkpoint.weights_file import weights_name, write_weights
from composer.errors import CheckpointNotFoundError

__all__ = ["CheckpointManager", "CheckpointUploader"]

log = logging.getLogger(__name__)


class CheckpointUploader(Protocol):
    """Brings committed checkpoints somewhere else; its methods are called from several threads."""

    def upload(self, folder: str, record: Record) -> None:
        """Queue a checkpoint; its files may be deleted from ``folder`` once this returns."""
        ...

    def check(self) -> None:
        """Raise what went wrong with an upload since the last call."""
        ...

    def wait(self) -> None:
        """Wait until everything has arrived, and raise what went wrong."""
        ...

    def close(self) -> None:
        """Stop, at the end of the run."""
        ...


class CheckpointManager:
    """Writes the checkpoints of one run into one folder; used on the rank that writes.

    Args:
        folder: the folder; it is made if it is missing.
        run_name: the run.
        series: name template of its checkpoints.
        latest: name of the link to the newest; ``None`` for no link.
        retention: which are kept; all by default.
        is_async: whether the second half of a save runs beside training.
        with_safetensors: whether the model's weights are written in a file of their own as well.
        uploader: what brings them elsewhere.

    Raises:
        RuntimeError: another process writes checkpoints into the folder.
    """

    def __init__(
        self,
        folder: str,
        run_name: str,
        series: str,
        *,
        latest: str | None = None,
        retention: Retention | None = None,
        is_async: bool = True,
        with_safetensors: bool = False,
        uploader: CheckpointUploader | None = None,
    ) -> None:
        self.folder = folder
        self._run_name = run_name
        self._series = series
        self._latest = latest
        self._retention = Retention(last=-1) if retention is None else retention
        self._is_async = is_async
        self._with_safetensors = with_safetensors
        self._uploader = uploader
        self._manifests = Manifests(folder)
        self._job = BackgroundJob()
        self._staging = StagingArea()
        # Names of checkpoints that the run has written under another run name.
        self._adopted: set[str] = set()
        self._held: set[str] = set()
        # The series as far as it is in the folder, by name, the newest last. Both halves of a save
        # and the end of training change it.
        self._series_records: dict[str, Record] = {}
        self._lock = threading.RLock()
        lock_folder(folder, run_name)
        clear_aside(folder)
        found = self._manifests.of_series(series)
        # Counted on also from those that are only elsewhere.
        self._last_sequence = max((record.sequence for record in found), default=0)
        for record in found:
            if self._is_there(record):
                self._series_records[record.name] = record
            else:
                # Somebody has deleted it.
                self._manifests.remove(record.name)

    @property
    def is_saving(self) -> bool:
        """Whether a save is under way."""
        return self._job.is_running

    @property
    def records(self) -> list[Record]:
        """The manifests of the run's checkpoints in the folder, the newest last."""
        with self._lock:
            return [
                record
                for record in self._series_records.values()
                if record.run_name == self._run_name or record.name in self._adopted
            ]

    def adopt(self, names: Iterable[str]) -> None:
        """Take over checkpoints that the run has written under another run name.

        Args:
            names: paths in the folder.
        """
        self._adopted.update(names)

    def save(
        self,
        contents: dict[str, Any],
        name: str,
        *,
        timestamp: Mapping[str, int | float],
        metrics: Mapping[str, torch.Tensor | float] | None = None,
        weights_only: bool = False,
        hold: bool = False,
    ) -> None:
        """Save a checkpoint; training may go on when this returns.

        Args:
            contents: what :func:`composer.checkpoint.save_run.collect` returns.
            name: path in the folder.
            timestamp: counters of training.
            metrics: values for :class:`Retention`; one-element tensors may be on a device.
            weights_only: whether training cannot go on from it.
            hold: whether it is kept until :meth:`release`, whatever the rules say.

        Raises:
            RuntimeError: something in the contents cannot be written.
            OSError: the save before failed.
        """
        waited_s = self._job.wait()
        if waited_s > 0.1:
            log.info("waited %.1f s for the checkpoint before to be written", waited_s)
        if hold:
            self._held.add(name)
        facts = Record(
            name=name,
            files=(),
            series=self._series,
            run_name=self._run_name,
            timestamp=dict(timestamp),
            weights_only=weights_only,
        )
        plain: tuple[Any, ...] = (as_plain(contents), dict(metrics or {}))
        if self._is_async:
            staged = self._staging.stage(plain)
            self._job.start(lambda: self._finish(staged, facts), f"saving {name}")
        else:
            self._finish(Staged(plain, []), facts)

    def check(self) -> None:
        """Raise what went wrong beside training; costs nothing while nothing did."""
        self._job.check()
        if self._uploader is not None:
            self._uploader.check()

    def wait(self) -> None:
        """Wait until the save under way is committed, and raise what went wrong."""
        self._job.wait()

    def finish(self) -> None:
        """Wait for everything, uploads included, and delete what is outdated."""
        self.wait()
        if self._uploader is not None:
            self._uploader.wait()
        self.delete_outdated()

    def close(self) -> None:
        """Give the folder free; nothing may be saved afterwards."""
        if self._uploader is not None:
            self._uploader.close()
        unlock_folder(self.folder)

    def release(self, names: Iterable[str]) -> None:
        """Let go of checkpoints that were saved with ``hold``."""
        self._held.difference_update(names)

    def pin(self, name: str, pinned: bool = True) -> None:
        """Keep a checkpoint whatever the rules say, or no longer.

        Args:
            name: path in the folder.
            pinned: whether to keep it.

        Raises:
            FileNotFoundError: the folder has no such checkpoint.
        """
        self.wait()
        with self._lock:
            record = self._series_records.get(name)
            if record is None:
                raise CheckpointNotFoundError(
                    f"{self.folder!r} has no checkpoint {name!r}, but {list(self._series_records)}"
                )
            record = self._series_records[name] = dataclasses.replace(record, pinned=pinned)
            self._manifests.write(record)

    def delete_outdated(self) -> None:
        """Delete what no rule keeps and nobody waits for."""
        with self._lock:
            for record in self._retention.outdated(self.records):
                if record.name not in self._held:
                    self._delete(record)

    def _finish(self, staged: Staged, facts: Record) -> None:
        """Do the second half of a save."""
        staged.wait()
        contents, metrics = staged.contents
        name = facts.name
        with PendingCheckpoint(self.folder, name) as pending:
            write_file(contents, pending, name)
            if self._with_safetensors:
                write_weights(contents["state"]["model"], pending, weights_name(name))
            with self._lock:
                self._last_sequence += 1
                facts = dataclasses.replace(
                    facts,
                    sequence=self._last_sequence,
                    metrics={key: float(value) for key, value in metrics.items()},
                )
                record = pending.commit(facts, self._manifests)
                self._series_records.pop(name, None)
                self._series_records[name] = record
        log.debug("committed the checkpoint %s", os.path.join(self.folder, name))
        if self._latest is not None:
            move_link(os.path.join(self.folder, self._latest), os.path.join(self.folder, name))
        if self._uploader is not None:
            self._uploader.upload(self.folder, record)
        self.delete_outdated()

    def _delete(self, record: Record) -> None:
        self._manifests.delete_checkpoint(record)
        del self._series_records[record.name]
        log.debug("deleted the old checkpoint %s", os.path.join(self.folder, record.name))

    def _is_there(self, record: Record) -> bool:
        return any(os.path.lexists(os.path.join(self.folder, part.name)) for part in record.files)
