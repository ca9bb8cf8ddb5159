"""What is noted about collectives, for those who look for time or for a rank that does not come."""

from __future__ import annotations

import time
from typing import Any

import torch

from composer.distributed import comm
from composer.distributed.record import RECORD, CollectiveRecord
from tests._dist import run_ranks


def test_only_collectives_of_all_ranks_are_numbered() -> None:
    record = CollectiveRecord()
    record.begin("all_reduce")
    record.begin("barrier", of_all_ranks=False)
    assert (record.count, record.name) == (1, "all_reduce")


def test_waiting_is_measured_and_shown_while_it_lasts() -> None:
    record = CollectiveRecord()
    with record.begin("barrier"):
        assert record.waiting_in == 1
        time.sleep(0.02)
    assert record.waiting_in == 0
    assert record.waited_ns >= 20e6


def collect() -> dict[str, Any]:
    """Call every collective once, with rank 1 late for the last of them."""
    before, names = RECORD.count, []

    def note(result: Any) -> Any:
        names.append(RECORD.name)
        return result

    note(comm.all_reduce(torch.ones(2)))
    note(comm.broadcast(torch.ones(2), 0))
    note(comm.broadcast_object_list([1], 0))
    note(comm.all_gather(torch.ones(2)))
    note(comm.all_gather_object("x"))
    note(comm.start_reduce([1]).wait())
    rows = note(comm.start_gather([comm.get_global_rank(), 5]).wait())
    waited = RECORD.waited_ns
    if comm.get_global_rank() == 1:
        time.sleep(0.3)
    note(comm.barrier())
    waited = RECORD.waited_ns - waited
    return {"names": names, "count": RECORD.count - before, "rows": rows, "waited": waited / 1e9}


def test_all_ranks_number_the_same_and_the_one_that_is_early_waits() -> None:
    early, late = run_ranks(2, collect)
    assert early["names"] == late["names"] == [
        "all_reduce", "broadcast", "broadcast_object_list", "all_gather", "all_gather_object",
        "start_reduce", "start_gather", "barrier",
    ]  # fmt: skip
    assert early["count"] == late["count"] == 8
    assert early["rows"] == late["rows"] == [[0.0, 5.0], [1.0, 5.0]]
    assert early["waited"] > 0.2 > late["waited"]


def test_numbers_of_one_process_are_its_only_row() -> None:
    assert comm.start_gather([1, 2.5]).wait() == [[1.0, 2.5]]
