"""The providers that Apache Libcloud knows."""

from __future__ import annotations

import os
from typing import Any

from composer.env import Variable
from composer.errors import ConfigError, ObjectNotFoundError, did_you_mean
from composer.storage.checks import check_arrived, check_name, check_source, check_target
from composer.storage.failures import translated
from composer.storage.object_store import ObjectStore, Progress
from composer.utils.atomic import atomic_write
from composer.utils.import_helpers import import_extra

__all__ = ["LibcloudObjectStore"]

StrPath = str | os.PathLike[str]
# The last is what the driver of local folders says of a folder.
_MISSING = ("ContainerDoesNotExistError", "ObjectDoesNotExistError", "ObjectError")


class LibcloudObjectStore(ObjectStore):
    """A container at one of Libcloud's providers.

    Args:
        provider: the provider's name, e.g. ``"azure_blobs"`` or ``"BACKBLAZE_B2"``; see
            https://libcloud.readthedocs.io/en/stable/storage/supported_providers.html.
        container: name of the container (bucket).
        chunk_size: bytes read at a time while downloading.
        key_environ: environment variable that holds the key (account name).
        secret_environ: environment variable that holds the secret.
        provider_kwargs: further arguments of the provider's driver.

    Raises:
        ValueError: no such provider.
        ImportError: apache-libcloud is not installed.
    """

    def __init__(
        self,
        provider: str,
        container: str,
        chunk_size: int = 1_048_576,
        key_environ: str | None = None,
        secret_environ: str | None = None,
        provider_kwargs: dict[str, Any] | None = None,
    ) -> None:
        types = import_extra("libcloud.storage.types", "libcloud", "apache-libcloud")
        known = {name: value for name, value in vars(types.Provider).items() if name.isupper()}
        if provider.upper() not in known:
            hint = did_you_mean(provider.upper(), known)
            raise ConfigError(f"provider={provider!r} is not known to Libcloud.{hint}")
        self.provider = known[provider.upper()]
        self.container = container
        self.chunk_size = chunk_size
        self._arguments = dict(provider_kwargs or {})
        for argument, name in (("key", key_environ), ("secret", secret_environ)):
            if name is not None:
                value = Variable(name, str, None, f"The {argument} for {provider}.").get()
                if value is not None:
                    self._arguments[argument] = value
        # Drivers keep one connection each and are not made for several threads: one per call.
        self._driver_class = import_extra(
            "libcloud.storage.providers", "libcloud", "apache-libcloud"
        ).get_driver(self.provider)

    def get_uri(self, object_name: str) -> str:
        """Return the address of an object, whether it exists or not."""
        return f"{self.provider}://{self.container}/{check_name(object_name)}"

    def upload_object(
        self, object_name: str, filename: StrPath, callback: Progress | None = None, **kwargs: Any
    ) -> None:
        """Store a local file; see :meth:`ObjectStore.upload_object`.

        Args:
            object_name: name in the container.
            filename: the local file.
            callback: called with the bytes sent so far and in all.
            kwargs: given on to the driver's ``upload_object_via_stream``.
        """
        size = check_source(filename)
        with translated("upload", self.get_uri(object_name)), open(filename, "rb") as file:
            self._open_container().upload_object_via_stream(
                _Told(file, size, callback), check_name(object_name), **kwargs
            )

    def get_object_size(self, object_name: str) -> int:
        """Return an object's size in bytes; see :meth:`ObjectStore.get_object_size`."""
        return int(self._get("look up", object_name).size)

    def download_object(
        self,
        object_name: str,
        filename: StrPath,
        overwrite: bool = False,
        callback: Progress | None = None,
    ) -> None:
        """Fetch an object into a local file; see :meth:`ObjectStore.download_object`."""
        check_target(filename, overwrite)
        found = self._get("download", object_name)
        uri = self.get_uri(object_name)
        with (
            translated("download", uri),
            atomic_write(filename, overwrite=overwrite, durable=False) as file,
        ):
            received = 0
            for chunk in found.as_stream(chunk_size=self.chunk_size):
                file.write(chunk)
                received += len(chunk)
                if callback is not None:
                    callback(received, int(found.size))
            check_arrived(uri, int(found.size), received)

    def list_objects(self, prefix: str | None = None) -> list[str]:
        """Return the names that begin with ``prefix``, sorted; all if ``None``."""
        start = (prefix or "").lstrip("/")
        with translated("list", f"{self.provider}://{self.container}/{start}"):
            objects = self._open_container().list_objects(prefix=start or None)
            return sorted(each.name for each in objects if each.name.startswith(start))

    def delete_object(self, object_name: str) -> None:
        """Delete an object; see :meth:`ObjectStore.delete_object`."""
        found = self._get("delete", object_name)
        with translated("delete", self.get_uri(object_name)):
            found.delete()

    def _open_container(self) -> Any:
        return self._driver_class(**self._arguments).get_container(self.container)

    def _get(self, action: str, object_name: str) -> Any:
        uri = self.get_uri(object_name)
        with translated(action, uri):
            try:
                return self._open_container().get_object(check_name(object_name))
            except Exception as error:
                if type(error).__name__ in _MISSING:
                    raise ObjectNotFoundError(f"could not {action} {uri!r}: not there") from error
                raise


class _Told:
    """A file's content in chunks; tells how far it has been read."""

    def __init__(self, file: Any, size: int, callback: Progress | None) -> None:
        self._file = file
        self._size = size
        self._callback = callback
        self._read = 0

    def __iter__(self) -> _Told:
        return self

    def __next__(self) -> bytes:
        chunk = self.read(2**20)
        if not chunk:
            raise StopIteration
        return chunk

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes; all that are left by default."""
        chunk = self._file.read(size)
        self._read += len(chunk)
        if chunk and self._callback is not None:
            self._callback(self._read, self._size)
        return chunk
