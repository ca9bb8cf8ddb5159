"""What one rank says about itself when nothing moves, and what follows from all ranks' words."""

from __future__ import annotations

import dataclasses
import faulthandler
import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch

from composer.distributed import comm
from composer.distributed.record import RECORD
from composer.utils.atomic import write_text

__all__ = ["RankReport", "explain", "write_flight_record"]


@dataclass(frozen=True, slots=True)
class RankReport:
    """One rank's view.

    Attributes:
        rank: the rank.
        host: its machine.
        pid: its process.
        where: where training stands.
        stalled_s: seconds since it last made progress.
        count: collectives it has begun.
        name: the one it has begun last.
        waiting_in: number of the collective it waits in, 0 for none.
        waiting_s: for how long.
        stacks: the Python stacks of all its threads.
    """

    rank: int
    host: str
    pid: int
    where: str
    stalled_s: float
    count: int
    name: str
    waiting_in: int
    waiting_s: float
    stacks: str

    @classmethod
    def of_this_rank(cls, where: str, stalled_s: float, path: str) -> Self:
        """Look at this process; its stacks are also written to a file.

        Args:
            where: where training stands.
            stalled_s: seconds without progress.
            path: the file for the stacks.
        """
        waiting_in = RECORD.waiting_in
        since = time.perf_counter_ns() - RECORD.since_ns
        return cls(
            rank=comm.get_global_rank(),
            host=platform.node(),
            pid=os.getpid(),
            where=where,
            stalled_s=stalled_s,
            count=RECORD.count,
            name=RECORD.name,
            waiting_in=waiting_in,
            waiting_s=since / 1e9 if waiting_in else 0.0,
            stacks=_write_stacks(path),
        )

    def to_json(self) -> str:
        """Return it as text for the others."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote."""
        return cls(**json.loads(text))


def _write_stacks(path: str) -> str:
    # Written by the interpreter's own handler, which walks the stacks of threads that are stuck.
    with open(path, "w", encoding="utf-8") as file:
        faulthandler.dump_traceback(file, all_threads=True)
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def write_flight_record(path: str) -> bool:
    """Write what PyTorch's flight recorder holds of NCCL's collectives, if there is one.

    It records when the environment variable ``TORCH_FR_BUFFER_SIZE`` says how many entries to keep.

    Returns:
        Whether there was anything to write.
    """
    library: Any = getattr(torch._C, "_distributed_c10d", None)
    for name in ("_dump_fr_trace_json", "_dump_nccl_trace_json"):
        dump = getattr(library, name, None)
        if dump is None:
            continue
        record = dump()
        if not json.loads(record).get("entries"):
            return False
        write_text(path, record if isinstance(record, str) else record.decode("utf-8"))
        return True
    return False


def explain(reports: Sequence[RankReport], world_size: int) -> str:
    """Say which rank keeps the others waiting, as far as their reports tell.

    Args:
        reports: of the ranks that gave one.
        world_size: how many ranks there are.
    """
    lines = [*_silent(reports, world_size), *_missing(reports)]
    if not any(report.waiting_in for report in reports):
        lines.append(
            "No rank waits in a collective of this library. Look at the stacks: gradients that "
            "DistributedDataParallel averages are waited for inside the backward pass."
        )
    for report in sorted(reports, key=lambda each: each.rank):
        waits = f"waits {report.waiting_s:.0f} s in collective {report.waiting_in}"
        lines.append(
            f"rank {report.rank} ({report.host}, process {report.pid}) at {report.where}: no "
            f"progress for {report.stalled_s:.0f} s; "
            f"{waits if report.waiting_in else 'waits in no collective'}; "
            f"has begun {report.count}, last {report.name or 'none'!r}"
        )
    return "\n".join(lines)


def _silent(reports: Sequence[RankReport], world_size: int) -> list[str]:
    silent = sorted(set(range(world_size)) - {report.rank for report in reports})
    if not silent:
        return []
    return [
        f"{_ranks(silent)} gave no report: dead, stopped, or in code that does not let go of "
        "Python's interpreter lock."
    ]


def _missing(reports: Sequence[RankReport]) -> list[str]:
    """Name the ranks that have not come to a collective in which others wait."""
    lines: list[str] = []
    for number in sorted({report.waiting_in for report in reports} - {0}):
        waiting = [report for report in reports if report.waiting_in == number]
        missing = [report for report in reports if report.count < number]
        if missing:
            name = next((r.name for r in waiting if r.count == number), "a collective")
            lines.append(
                f"{_ranks([r.rank for r in waiting])} in collective {number} ({name}), waiting for "
                f"{_ranks([r.rank for r in missing])} to begin it."
            )
    return lines


def _ranks(ranks: Sequence[int]) -> str:
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    return f"ranks {', '.join(map(str, sorted(ranks)))}"
