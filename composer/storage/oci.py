"""Oracle Cloud Infrastructure's object storage."""

from __future__ import annotations

import os

from composer.storage.fsspec_store import FsspecObjectStore
from composer.storage.object_store import Progress

__all__ = ["OCIObjectStore"]

StrPath = str | os.PathLike[str]


class OCIObjectStore(FsspecObjectStore):
    """A bucket of Oracle's object storage, through ocifs.

    Credentials come from ``~/.oci/config``, or from the file that ``OCI_CONFIG_FILE`` names.

    Args:
        bucket: the bucket's name; with ``@`` and the namespace behind where it is not the one the
            credentials belong to.
        prefix: put in front of every name, with a slash between.

    Raises:
        ImportError: ocifs is not installed.
    """

    def __init__(self, bucket: str, prefix: str = "") -> None:
        self.bucket = bucket.strip("/")
        super().__init__(f"oci://{self.bucket}", prefix)

    def download_object(
        self,
        object_name: str,
        filename: StrPath,
        overwrite: bool = False,
        callback: Progress | None = None,
        min_part_size: int = 128_000_000,
        num_parts: int = 10,
    ) -> None:
        """Fetch an object into a local file; see :meth:`ObjectStore.download_object`.

        Args:
            object_name: name in the bucket.
            filename: the local file.
            overwrite: whether an existing local file may be replaced.
            callback: called with the bytes received so far and in all.
            min_part_size: taken for older callers; ocifs reads in parts of its own choice.
            num_parts: as ``min_part_size``.
        """
        del min_part_size, num_parts
        super().download_object(object_name, filename, overwrite, callback)
