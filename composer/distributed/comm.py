"""How ranks speak; public as `composer.utils.dist`.

This file is the door: the parts lie in `ranks` (who am I), `group` (the process group),
`collectives` (what all do together) and `waiting` (one first, the others after). The rest of the
package says ``from composer.distributed import comm`` and calls nothing of ``torch.distributed``.
With one process nothing needs to be set up and every collective returns at once.
"""

from collections.abc import Sized
from typing import Any

from torch.utils.data import Dataset

from composer.distributed.collectives import (
    PendingNumbers,
    PendingRows,
    all_gather,
    all_gather_object,
    all_reduce,
    all_reduce_counts,
    any_rank,
    barrier,
    broadcast,
    broadcast_object_list,
    start_gather,
    start_reduce,
)
from composer.distributed.group import connect, disconnect, initialize_dist, is_alone
from composer.distributed.ranks import (
    get_global_rank,
    get_local_rank,
    get_local_world_size,
    get_node_rank,
    get_world_size,
    is_available,
    is_initialized,
)
from composer.distributed.sampler import KeyedSampler
from composer.distributed.waiting import (
    busy_wait_for_local_rank_zero,
    get_node_signal_file_name,
    local_rank_zero_download_and_wait,
    run_local_rank_zero_first,
    run_while_others_wait,
    write_signal_file,
)
from composer.errors import ArgumentTypeError

__all__ = [
    "PendingNumbers",
    "PendingRows",
    "all_gather",
    "all_gather_object",
    "all_reduce",
    "all_reduce_counts",
    "any_rank",
    "barrier",
    "broadcast",
    "broadcast_object_list",
    "busy_wait_for_local_rank_zero",
    "connect",
    "disconnect",
    "get_global_rank",
    "get_local_rank",
    "get_local_world_size",
    "get_node_rank",
    "get_node_signal_file_name",
    "get_sampler",
    "get_world_size",
    "initialize_dist",
    "is_alone",
    "is_available",
    "is_initialized",
    "local_rank_zero_download_and_wait",
    "run_local_rank_zero_first",
    "run_while_others_wait",
    "start_gather",
    "start_reduce",
    "write_signal_file",
]


def get_sampler(
    dataset: Dataset[Any],
    *,
    drop_last: bool = False,
    shuffle: bool = False,
    num_replicas: int | None = None,
    rank: int | None = None,
    seed: int = 0,
) -> KeyedSampler:
    """Make the sampler that gives each rank its own equal share of a dataset.

    Args:
        dataset: the dataset, which must have a length.
        drop_last: leave out samples at the end so that shares are equal; otherwise some samples
            are given twice.
        shuffle: shuffle anew each epoch, the same on all ranks.
        num_replicas: among how many ranks to share; the world size by default.
        rank: whose share; this process by default.
        seed: of the shuffle, the same on all ranks.

    Returns:
        A ``torch.utils.data.distributed.DistributedSampler`` whose shuffle is computed sample by
        sample: it holds no list, begins anywhere at once, and the epoch goes on exactly where it
        stopped also among another number of ranks.

    Raises:
        ArgumentTypeError: the dataset has no length.
    """
    if not isinstance(dataset, Sized):
        raise ArgumentTypeError(
            f"a {type(dataset).__name__} has no length, so it cannot be shared out by a sampler. "
            "An IterableDataset must choose its own share, e.g. with dist.get_global_rank()."
        )
    return KeyedSampler(
        dataset,
        num_replicas=get_world_size() if num_replicas is None else num_replicas,
        rank=get_global_rank() if rank is None else rank,
        shuffle=shuffle,
        seed=seed,
        drop_last=drop_last,
    )
