"""A folder of checkpoints in a store, such as ``s3://bucket/run/checkpoints``.

It looks like a local one: files, manifests under ``.composer/manifests``, and a small text file
``<latest>.symlink`` in place of a link. The files of a checkpoint go first, its manifest when they
are there, the link last, so a checkpoint that has a manifest is complete.
"""

from __future__ import annotations

import logging
import os
import posixpath
import tempfile
from contextlib import suppress

from composer.checkpoint.manifest import Manifests, Record, find_defect
from composer.checkpoint.newest import Found
from composer.errors import CheckpointNotFoundError
from composer.storage.files import get_file
from composer.storage.object_store import ObjectStore
from composer.storage.queue import place_for
from composer.storage.uploader import Uploader
from composer.storage.uri import parse_uri, store_of
from composer.utils.folders import create_symlink_file

__all__ = ["RemoteFolder"]

log = logging.getLogger(__name__)


class RemoteFolder:
    """Checkpoints of one run in a store.

    Args:
        uri: the folder's address.
        run_name: the run. What an earlier process of the same name has left in its queue on this
            machine is uploaded first.
        latest: name of the link to the newest; ``None`` for no link.
        num_workers: files uploaded at once.
        timeout_s: the longest wait at the end, in seconds.

    Attributes:
        local: the folder on this machine that checkpoints are written to first and fetched to.
    """

    def __init__(
        self,
        uri: str,
        run_name: str,
        latest: str | None,
        *,
        num_workers: int = 1,
        timeout_s: float | None = None,
    ) -> None:
        self.uri = uri
        self.local = self.local_of(uri, run_name)
        self._latest = latest
        self._run_name = run_name
        self._num_workers = num_workers
        self._timeout_s = timeout_s
        self._prefix = parse_uri(uri)[2].rstrip("/")
        self._store: ObjectStore = store_of(uri)
        self._uploader: Uploader | None = None

    @staticmethod
    def local_of(uri: str, run_name: str) -> str:
        """Return the folder on this machine that stands for one at an address."""
        return place_for(uri, f"checkpoints of {run_name}")

    def upload(self, folder: str, record: Record) -> None:
        """Queue a checkpoint: its files, then its manifest, then the link.

        The queue owns what it holds, so the local files may be deleted at once.
        """
        uploader = self._started()
        parts = [
            uploader.submit(
                os.path.join(folder, part.name), self._name(part.name), overwrite=True, link=True
            )
            for part in record.files
        ]
        manifest = uploader.submit(
            Manifests(folder).path_of(record.name),
            self._name(self._manifest_name(record.name)),
            overwrite=True,
            after=parts,
        )
        if self._latest is None:
            return
        with tempfile.TemporaryDirectory() as aside:
            link = os.path.join(aside, "latest.symlink")
            create_symlink_file(self._name(record.name), link)
            name = self._name(f"{self._latest}.symlink")
            uploader.submit(link, name, overwrite=True, after=[manifest])

    def check(self) -> None:
        """Raise if an upload has failed for good."""
        if self._uploader is not None:
            self._uploader.check()

    def wait(self) -> None:
        """Wait until everything is in the store.

        Raises:
            RuntimeError: an upload failed for good, or not all were done in time.
        """
        if self._uploader is not None:
            self._uploader.wait(self._timeout_s, progress_bar=True)

    def close(self) -> None:
        """Upload what waits, then stop; what is left stays in the queue on disk."""
        if self._uploader is not None:
            self._uploader.close(self._timeout_s)
            self._uploader = None

    def fetch_newest(self, series: str) -> Found:
        """Fetch the newest checkpoint that is whole.

        What an earlier process has left in the queue on this machine is uploaded first.

        Args:
            series: name template of the checkpoints that count.
        """
        self._started().wait(self._timeout_s, progress_bar=True)
        self._fetch_manifests()
        skipped: list[tuple[str, str]] = []
        for record in reversed(Manifests(self.local).of_series(series)):
            reason = self._fetch(record)
            path = os.path.join(self.local, record.name)
            if reason is None:
                return Found(path, tuple(skipped))
            log.warning("skipping the checkpoint %s of %s: %s", record.name, self.uri, reason)
            skipped.append((path, reason))
        if not skipped and self._latest is not None:
            return Found(self._fetch_linked(self._latest), ())
        return Found(None, tuple(skipped))

    def fetch(self, name: str) -> str:
        """Fetch a checkpoint by its name, and return its local path."""
        path = os.path.join(self.local, name)
        get_file(self._name(name), path, self._store, overwrite=True)
        return path

    def _fetch_manifests(self) -> None:
        """Make the manifests here those of the store."""
        here = Manifests(self.local)
        folder = self._name(self._manifest_name("")).removesuffix(".json")
        remote = self._store.list_objects(folder)
        names = [each.removeprefix(folder).removesuffix(".json") for each in remote]
        for name in set(here.names()) - set(names):
            here.remove(name)
        for name, path in zip(names, remote, strict=True):
            get_file(path, here.path_of(name), self._store, overwrite=True, progress_bar=False)

    def _fetch(self, record: Record) -> str | None:
        """Fetch the files of a checkpoint; return what is wrong with them, if anything."""
        if find_defect(self.local, record) is None:
            return None
        for part in record.files:
            try:
                self.fetch(part.name)
            except FileNotFoundError:
                return f"{part.name!r} is missing"
        return find_defect(self.local, record)

    def _fetch_linked(self, latest: str) -> str | None:
        """Fetch what the link leads to, where another program has written it."""
        with suppress(FileNotFoundError, CheckpointNotFoundError):
            return self.fetch(latest)
        return None

    def _started(self) -> Uploader:
        if self._uploader is None:
            self._uploader = Uploader(
                self._store, scope=self._run_name, num_workers=self._num_workers
            )
        return self._uploader

    def _name(self, name: str) -> str:
        return posixpath.join(self._prefix, name)

    @staticmethod
    def _manifest_name(name: str) -> str:
        root = Manifests("")
        return root.path_of(name).replace(os.sep, "/")
