"""Texts that ranks leave for each other while collectives do not answer."""

from __future__ import annotations

import threading
import time
from typing import Any

from composer.distributed import comm
from composer.distributed.notice_board import NoticeBoard
from tests._dist import run_ranks


def test_one_process_reads_what_it_has_left() -> None:
    board = NoticeBoard()
    assert not board.has("a")
    assert board.post("a", "größe")
    assert board.has("a")
    assert board.read("a", 1.0) == "größe"


def exchange_while_stuck() -> Any:
    """Read the other rank's text from a thread, with this rank in a collective."""
    board = NoticeBoard()
    rank = comm.get_global_rank()
    found: list[Any] = []

    def talk() -> None:
        board.post(f"from {rank}", f"text of {rank}")
        found.append(board.read(f"from {1 - rank}", 20.0))
        found.append(board.read("nobody", 0.2))
        found.append(board.has("nobody"))

    thread = threading.Thread(target=talk)
    thread.start()
    if rank == 1:
        time.sleep(1.0)
    comm.barrier()
    thread.join()
    comm.barrier()
    return found


def test_ranks_read_each_others_texts_while_one_waits_in_a_collective() -> None:
    left, right = run_ranks(2, exchange_while_stuck)
    assert left == ["text of 1", None, False]
    assert right == ["text of 0", None, False]
