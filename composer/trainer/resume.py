"""Which checkpoint to go on from; where in the data is :mod:`composer.trainer.data_position`."""

from __future__ import annotations

import os
import tempfile

from composer.checkpoint.layout import fill_for_loading
from composer.checkpoint.newest import Found, find_newest_valid
from composer.checkpoint.remote_folder import RemoteFolder
from composer.distributed import comm
from composer.distributed.waiting import busy_wait_for_local_rank_zero
from composer.errors import CorruptCheckpointError, DistributedError
from composer.storage.uri import is_uri

__all__ = ["find_latest"]


def find_latest(
    save_folder: str,
    latest_filename: str,
    run_name: str,
    filename: str = "ep{epoch}-ba{batch}-rank{rank}.pt",
) -> str | None:
    """Return the newest whole checkpoint of a run, for ``autoresume``; all ranks call this.

    Newer ones that are broken are skipped, and it is said which and why. From a folder at an
    address, each machine fetches the checkpoint once.

    Args:
        save_folder: the run's folder of checkpoints, here or at an address; ``{run_name}`` is
            filled in.
        latest_filename: name of the link in it; ``{rank}`` is 0.
        run_name: the run's name.
        filename: name template of the run's checkpoints.

    Returns:
        The local path to load, or ``None`` if the run has no checkpoint yet.

    Raises:
        ValueError: there are checkpoints, and all of them are broken.
        RuntimeError: some ranks see the checkpoint and others do not.
    """
    folder = fill_for_loading(save_folder, run_name)
    latest = fill_for_loading(latest_filename, run_name)
    remote = RemoteFolder(folder, run_name, latest) if is_uri(folder) else None
    try:
        found = _search_on_first(folder, latest, filename, remote)
        if found.path is None:
            _refuse_to_start_over(folder, found)
            return None
        path = found.path if remote is None else _fetch_on_each_machine(remote, found.path)
    finally:
        if remote is not None:
            remote.close()
    _check_all_see(path)
    return path


def _search_on_first(folder: str, latest: str, filename: str, remote: RemoteFolder | None) -> Found:
    """Let rank 0 judge, once, by reading all of a file, and tell the others."""
    found = Found(None, ())
    with busy_wait_for_local_rank_zero(tempfile.gettempdir()):
        if comm.get_global_rank() == 0 and remote is None:
            found = find_newest_valid(folder, filename, latest)
        elif comm.get_global_rank() == 0 and remote is not None:
            found = remote.fetch_newest(filename)
    choice = [found]
    comm.broadcast_object_list(choice, src=0)
    return choice[0]


def _fetch_on_each_machine(remote: RemoteFolder, path_on_first: str) -> str:
    """Return this machine's copy of a checkpoint that rank 0 has on its own."""
    path = path_on_first
    with busy_wait_for_local_rank_zero(tempfile.gettempdir()):
        if comm.get_local_rank() == 0 and comm.get_global_rank() != 0:
            path = remote.fetch(os.path.basename(path_on_first))
    offers = comm.all_gather_object((comm.get_node_rank(), comm.get_global_rank(), path))
    return min(each for each in offers if each[0] == comm.get_node_rank())[2]


def _check_all_see(path: str) -> None:
    everywhere = comm.all_gather_object(os.path.lexists(path))
    if not all(everywhere):
        ranks = [rank for rank, is_there in enumerate(everywhere) if not is_there]
        raise DistributedError(
            f"autoresume found {path!r} on rank 0 and not on the ranks {ranks}: save_folder must "
            "be one folder that all nodes see, an address, or be copied to all of them"
        )


def _refuse_to_start_over(folder: str, found: Found) -> None:
    if found.skipped:
        reasons = "; ".join(f"{os.path.basename(path)}: {why}" for path, why in found.skipped)
        raise CorruptCheckpointError(
            f"{folder!r} holds checkpoints and none of them is whole: {reasons}. To start from the "
            "beginning, empty the folder or use another one."
        )
