"""A run's folder of checkpoints in a bucket, and the working copy of it on this machine.

Checkpoints are written into a local folder and uploaded from there: the files of a checkpoint
first, then its manifest, then the link to the newest. So what has a manifest in the bucket is
complete there, and the link never leads to something that is not. The local folder belongs to one
address and begins empty with each run; what waits for its upload is held by the queue. One run at a
time writes to an address (:mod:`composer.checkpoint.owner_mark`), and what stays in the bucket is
for :mod:`composer.checkpoint.remote_retention` to say.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from composer.checkpoint.folder_lock import lock_folder, unlock_folder
from composer.checkpoint.latest import move_link
from composer.checkpoint.manifest import OWN_FOLDER, Manifests, Record, find_defect
from composer.checkpoint.owner_mark import OwnerMark
from composer.checkpoint.remote_retention import RemoteRetention
from composer.checkpoint.retention import Retention
from composer.distributed import comm
from composer.errors import CheckpointNotFoundError
from composer.storage.files import get_file
from composer.storage.queue import private_folder
from composer.storage.schedule import Upload
from composer.storage.uploader import IN_THIS_PROCESS, RetryPolicy, Uploader
from composer.storage.uri import parse_uri, store_of
from composer.utils.folders import LINK_SUFFIX, create_symlink_file

__all__ = ["RemoteFolder"]

log = logging.getLogger(__name__)

_MANIFESTS = f"{OWN_FOLDER}/manifests/"
_DOWNLOADS_AT_ONCE = 16


class RemoteFolder:
    """Brings checkpoints into a bucket and back; made and opened on every rank.

    It is the ``uploader`` of a :class:`composer.checkpoint.manager.CheckpointManager`.

    Args:
        uri: the folder's address, e.g. ``"s3://bucket/run-1"``.
        run_name: the run.
        latest: name of the link to the newest; ``None`` for no link.
        num_uploads: files uploaded at once.
        timeout_s: how long to try an upload, and to wait for uploads at the end, in seconds.
        retention: which of the run's checkpoints stay in the bucket; ``None`` for all.
    """

    def __init__(
        self,
        uri: str,
        run_name: str,
        *,
        latest: str | None = None,
        num_uploads: int = 1,
        timeout_s: float = 3600,
        retention: Retention | None = None,
    ) -> None:
        self.uri = uri.rstrip("/")
        self.folder = private_folder("checkpoints", self.uri)
        self._run_name = run_name
        self._latest = latest
        self._num_uploads = num_uploads
        self._timeout_s = timeout_s
        self._store = store_of(uri)
        self._prefix = parse_uri(self.uri)[2]
        self._manifests = Manifests(self.folder)
        self._records: dict[str, Record] = {}
        self._broken: set[str] = set()
        self._uploader: Uploader | None = None
        # The upload of each manifest that this process has sent last.
        self._manifest_uploads: dict[str, Upload] = {}
        self._adopted: set[str] = set()
        self._owner = OwnerMark(
            self._store,
            self._name(f"{OWN_FOLDER}/owner.json"),
            run_name,
            os.path.join(self.folder, OWN_FOLDER, "owner"),
        )
        self._retention = RemoteRetention(self._store, retention, self._objects_of, self._is_own)

    # At the start; all ranks call these.

    def open(self) -> None:
        """Bring into the bucket what an earlier process has left here, and see what is there.

        Raises:
            RuntimeError: another run uses the address, or the store does not take what is left.
        """
        is_first = comm.get_global_rank() == 0
        comm.run_while_others_wait(self._begin if is_first else _nothing, f"use {self.uri!r}")
        self._on_first_here(self._sync, "be read")

    def bring_newest(self, series: str) -> None:
        """Bring the newest whole checkpoint here.

        Newer ones that are broken come as well, so that it can be said what is wrong with them.

        Args:
            series: name template of the checkpoints that count.
        """
        self._on_first_here(lambda: self._bring_newest(series), "give its newest checkpoint")

    def _on_first_here(self, function: Callable[[], None], what: str) -> None:
        """Call a function on the first rank of each machine while the others wait."""
        is_first = comm.get_local_rank() == 0
        comm.run_while_others_wait(function if is_first else _nothing, f"let {self.uri!r} {what}")

    def _begin(self) -> None:
        lock_folder(self.folder, self._run_name)
        try:
            self._owner.take()
        except BaseException:
            unlock_folder(self.folder)
            raise
        # An outage does not end training while there is time left to wait for the store.
        retries = RetryPolicy(num_attempts=8 + int(self._timeout_s / RetryPolicy().longest_wait_s))
        self._uploader = Uploader(
            self._store,
            scope=self.uri,
            num_workers=self._num_uploads,
            retries=retries,
            use_processes=parse_uri(self.uri)[0] not in IN_THIS_PROCESS,
        )
        self._uploader.wait(self._timeout_s, progress_bar=True)

    def _sync(self) -> None:
        """Make the local folder show what there is in the bucket."""
        for name in os.listdir(self.folder) if os.path.isdir(self.folder) else ():
            if name != OWN_FOLDER:
                _remove(os.path.join(self.folder, name))
        shutil.rmtree(os.path.join(self.folder, OWN_FOLDER, "manifests"), ignore_errors=True)
        names = self._store.list_objects(self._name(_MANIFESTS))
        with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
            list(pool.map(self._bring_file, (name[len(self._name("")) :] for name in names)))
        self._records = {record.name: record for record in self._manifests.all()}
        self._retention.found(self._records.values())

    def _bring_newest(self, series: str) -> None:
        records = [each for each in self._records.values() if each.series == series]
        for record in reversed(records):
            for part in record.files:
                with suppress(FileNotFoundError):
                    self._bring_file(part.name)
            if find_defect(self.folder, record) is None:
                return
            self._broken.add(record.name)
        if not records and self._latest is not None:
            self._bring_linked(self._latest)

    def later(self) -> Iterator[str]:
        """Yield the names of all whole checkpoints in the bucket, of whatever run.

        Where there are no manifests another program has written the folder, and every file counts.
        """
        if self._records:
            yield from (name for name in self._records if name not in self._broken)
            return
        start = len(self._name(""))
        for name in self._store.list_objects(self._name("")):
            if not name.endswith(LINK_SUFFIX) and not name[start:].startswith(OWN_FOLDER):
                yield name[start:]

    # While training.

    @property
    def records(self) -> list[Record]:
        """The manifests of the checkpoints in the bucket or on their way there, the newest last."""
        kept = set(self._retention.names)
        return [record for record in list(self._records.values()) if record.name in kept]

    def adopt(self, names: Iterable[str]) -> None:
        """Take over checkpoints that the run has written under another run name.

        Args:
            names: paths in the folder.
        """
        self._adopted.update(names)

    def pin(self, name: str, pinned: bool = True) -> None:
        """Keep a checkpoint in the bucket whatever the rules say, or no longer.

        Args:
            name: path in the folder.
            pinned: whether to keep it.

        Raises:
            FileNotFoundError: there is no such checkpoint.
        """
        names = [record.name for record in self.records]
        if name not in names:
            raise CheckpointNotFoundError(f"{self.uri!r} has no checkpoint {name!r}, but {names}")
        record = self._records[name] = dataclasses.replace(self._records[name], pinned=pinned)
        self._retention.changed(record)
        before = self._manifest_uploads.get(name)
        with tempfile.TemporaryDirectory() as place:
            manifests = Manifests(place)
            manifests.write(record)
            self._submit_manifest(manifests, record, [] if before is None else [before])

    def uri_of(self, name: str) -> str:
        """Return the address of a checkpoint."""
        return self._store.get_uri(self._name(name))

    def upload(self, folder: str, record: Record) -> None:
        """Queue a checkpoint: its files, then its manifest, then the link.

        The queue has files of its own, so those in the folder may be deleted at once.
        """
        self._owner.check()
        uploader = self._opened()
        self._retention.expect(record)
        parts = [
            uploader.submit(
                os.path.join(folder, part.name), self._name(part.name), overwrite=True, link=True
            )
            for part in record.files
        ]
        last = self._submit_manifest(self._manifests, record, parts)
        if self._latest is not None:
            with tempfile.TemporaryDirectory() as place:
                link = os.path.join(place, f"latest{LINK_SUFFIX}")
                create_symlink_file(self._name(record.name), link)
                name = self._name(self._latest) + LINK_SUFFIX
                last = uploader.submit(link, name, overwrite=True, after=[last])
        self._records.pop(record.name, None)
        self._records[record.name] = record
        last.future.add_done_callback(lambda done: self._note_end(record, done))

    def check(self) -> None:
        """Raise if an upload has failed for good, or another run has taken the address."""
        self._owner.check()
        self._opened().check()

    def wait(self) -> None:
        """Wait until everything has arrived.

        Raises:
            UploadError: an upload failed for good, or was not done in time.
        """
        self._opened().wait(self._timeout_s, progress_bar=True)

    def close(self) -> None:
        """Stop uploading; what has not arrived waits on this machine for the run's next start."""
        uploader, self._uploader = self._uploader, None
        if uploader is None:
            if comm.get_local_rank() == 0 and comm.get_node_rank() > 0:
                # On the first machine rank 0 still uses it.
                shutil.rmtree(self.folder, ignore_errors=True)
            return
        # Whoever wanted to wait has done so.
        left = uploader.close(timeout_s=0)
        self._owner.release()
        unlock_folder(self.folder)
        if not left:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _opened(self) -> Uploader:
        if self._uploader is None:
            self._begin()
        assert self._uploader is not None
        return self._uploader

    def _submit_manifest(
        self, manifests: Manifests, record: Record, after: Sequence[Upload]
    ) -> Upload:
        upload = self._opened().submit(
            manifests.path_of(record.name),
            self._name(f"{_MANIFESTS}{record.name}.json"),
            overwrite=True,
            after=after,
        )
        self._manifest_uploads[record.name] = upload
        return upload

    def _note_end(self, record: Record, done: Future[str]) -> None:
        if done.exception() is None:
            self._retention.arrived(self._records[record.name])

    def _objects_of(self, record: Record) -> list[str]:
        """Return the names of a checkpoint's objects, its manifest last."""
        names = [part.name for part in record.files]
        return [self._name(name) for name in (*names, f"{_MANIFESTS}{record.name}.json")]

    def _is_own(self, record: Record) -> bool:
        return record.run_name == self._run_name or record.name in self._adopted

    def _name(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    def _bring_file(self, name: str) -> None:
        path = os.path.join(self.folder, name)
        show = not name.startswith(_MANIFESTS)
        get_file(self._name(name), path, self._store, overwrite=True, progress_bar=show)

    def _bring_linked(self, latest: str) -> None:
        """Bring what the link leads to, where there are no manifests."""
        aside = os.path.join(self.folder, f".{latest}.download")
        try:
            found = get_file(self._name(latest), aside, self._store, overwrite=True)
        except FileNotFoundError:
            return
        target = os.path.join(self.folder, os.path.basename(found))
        os.replace(aside, target)
        move_link(os.path.join(self.folder, latest), target)


def _nothing() -> None:
    """What ranks do that only wait."""


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)
