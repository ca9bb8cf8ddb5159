"""Let the first process of each machine do something while the others wait.

Typical uses: download a file once per machine, build a cache. Public through
`composer.distributed.comm`.
"""

import os
import random
import string
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from composer.distributed.collectives import all_gather_object, any_rank, barrier
from composer.distributed.group import is_alone
from composer.distributed.ranks import get_global_rank, get_local_rank, get_node_rank
from composer.errors import DistributedError

__all__ = [
    "busy_wait_for_local_rank_zero",
    "get_node_signal_file_name",
    "local_rank_zero_download_and_wait",
    "run_local_rank_zero_first",
    "run_while_others_wait",
    "write_signal_file",
]

_POLL_S = 0.1

T = TypeVar("T")


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


def run_while_others_wait(function: Callable[[], T], what: str) -> T:
    """Run something that may take long; ranks that are done wait for the others.

    Unlike in a barrier no rank waits longer than the timeout of the process group allows: all ask
    each other again and again. All ranks must call this, each with its own function.

    Args:
        function: what to do. With several ranks it runs in another thread.
        what: what that is, for the message on ranks on which it did not fail.

    Returns:
        What the function returned on this rank.

    Raises:
        RuntimeError: it failed on another rank; on the rank itself, what it failed with.
    """
    if is_alone("run_while_others_wait"):
        return function()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(function)
        while any_rank(not running.done()):
            if running.done():
                time.sleep(_POLL_S)
            else:
                wait([running], _POLL_S)
    error = running.exception()
    failures = all_gather_object(None if error is None else f"{type(error).__name__}: {error}")
    if error is not None:
        raise error
    for rank, text in enumerate(failures):
        if text is not None:
            raise DistributedError(f"rank {rank} could not {what}: {text}")
    return running.result()


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
