"""Contents of files, kept once each under their SHA-256.

An upload is written to a temporary file, synced, and renamed into place; nothing refers to it
before that. Contents nothing refers to any more are removed by ``composer track gc``.
"""

import base64
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from composer.tracking.store.journal import sync_folder


class Blob(NamedTuple):
    """What is known of contents: SHA-256 in hex, MD5 in base64, size in bytes."""

    sha256: str
    md5: str
    size: int


class BlobStore:
    """A folder of contents."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._incoming = folder / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        """Where contents lie.

        Raises:
            ValueError: not a SHA-256 in hex.
        """
        if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
            raise ValueError(f"{sha256[:80]!r} is not a SHA-256")
        return self._folder / sha256[:2] / sha256

    def receive(self) -> "Upload":
        """Begin an upload."""
        return Upload(self, self._incoming / secrets.token_hex(12))

    def put(self, data: bytes) -> Blob:
        """Keep contents that are at hand."""
        upload = self.receive()
        try:
            upload.write(data)
            return upload.finish()
        except BaseException:
            upload.abandon()
            raise

    def read(self, sha256: str) -> bytes:
        """Contents as bytes; for small things such as manifests."""
        return self.path(sha256).read_bytes()

    def clear_incoming(self) -> None:
        """Remove uploads that a crash cut short."""
        for each in self._incoming.iterdir():
            each.unlink()

    def all_names(self) -> Iterator[tuple[str, int]]:
        """SHA-256 and size of everything kept."""
        for folder in sorted(self._folder.glob("??")):
            for path in folder.iterdir():
                yield path.name, path.stat().st_size

    def delete(self, sha256: str) -> None:
        """Remove contents."""
        self.path(sha256).unlink(missing_ok=True)


class Upload:
    """Contents on their way in."""

    def __init__(self, store: BlobStore, path: Path) -> None:
        self._store = store
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.size = 0

    def write(self, data: bytes) -> None:
        """Add bytes."""
        self._sha256.update(data)
        self._md5.update(data)
        self.size += len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]

    def finish(self) -> Blob:
        """Put the contents in place, safe on disk."""
        name = self._sha256.hexdigest()
        target = self._store.path(name)
        if not target.exists():
            os.fsync(self._file)
            target.parent.mkdir(exist_ok=True)
            os.replace(self._path, target)
            sync_folder(target.parent)
        else:
            # Recent use protects contents from a collection running at the same time.
            os.utime(target)
            self._path.unlink()
        os.close(self._file)
        self._file = -1
        return Blob(name, base64.b64encode(self._md5.digest()).decode(), self.size)

    def abandon(self) -> None:
        """Throw away what came."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._path.unlink(missing_ok=True)
