"""Which checkpoint to go on from; where in the data is :mod:`composer.trainer.data_position`."""

from __future__ import annotations

import os

from composer.checkpoint.layout import fill_for_loading
from composer.checkpoint.newest import Found, find_newest_valid
from composer.distributed import comm
from composer.errors import CorruptCheckpointError, DistributedError

__all__ = ["find_latest"]


def find_latest(
    save_folder: str,
    latest_filename: str,
    run_name: str,
    filename: str = "ep{epoch}-ba{batch}-rank{rank}.pt",
) -> str | None:
    """Return the newest whole checkpoint of a run, for ``autoresume``; all ranks call this.

    Newer ones that are broken are skipped, and it is said which and why.

    Args:
        save_folder: the run's folder of checkpoints on this machine; ``{run_name}`` is filled in.
        latest_filename: name of the link in it; ``{rank}`` is 0.
        run_name: the run's name.
        filename: name template of the run's checkpoints.

    Returns:
        The path to load, or ``None`` if the run has no checkpoint yet.

    Raises:
        ValueError: there are checkpoints, and all of them are broken.
        RuntimeError: some ranks see the checkpoint and others do not.
    """
    folder = fill_for_loading(save_folder, run_name)
    choice: list[Found | None] = [None]
    if comm.get_global_rank() == 0:
        # Whether a file is whole is judged once, by reading all of it.
        choice[0] = find_newest_valid(folder, filename, fill_for_loading(latest_filename, run_name))
    comm.broadcast_object_list(choice, src=0)
    found = choice[0]
    assert found is not None
    if found.path is None:
        _refuse_to_start_over(folder, found)
        return None
    everywhere = comm.all_gather_object(os.path.lexists(found.path))
    if not all(everywhere):
        ranks = [rank for rank, is_there in enumerate(everywhere) if not is_there]
        raise DistributedError(
            f"autoresume found {found.path!r} on rank 0 and not on the ranks {ranks}: save_folder "
            "must be one folder that all nodes see, or be copied to all of them"
        )
    return found.path


def _refuse_to_start_over(folder: str, found: Found) -> None:
    if found.skipped:
        reasons = "; ".join(f"{os.path.basename(path)}: {why}" for path, why in found.skipped)
        raise CorruptCheckpointError(
            f"{folder!r} holds checkpoints and none of them is whole: {reasons}. To start from the "
            "beginning, empty the folder or use another one."
        )
