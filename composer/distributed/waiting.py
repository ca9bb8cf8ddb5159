"""Let the first process of each machine do something while the others wait.

Typical uses: download a file once per machine, build a cache. Public through
`composer.distributed.comm`.
"""

import os
import random
import string
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from composer.distributed.collectives import all_gather_object, barrier
from composer.distributed.group import is_alone
from composer.distributed.ranks import get_global_rank, get_local_rank, get_node_rank

__all__ = [
    "busy_wait_for_local_rank_zero",
    "get_node_signal_file_name",
    "local_rank_zero_download_and_wait",
    "run_local_rank_zero_first",
    "write_signal_file",
]

_POLL_S = 0.1


@contextmanager
def run_local_rank_zero_first() -> Generator[None]:
    """Run the body on local rank 0 first, then on the other ranks of the machine.

    The others wait in a collective, so the body must end before the timeout of the process group.
    If it fails on local rank 0, the others still run it and see for themselves.
    """
    if is_alone("run_local_rank_zero_first"):
        yield
        return
    first = get_local_rank() == 0
    if not first:
        barrier()
    try:
        yield
    finally:
        if first:
            barrier()


@contextmanager
def local_rank_zero_download_and_wait(expected_file_path: str) -> Generator[None]:
    """Hold back all but local rank 0 until a file exists, then run the body.

    No collective: the wait may be longer than the timeout of the process group, and it does not
    end if local rank 0 fails before it makes the file (the launcher then ends this process).

    Args:
        expected_file_path: the file local rank 0 makes, complete when it appears.
    """
    if get_local_rank() != 0:
        while not os.path.exists(expected_file_path):
            time.sleep(_POLL_S)
    yield


@contextmanager
def busy_wait_for_local_rank_zero(dir_path: str | None = None) -> Generator[None]:
    """Run the body on all ranks, then wait for local rank 0 to come to its end.

    For bodies in which local rank 0 works longer than the timeout of the process group allows.

    Args:
        dir_path: folder for the signal file, seen by all processes of the machine; the working
            directory by default.
    """
    if is_alone("busy_wait_for_local_rank_zero"):
        yield
        return
    name = get_node_signal_file_name()
    yield
    signal_file = write_signal_file(name, dir_path)
    with local_rank_zero_download_and_wait(signal_file):
        barrier()
    if get_local_rank() == 0:
        os.remove(signal_file)


def get_node_signal_file_name(rng: random.Random | None = None) -> str:
    """Agree on a file name that no other machine and no other call uses; all ranks must call.

    Args:
        rng: source of the random part; the system's randomness by default.

    Returns:
        The name local rank 0 of this machine has chosen.
    """
    letters = (rng or random.SystemRandom()).choices(string.ascii_letters + string.digits, k=12)
    mine = f"._signal_file_node{get_node_rank()}_{''.join(letters)}"
    offers = all_gather_object((get_global_rank(), get_node_rank(), mine))
    return next(name for _, node, name in sorted(offers) if node == get_node_rank())


def write_signal_file(signal_file_name: str, dir_path: str | None = None) -> str:
    """Write a signal file on local rank 0; other ranks only learn its path.

    Args:
        signal_file_name: name of the file.
        dir_path: its folder, made if missing; the working directory by default.

    Returns:
        The file's path.
    """
    path = Path(dir_path or os.getcwd()) / signal_file_name
    if get_local_rank() == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("done\n", encoding="utf-8")
    return str(path)
