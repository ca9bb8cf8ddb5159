"""Bring a checkpoint that is to be loaded onto this machine, once for all ranks here."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from composer.checkpoint.layout import is_remote
from composer.checkpoint.manifest import Manifests
from composer.distributed import comm
from composer.storage.files import get_file

__all__ = ["fetched"]


@contextmanager
def fetched(path: str, object_store: Any = None, progress_bar: bool = True) -> Iterator[str]:
    """Give a local path for a checkpoint anywhere; all ranks must call this.

    The first rank of each machine downloads the file and its manifest, if it has one, while the
    others wait. They are deleted at the end of the block. A local path is given as it is.

    Args:
        path: a local path, or an address; with ``object_store`` a name there.
        object_store: an object store, or a logger destination that keeps files.
        progress_bar: whether to show how far it is.

    Raises:
        FileNotFoundError: there is no such file.
        StorageError: it could not be downloaded.
    """
    if object_store is None and not is_remote(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="composer-checkpoint-") as own:
        folder = _folder_of_machine(own)

        def download() -> str:
            return _download(path, folder, object_store, progress_bar)

        is_first = comm.get_local_rank() == 0
        name = comm.run_while_others_wait(download if is_first else str, f"download {path!r}")
        names = comm.all_gather_object((comm.get_node_rank(), name))
        here = next(each for node, each in names if node == comm.get_node_rank() and each)
        yield os.path.join(folder, here)
        # Nobody deletes what another still reads.
        comm.barrier()


def _folder_of_machine(own: str) -> str:
    """The folder of the first rank on this machine."""
    node = comm.get_node_rank()
    offers = comm.all_gather_object((node, comm.get_local_rank(), own))
    return next(path for each, rank, path in offers if each == node and rank == 0)


def _download(path: str, folder: str, object_store: Any, progress_bar: bool) -> str:
    """Download a file and its manifest into a folder, and return the file's name there."""
    aside = os.path.join(folder, "download")
    found = get_file(path, aside, object_store, progress_bar=progress_bar)
    # What a link leads to has a name of its own, and its ending says how it is packed.
    parent, _, name = found.rpartition("/")
    os.replace(aside, os.path.join(folder, name))
    manifest = Manifests(folder).path_of(name)
    remote = os.path.relpath(manifest, folder).replace(os.sep, "/")
    with suppress(FileNotFoundError):
        get_file(
            f"{parent}/{remote}" if parent else remote, manifest, object_store, progress_bar=False
        )
    return name
