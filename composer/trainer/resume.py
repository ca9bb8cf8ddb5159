"""Which checkpoint to go on from; where in the data is :mod:`composer.trainer.data_position`."""

from __future__ import annotations

import os

from composer.checkpoint.latest import find_file
from composer.checkpoint.layout import check_is_local, fill_for_loading
from composer.distributed import comm
from composer.errors import DistributedError

__all__ = ["find_latest"]


def find_latest(save_folder: str, latest_filename: str, run_name: str) -> str | None:
    """Return the link to the newest checkpoint of a run, for ``autoresume``; all ranks call this.

    Args:
        save_folder: the run's folder of checkpoints; ``{run_name}`` is filled in.
        latest_filename: name of the link in it; ``{rank}`` is 0.
        run_name: the run's name.

    Returns:
        The path to load, or ``None`` if the run has no checkpoint yet.

    Raises:
        FileNotFoundError: the link leads nowhere.
        RuntimeError: some ranks see a checkpoint and others do not.
    """
    check_is_local(save_folder, "save_folder")
    path = fill_for_loading(os.path.join(save_folder, latest_filename), run_name)
    is_there = os.path.lexists(path) or os.path.lexists(f"{path}.symlink")
    everywhere = comm.all_gather_object(is_there)
    if not any(everywhere):
        return None
    if not all(everywhere):
        ranks = [rank for rank, found in enumerate(everywhere) if not found]
        raise DistributedError(
            f"autoresume found {path!r} on some ranks and not on the ranks {ranks}: save_folder "
            "must be one folder that all nodes see, or be copied to all of them"
        )
    find_file(path)
    return path
