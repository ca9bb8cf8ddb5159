"""Who am I among the processes: world size, ranks, nodes.

The launcher tells each process through environment variables (`composer.env`); once a process
group exists, the group is asked and must agree. Reading is cheap and never cached, so what these
functions say is always what holds now. Public through `composer.distributed.comm`.
"""

from collections.abc import Callable

import torch.distributed as dist

from composer.env import (
    GROUP_RANK,
    LOCAL_RANK,
    LOCAL_WORLD_SIZE,
    NODE_RANK,
    RANK,
    WORLD_SIZE,
    Variable,
)
from composer.errors import DistributedError

__all__ = [
    "get_global_rank",
    "get_local_rank",
    "get_local_world_size",
    "get_node_rank",
    "get_world_size",
    "is_available",
    "is_initialized",
]


def is_available() -> bool:
    """Whether this torch was built with ``torch.distributed``."""
    return dist.is_available()


def is_initialized() -> bool:
    """Whether a process group exists."""
    return dist.is_available() and dist.is_initialized()


def get_world_size() -> int:
    """Count all processes.

    Returns:
        At least 1; 1 for a process that no launcher started.

    Raises:
        DistributedError: the process group has another size than ``WORLD_SIZE`` says.
    """
    return _agreed(WORLD_SIZE, 1, dist.get_world_size)


def get_global_rank(group: dist.ProcessGroup | None = None) -> int:
    """Get the number of this process among all.

    Args:
        group: ask for the number inside this group instead; -1 for a process outside it.

    Returns:
        From 0 to the world size less 1.

    Raises:
        DistributedError: the process group says otherwise than ``RANK``.
    """
    if group is not None and is_initialized():
        return dist.get_rank(group)
    return _agreed(RANK, 0, dist.get_rank)


def get_local_rank() -> int:
    """Get the number of this process on its machine, from 0.

    Raises:
        DistributedError: several processes run and ``LOCAL_RANK`` is not set.
    """
    return _told_locally(LOCAL_RANK, 0)


def get_local_world_size() -> int:
    """Count the processes on this machine.

    Raises:
        DistributedError: several processes run and ``LOCAL_WORLD_SIZE`` is not set.
    """
    return _told_locally(LOCAL_WORLD_SIZE, 1)


def get_node_rank() -> int:
    """Get the number of this machine among all, from 0.

    Read from ``NODE_RANK``, or from torchrun's ``GROUP_RANK``; without either, machines are taken
    to run equally many processes.
    """
    told = NODE_RANK.get()
    if told is None:
        told = GROUP_RANK.get()
    if told is None:
        return get_global_rank() // get_local_world_size()
    return told


def _agreed(variable: Variable[int | None], default: int, ask_group: Callable[[], int]) -> int:
    told = variable.get()
    if not is_initialized():
        return default if told is None else told
    known = ask_group()
    if told is not None and told != known:
        raise DistributedError(
            f"the process group says {known} where the environment says {variable.name}={told}. "
            "Start the processes with `composer` or torchrun and leave these variables alone, "
            "or unset them if the group is made by hand."
        )
    return known


def _told_locally(variable: Variable[int | None], default: int) -> int:
    told = variable.get()
    if told is not None:
        return told
    if is_initialized() and dist.get_world_size() > 1:
        raise DistributedError(
            f"{dist.get_world_size()} processes run and {variable.name} is not set, so a process "
            "cannot know its place on its machine. Start with `composer` or torchrun, or set it."
        )
    return default
