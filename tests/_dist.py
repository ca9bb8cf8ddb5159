"""Run a function in several processes that train together (gloo, CPU), for tests.

    from tests._dist import run_ranks

    def sums() -> int:                       # top level of the test module, so it can be imported
        tensor = torch.ones(())
        comm.all_reduce(tensor)
        return int(tensor)

    def test_all_reduce_adds_up():
        assert run_ranks(2, sums) == [2, 2]

Torch is imported once, in a fork server that lives as long as the test session; each rank is
forked from it, so a run costs some tenths of a second rather than two imports of torch. Still, put
several checks of one topic into one function when they share a set-up.
"""

import multiprocessing
import os
import pickle
import socket
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

PRELOADED = [
    "torch",
    "torch.nn.parallel",
    "torch._dynamo",
    "composer.distributed.comm",
    "composer.trainer.trainer",
    "composer.metrics.metrics",
    "tests._dist",
]


class RankFailure(AssertionError):
    """A rank raised, died or did not end in time; the message holds each rank's traceback."""


def run_ranks(
    world_size: int,
    function: Callable[..., Any],
    *args: Any,
    timeout_s: float = 60.0,
    env: dict[str, str] | None = None,
    connect: bool = True,
) -> list[Any]:
    """Call a function in `world_size` processes and give back what each returned.

    Args:
        world_size: how many processes.
        function: importable by name; gets `args`.
        *args: picklable.
        timeout_s: seconds for all of it.
        env: more environment variables for the ranks; ``{rank}`` in a value is filled.
        connect: make the process group before the call (device ``'cpu'``).

    Returns:
        The results in the order of ranks; they must be picklable.

    Raises:
        RankFailure: a rank failed; the other ranks are ended.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    port = _free_port()
    processes, pipes = [], []
    for rank in range(world_size):
        receiver, sender = context.Pipe(duplex=False)
        variables = _contract(rank, world_size, port) | {
            key: value.format(rank=rank) for key, value in (env or {}).items()
        }
        process = context.Process(
            target=_run_rank, args=(sender, variables, connect, function, args), daemon=True
        )
        process.start()
        sender.close()
        processes.append(process)
        pipes.append(receiver)
    try:
        return _collect(pipes, timeout_s)
    finally:
        for process in processes:
            process.join(0.5 if sys.exc_info()[0] is None else 0.1)
            if process.is_alive():
                process.kill()
                process.join()


def _collect(pipes: list[Connection], timeout_s: float) -> list[Any]:
    results: dict[int, Any] = {}
    failures: dict[int, str] = {}
    waiting = dict(zip(pipes, range(len(pipes)), strict=True))
    deadline = time.monotonic() + timeout_s
    while waiting:
        # Once a rank has failed, the others soon fail too or hang: give them a moment, no more.
        left = deadline - time.monotonic() if not failures else min(1.0, timeout_s)
        ready = wait(list(waiting), max(0.0, left))
        if not ready:
            break
        for pipe in ready:
            rank = waiting.pop(pipe)
            try:
                ok, value = pickle.loads(pipe.recv_bytes())
            except EOFError:
                ok, value = False, "ended without an answer (killed, or os._exit)"
            (results if ok else failures)[rank] = value
    if failures or waiting:
        for rank in waiting.values():
            failures[rank] = "did not end; it was killed"
        raise RankFailure("".join(f"\n--- rank {r} ---\n{text}" for r, text in failures.items()))
    return [results[rank] for rank in range(len(pipes))]


def _run_rank(
    sender: Connection,
    variables: dict[str, str],
    connect: bool,
    function: Callable[..., Any],
    args: tuple[Any, ...],
) -> None:
    os.environ.update(variables)
    from composer.distributed import comm

    try:
        if connect:
            comm.connect("cpu", timeout=30.0)
        answer = (True, function(*args))
    except BaseException:
        answer = (False, traceback.format_exc())
    # By value: multiprocessing would share tensors, and their memory goes when this process ends.
    sender.send_bytes(pickle.dumps(answer))
    if answer[0]:
        comm.disconnect()


def _contract(rank: int, world_size: int, port: int) -> dict[str, str]:
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(world_size),
        "NODE_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
