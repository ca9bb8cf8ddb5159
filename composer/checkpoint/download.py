"""Checkpoints that lie elsewhere, fetched once per machine."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from composer.distributed import comm
from composer.distributed.waiting import busy_wait_for_local_rank_zero
from composer.errors import CheckpointNotFoundError, StorageError
from composer.storage.files import extract_path_from_symlink, get_file
from composer.storage.uri import is_uri
from composer.utils.folders import LINK_SUFFIX
from composer.utils.retrying import retry

__all__ = [
    "download_and_extract_symlink",
    "download_checkpoint",
    "download_file",
    "download_monolithic_checkpoint",
    "fetched",
]

_POLL_S = 0.1


@contextmanager
def fetched(path: str, object_store: Any = None, progress_bar: bool = True) -> Iterator[str]:
    """Give a local path of a file that may be elsewhere; all ranks must call this.

    The first process of each machine fetches it, the others wait. It is removed at the end; what
    was mapped from it can still be used.

    Args:
        path: a local path, which is given back as it is, or an address, or with ``object_store`` a
            name there.
        object_store: where the file is: a store, or a logger destination that keeps files.
        progress_bar: whether to show how far the download is.

    Raises:
        FileNotFoundError: there is no such file.
        RuntimeError: it could not be fetched.
    """
    if object_store is None and not is_uri(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as own:
        offers = comm.all_gather_object((comm.get_node_rank(), comm.get_global_rank(), own))
        folder = min(each for each in offers if each[0] == comm.get_node_rank())[2]
        local = download_checkpoint(path, folder, object_store, progress_bar)
        yield local
        # Another rank of this machine may not have opened it yet.
        comm.barrier()


def download_checkpoint(
    path: str, node_checkpoint_folder: str, object_store: Any, progress_bar: bool
) -> str:
    """Fetch a checkpoint into a folder that the processes of a machine share; all of them call.

    Args:
        path: an address, or with ``object_store`` a name there.
        node_checkpoint_folder: the folder.
        object_store: where the file is, or ``None``.
        progress_bar: whether to show how far the download is.

    Returns:
        The local path.

    Raises:
        FileNotFoundError: there is no such file.
        RuntimeError: it could not be fetched; on all ranks of the machine.
    """
    local = os.path.join(node_checkpoint_folder, os.path.basename(path.rstrip("/")))
    failed = f"{local}.failed"
    if comm.get_local_rank() == 0:
        try:
            get_file(path, local, object_store, overwrite=True, progress_bar=progress_bar)
        except BaseException as error:
            with open(failed, "w", encoding="utf-8") as file:
                file.write(f"{type(error).__name__}: {error}")
            if isinstance(error, FileNotFoundError):
                raise CheckpointNotFoundError(
                    f"there is no checkpoint {path!r}: {error}"
                ) from error
            raise
        return local
    while not os.path.exists(local):
        if os.path.exists(failed):
            with open(failed, encoding="utf-8") as file:
                raise StorageError(f"{path!r} could not be fetched: {file.read()}")
        time.sleep(_POLL_S)
    return local


def download_file(
    source_uri: str,
    destination_path: str,
    node_ranks: list[int] | None = None,
    num_attempts: int = 5,
) -> None:
    """Fetch a file to the same path on some machines; all ranks must call this.

    Args:
        source_uri: an address, or a local path.
        destination_path: where to; an existing file is replaced.
        node_ranks: the machines that need it; ``None`` for all.
        num_attempts: tries in all.
    """
    with busy_wait_for_local_rank_zero(os.path.dirname(os.path.abspath(destination_path))):
        is_wanted = node_ranks is None or comm.get_node_rank() in node_ranks
        if is_wanted and comm.get_local_rank() == 0:
            fetch = retry(StorageError, num_attempts=num_attempts)(get_file)
            fetch(source_uri, destination_path, overwrite=True, progress_bar=False)


def download_and_extract_symlink(source_uri: str) -> str:
    """Return the address that a link file leads to.

    Args:
        source_uri: address of the link file, whose name ends in ``.symlink``; the link holds a path
            in the same store.
    """
    name = source_uri if source_uri.endswith(LINK_SUFFIX) else f"{source_uri}{LINK_SUFFIX}"
    target = extract_path_from_symlink(name)
    if is_uri(target) or not is_uri(name):
        return target
    scheme, _, rest = name.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}/{target}"


def download_monolithic_checkpoint(
    source_uri: str, destination_path: str, global_rank_zero_only: bool = True
) -> None:
    """Fetch a single-file checkpoint; all ranks must call this.

    Args:
        source_uri: its address, or that of a link file, which is followed.
        destination_path: where to.
        global_rank_zero_only: whether only the machine of rank 0 needs it; else all do.
    """
    if source_uri.endswith(LINK_SUFFIX):
        source_uri = download_and_extract_symlink(source_uri)
    download_file(source_uri, destination_path, [0] if global_rank_zero_only else None)
