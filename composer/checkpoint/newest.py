"""Which checkpoint of a folder to go on from: the newest that is whole.

Runs are interrupted while they save, disks fill up and bits flip. The newest checkpoint may be
broken; then the one before is taken, and it is said which were left out and why.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass

from composer.checkpoint import monolith
from composer.checkpoint.latest import find_file
from composer.checkpoint.manifest import Manifests, Record, find_defect, find_record
from composer.errors import CheckpointNotFoundError, CorruptCheckpointError
from composer.utils.compression import is_compressed_pt
from composer.utils.folders import is_tar

__all__ = ["Found", "find_newest_valid", "why_invalid"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """What a search in a folder of checkpoints gave.

    Attributes:
        path: the newest whole checkpoint; ``None`` if there is none.
        skipped: newer ones, each with what is wrong with it.
    """

    path: str | None
    skipped: tuple[tuple[str, str], ...]


def find_newest_valid(folder: str, series: str, latest: str | None = None) -> Found:
    """Find the newest checkpoint of a series that is whole.

    Args:
        folder: the folder of checkpoints.
        series: name template of the checkpoints that count.
        latest: name of the link to the newest one. What it leads to is taken where there are no
            manifests, as in folders written by other programs.

    Returns:
        The checkpoint, and what was skipped; each is logged as a warning as well.
    """
    skipped: list[tuple[str, str]] = []
    for path, record in _candidates(folder, series, latest):
        reason = why_invalid(path, folder, record)
        if reason is None:
            return Found(path, tuple(skipped))
        log.warning("skipping the checkpoint %s: %s", path, reason)
        skipped.append((path, reason))
    return Found(None, tuple(skipped))


def why_invalid(path: str, folder: str, record: Record | None = None) -> str | None:
    """Say what is wrong with a checkpoint.

    Args:
        path: the file.
        folder: the folder of checkpoints.
        record: its manifest. A file without one is judged by the checksums inside it.

    Returns:
        The defect; ``None`` if the checkpoint is whole as far as can be seen.
    """
    described = _describe(path) if record is None else (folder, record)
    if described is not None:
        return find_defect(*described)
    if not os.path.isfile(path):
        return "it is a link to a file that is gone" if os.path.islink(path) else "it is missing"
    return None if is_compressed_pt(path) or is_tar(path) else monolith.find_damage(path)


def _describe(path: str) -> tuple[str, Record] | None:
    try:
        return find_record(path)
    except CorruptCheckpointError as error:
        log.warning("%s", error)
        return None


def _candidates(
    folder: str, series: str, latest: str | None
) -> Iterator[tuple[str, Record | None]]:
    """Yield the checkpoints of a series, the newest first, then what the link leads to."""
    seen: set[str] = set()
    for record in reversed(Manifests(folder).of_series(series)):
        path = os.path.join(folder, record.name)
        if not os.path.lexists(path):
            # The run was ended before the file got its name, or somebody has deleted it.
            log.info("the checkpoint %s has a manifest only", path)
            continue
        seen.add(os.path.realpath(path))
        yield path, record
    if latest is None:
        return
    try:
        linked = find_file(os.path.join(folder, latest))
    except CheckpointNotFoundError:
        if os.path.lexists(os.path.join(folder, latest)):
            yield os.path.join(folder, latest), None
        return
    if os.path.realpath(linked) not in seen:
        yield linked, None
