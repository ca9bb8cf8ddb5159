"""What every object store can do, and the errors it does it with.

A store keeps *objects*: files under names such as ``"run-1/ep1.pt"`` that appear complete or not at
all. :mod:`composer.storage.fsspec_store` reaches most places; a store of another kind derives from
:class:`ObjectStore` and implements its abstract methods.
"""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from composer.errors import StorageTransientError
from composer.storage.checks import exists_already

__all__ = [
    "ObjectStore",
    "ObjectStoreTransientError",
    "Progress",
]

StrPath = str | os.PathLike[str]

# Called now and then during a transfer, with the bytes moved so far and those there are in all.
Progress = Callable[[int, int], None]

# The name under which callers of old catch what is worth another try.
ObjectStoreTransientError = StorageTransientError


class ObjectStore(ABC):
    """A place that keeps files under names.

    All methods may be called from several threads at once. As a context manager a store closes
    itself at the end.
    """

    @abstractmethod
    def get_uri(self, object_name: str) -> str:
        """Return the address of an object, whether it exists or not."""

    @abstractmethod
    def upload_object(
        self, object_name: str, filename: StrPath, callback: Progress | None = None, **kwargs: Any
    ) -> None:
        """Store a local file; an object of that name is replaced once the new one is complete.

        Args:
            object_name: name in the store.
            filename: the local file.
            callback: called with the bytes sent so far and in all.
            kwargs: what this kind of store takes besides; see there.

        Raises:
            FileNotFoundError: there is no such local file.
            ObjectStoreTransientError: a failure that may pass by itself.
            StorageError: any other failure.
        """

    def create_object(self, object_name: str, content: bytes) -> None:
        """Store a few bytes, unless there is an object of that name.

        Of two that try at once one succeeds, where the service can do that in one step; what is
        here looks first and then stores.

        Args:
            object_name: name in the store.
            content: what to store.

        Raises:
            FileExistsError: there is such an object.
            ObjectStoreTransientError: a failure that may pass by itself.
            StorageError: any other failure.
        """
        try:
            self.get_object_size(object_name)
        except FileNotFoundError:
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "content")
                with open(path, "wb") as file:
                    file.write(content)
                self.upload_object(object_name, path)
        else:
            raise exists_already(self.get_uri(object_name))

    @abstractmethod
    def get_object_size(self, object_name: str) -> int:
        """Return an object's size in bytes.

        Raises:
            FileNotFoundError: there is no such object.
            ObjectStoreTransientError: a failure that may pass by itself.
            StorageError: any other failure.
        """

    @abstractmethod
    def download_object(
        self,
        object_name: str,
        filename: StrPath,
        overwrite: bool = False,
        callback: Progress | None = None,
    ) -> None:
        """Fetch an object into a local file, which appears only when it is complete.

        Args:
            object_name: name in the store.
            filename: the local file.
            overwrite: whether an existing local file may be replaced.
            callback: called with the bytes received so far and in all.

        Raises:
            FileExistsError: the local file exists and ``overwrite`` is false.
            FileNotFoundError: there is no such object.
            ObjectStoreTransientError: a failure that may pass by itself.
            StorageError: any other failure.
        """

    @abstractmethod
    def list_objects(self, prefix: str | None = None) -> list[str]:
        """Return the names of the objects that begin with ``prefix``, sorted; all if ``None``."""

    def delete_object(self, object_name: str) -> None:
        """Delete an object.

        Raises:
            NotImplementedError: this kind of store does not delete.
            FileNotFoundError: there is no such object.
        """
        raise NotImplementedError(f"{type(self).__name__} does not delete objects")

    def close(self) -> None:  # noqa: B027 - most stores have nothing to let go of
        """Let go of connections; the store is of no use afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
