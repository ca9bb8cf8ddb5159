"""The store for most places: whatever fsspec has a file system for.

``s3://`` needs s3fs, ``gs://`` gcsfs, ``az://`` adlfs, ``oci://`` ocifs; ``file://`` and
``memory://`` need fsspec alone.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from composer.errors import ConfigError, ObjectNotFoundError
from composer.storage.checks import (
    check_arrived,
    check_name,
    check_source,
    check_target,
    exists_already,
)
from composer.storage.failures import http_status, translated
from composer.storage.object_store import ObjectStore, Progress
from composer.utils.atomic import atomic_write
from composer.utils.import_helpers import MissingConditionalImportError, import_extra

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["FsspecObjectStore"]

StrPath = str | os.PathLike[str]

# Scheme -> (extra of this library, package) that brings its file system.
_EXTRAS = {
    "abfs": ("azure", "adlfs"),
    "az": ("azure", "adlfs"),
    "gs": ("gcs", "gcsfs"),
    "oci": ("oci", "ocifs"),
    "s3": ("remote", "s3fs"),
}
# Places that show a file while it is being written; there it is written aside and then renamed.
_WRITTEN_IN_PLACE = {"file", "hdfs", "smb"}
# File systems that let the service sort out names by their beginning.
_KNOW_PREFIXES = {"abfs", "az", "gs", "s3"}
# HTTP statuses of a condition that does not hold, and of a service that knows none.
_EXISTS_ALREADY = (409, 412)
_KNOWS_NO_CONDITION = (400, 501)
_COPY_BYTES = 4 * 2**20


class FsspecObjectStore(ObjectStore):
    """Objects below an address that fsspec can reach.

    The connection is made when it is first needed, so that a store can be handed to another thread
    or process before.

    Args:
        uri: what all names are relative to, e.g. ``"s3://bucket"`` or ``"file:///data/runs"``.
        prefix: put in front of every name, with a slash between.
        options: what fsspec's file system for that scheme takes, e.g. ``anon=True``.

    Raises:
        ValueError: fsspec knows no such scheme.
        ImportError: the package for it is not installed; the message says how to install it.
    """

    def __init__(self, uri: str, prefix: str = "", **options: Any) -> None:
        self.scheme, separator, place = uri.partition("://")
        if not separator:
            raise ConfigError(f"{uri!r} is no address; give one such as 's3://bucket'")
        _check_installed(self.scheme, uri)
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._uri = f"{self.scheme}://{place.rstrip('/')}/"
        self._options = options

    def get_key(self, object_name: str) -> str:
        """Return an object's name with the store's prefix in front."""
        return self.prefix + check_name(object_name)

    def get_uri(self, object_name: str) -> str:
        """Return the address of an object, whether it exists or not."""
        return self._uri + self.get_key(object_name)

    def upload_object(
        self, object_name: str, filename: StrPath, callback: Progress | None = None, **kwargs: Any
    ) -> None:
        """Store a local file; see :meth:`ObjectStore.upload_object`.

        Args:
            object_name: name in the store.
            filename: the local file.
            callback: called with the bytes sent so far and in all.
            kwargs: given on to the file system's ``put_file``.
        """
        size = check_source(filename)
        path = self._path(object_name)
        with translated("upload", self.get_uri(object_name)):
            if self.scheme in _WRITTEN_IN_PLACE:
                self._write_aside(path, filename, size, callback)
            else:
                tracker = _tracker(callback, size)
                self._fs.put_file(os.fspath(filename), path, callback=tracker, **kwargs)
            if callback is not None:
                # Not every file system tells the end.
                callback(size, size)

    def create_object(self, object_name: str, content: bytes) -> None:
        """Store a few bytes, unless there is such an object; see :meth:`ObjectStore.create_object`.

        In one step on S3, Google's and Azure's services, and in files. Services that speak S3's
        protocol without this part of it, and other file systems, look first.
        """
        uri, path = self.get_uri(object_name), self._path(object_name)
        with translated("create", uri):
            try:
                if self.scheme == "file":
                    self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
                    with self._fs.open(path, "xb") as file:
                        file.write(content)
                else:
                    self._fs.pipe_file(path, content, mode="create")
            except FileExistsError as error:
                raise exists_already(uri) from error
            except Exception as error:
                if http_status(error) in _EXISTS_ALREADY:
                    raise exists_already(uri) from error
                if http_status(error) not in _KNOWS_NO_CONDITION:
                    raise
                super().create_object(object_name, content)

    def get_object_size(self, object_name: str) -> int:
        """Return an object's size in bytes; see :meth:`ObjectStore.get_object_size`."""
        uri = self.get_uri(object_name)
        with translated("look up", uri):
            info = self._fs.info(self._path(object_name))
            if info["type"] != "file":
                raise ObjectNotFoundError(f"{uri!r} is a folder; name one of the objects in it")
            return int(info["size"])

    def download_object(
        self,
        object_name: str,
        filename: StrPath,
        overwrite: bool = False,
        callback: Progress | None = None,
    ) -> None:
        """Fetch an object into a local file; see :meth:`ObjectStore.download_object`."""
        check_target(filename, overwrite)
        size = self.get_object_size(object_name)
        uri = self.get_uri(object_name)
        with (
            translated("download", uri),
            atomic_write(filename, overwrite=overwrite, durable=False) as file,
        ):
            # Written through its name by the file system; the handle lets it appear at the end.
            self._fs.get_file(self._path(object_name), file.name, callback=_tracker(callback, size))
            received = os.path.getsize(file.name)
            check_arrived(uri, size, received)
            if callback is not None:
                callback(size, size)

    def list_objects(self, prefix: str | None = None) -> list[str]:
        """Return the names that begin with ``prefix``, sorted; all if ``None``."""
        start = self.prefix + (prefix or "").lstrip("/")
        folder, _, beginning = start.rpartition("/")
        by_service = self.scheme in _KNOW_PREFIXES and beginning != ""
        options: dict[str, Any] = {"prefix": beginning} if by_service else {}
        with translated("list", self._uri + start):
            try:
                paths: list[str] = self._fs.find(f"{self._root}/{folder}".rstrip("/"), **options)
            except FileNotFoundError:
                return []
        keys = [path[len(self._root) :].lstrip("/") for path in paths]
        return sorted(key[len(self.prefix) :] for key in keys if key.startswith(start))

    def delete_object(self, object_name: str) -> None:
        """Delete an object; see :meth:`ObjectStore.delete_object`."""
        # Services that delete what is not there without a word would hide a wrong name.
        self.get_object_size(object_name)
        with translated("delete", self.get_uri(object_name)):
            self._fs.rm_file(self._path(object_name))

    def __getstate__(self) -> dict[str, Any]:
        # Connections stay in their process.
        return {name: value for name, value in vars(self).items() if name != "_place"}

    @cached_property
    def _place(self) -> tuple[AbstractFileSystem, str]:
        # Listings that were cached would not show what other machines have written.
        options = {"skip_instance_cache": True, "use_listings_cache": False, **self._options}
        with translated("connect to", self._uri):
            return import_extra("fsspec.core", "remote").url_to_fs(self._uri, **options)

    @property
    def _fs(self) -> Any:
        return self._place[0]

    @property
    def _root(self) -> str:
        return self._place[1].rstrip("/")

    def _path(self, object_name: str) -> str:
        return f"{self._root}/{self.get_key(object_name)}"

    def _write_aside(
        self, path: str, filename: StrPath, size: int, callback: Progress | None
    ) -> None:
        folder, _, name = path.rpartition("/")
        aside = f"{folder}/.{name[:100]}.{secrets.token_hex(6)}.tmp"
        self._fs.makedirs(folder, exist_ok=True)
        try:
            with open(filename, "rb") as source, self._fs.open(aside, "wb") as target:
                sent = 0
                while chunk := source.read(_COPY_BYTES):
                    target.write(chunk)
                    sent += len(chunk)
                    if callback is not None:
                        callback(sent, size)
                target.flush()
                if self.scheme == "file":
                    os.fsync(target.fileno())
            self._fs.mv(aside, path)
        except BaseException:
            with suppress(OSError):
                self._fs.rm_file(aside)
            raise


def _check_installed(scheme: str, uri: str) -> None:
    fsspec = import_extra("fsspec", "remote")
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        if scheme in _EXTRAS:
            raise MissingConditionalImportError(*_EXTRAS[scheme], None) from error
        raise
    except ValueError as error:
        raise ConfigError(
            f"no file system is known for {uri!r}. Use s3://, gs://, az://, oci://, sftp://, "
            f"file:// or memory://, or install the fsspec package for {scheme}://."
        ) from error


def _tracker(callback: Progress | None, size: int) -> Any:
    callbacks = import_extra("fsspec.callbacks", "remote")
    if callback is None:
        return callbacks.NoOpCallback()

    def tell(total: int | None, moved: int, **_: Any) -> None:
        callback(moved, total or size)

    return callbacks.Callback(size=size, hooks={"progress": tell})
