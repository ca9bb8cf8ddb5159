"""Checkpoints that lie elsewhere, fetched once per machine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from composer.checkpoint.manifest import Manifests
from composer.distributed import comm
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
        folder = _of_first_here(own)
        yield download_checkpoint(path, folder, object_store, progress_bar)
        # Another rank of this machine may not have opened it yet.
        comm.barrier()


def download_checkpoint(
    path: str, node_checkpoint_folder: str, object_store: Any, progress_bar: bool
) -> str:
    """Fetch a checkpoint into a folder that the processes of a machine share; all ranks call this.

    Its manifest is fetched as well, if it has one, so that it can be verified.

    Args:
        path: an address, or with ``object_store`` a name there; link files are followed.
        node_checkpoint_folder: the folder.
        object_store: where the file is, or ``None``.
        progress_bar: whether to show how far the download is.

    Returns:
        The local path.

    Raises:
        FileNotFoundError: there is no such file.
        RuntimeError: it could not be fetched; on all ranks.
    """
    is_first = comm.get_local_rank() == 0

    def download() -> str:
        return _download(path, node_checkpoint_folder, object_store, progress_bar)

    name = comm.run_while_others_wait(download if is_first else str, f"download {path!r}")
    return os.path.join(node_checkpoint_folder, _of_first_here(name))


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
    is_wanted = node_ranks is None or comm.get_node_rank() in node_ranks
    fetch = retry(StorageError, num_attempts=num_attempts)(get_file)

    def download() -> None:
        fetch(source_uri, destination_path, overwrite=True, progress_bar=False)

    is_mine = is_wanted and comm.get_local_rank() == 0
    comm.run_while_others_wait(download if is_mine else lambda: None, f"download {source_uri!r}")


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


def _of_first_here(value: str) -> str:
    """The value that the first rank of this machine gives."""
    node = comm.get_node_rank()
    offers = comm.all_gather_object((node, comm.get_local_rank(), value))
    return next(each for at, rank, each in offers if at == node and rank == 0)


def _download(path: str, folder: str, object_store: Any, progress_bar: bool) -> str:
    """Fetch a file and its manifest into a folder, and return the file's name there."""
    aside = os.path.join(folder, "download")
    try:
        found = get_file(path, aside, object_store, overwrite=True, progress_bar=progress_bar)
    except FileNotFoundError as error:
        raise CheckpointNotFoundError(f"there is no checkpoint {path!r}: {error}") from error
    # What a link leads to has a name of its own, and its ending says how it is packed.
    parent, _, name = found.rpartition("/")
    os.replace(aside, os.path.join(folder, name))
    manifest = Manifests(folder).path_of(name)
    there = os.path.relpath(manifest, folder).replace(os.sep, "/")
    with suppress(FileNotFoundError):
        get_file(
            f"{parent}/{there}" if parent else there, manifest, object_store, progress_bar=False
        )
    return name
