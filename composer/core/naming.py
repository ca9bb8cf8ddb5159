"""Fill name templates with the ranks and the counters of the run that is going on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from composer.core.time import Timestamp
from composer.distributed import comm
from composer.utils.naming import (
    TIME_COUNTERS,
    find_later_files,
    find_later_names,
    partial_format,
)

__all__ = [
    "ensure_folder_has_no_conflicting_files",
    "ensure_no_conflicting_names",
    "format_name_with_dist",
    "format_name_with_dist_and_time",
]

_CLOCKS = ("total_wct", "iteration_wct", "epoch_wct", "batch_wct")


def format_name_with_dist(format_str: str, run_name: str, **extra_format_kwargs: object) -> str:
    """Fill a name template with the run's name and this process's ranks.

    Args:
        format_str: the template; it may hold ``{run_name}``, ``{rank}``, ``{local_rank}``,
            ``{world_size}``, ``{local_world_size}`` and ``{node_rank}``. Other placeholders stay.
        run_name: the run's name.
        extra_format_kwargs: values of further placeholders.
    """
    return partial_format(format_str, **_rank_values(run_name), **extra_format_kwargs)


def format_name_with_dist_and_time(
    format_str: str, run_name: str, timestamp: Timestamp, **extra_format_kwargs: object
) -> str:
    """Fill a name template with the run's name, this process's ranks and the run's counters.

    Args:
        format_str: the template; besides what :func:`format_name_with_dist` fills it may hold
            ``{epoch}``, ``{batch}``, ``{sample}``, ``{token}``, ``{batch_in_epoch}``,
            ``{sample_in_epoch}``, ``{token_in_epoch}``, ``{iteration}`` and its parts, and the
            wall-clock times ``{total_wct}``, ``{epoch_wct}``, ``{batch_wct}`` in seconds.
        run_name: the run's name.
        timestamp: the counters.
        extra_format_kwargs: values of further placeholders.
    """
    return partial_format(
        format_str,
        **_rank_values(run_name),
        **_counters(timestamp),
        **{name: getattr(timestamp, name).total_seconds() for name in _CLOCKS},
        **extra_format_kwargs,
    )


def ensure_folder_has_no_conflicting_files(
    folder_name: str | os.PathLike[str],
    filename: str,
    timestamp: Timestamp,
    may_be_replaced: Callable[[str], bool] | None = None,
) -> None:
    """Refuse a folder with a file that this run would only write later.

    Args:
        folder_name: the folder; it may be missing.
        filename: template of the files the run writes there.
        timestamp: the counters of now.
        may_be_replaced: says of such a file's path whether it does not matter.

    Raises:
        FileExistsError: such a file; it is named.
    """
    later = find_later_files(folder_name, filename, _rank_values(None), _counters(timestamp))
    found = next((p for p in later if may_be_replaced is None or not may_be_replaced(p)), None)
    _refuse_later(found, timestamp)


def ensure_no_conflicting_names(
    names: Iterable[str], filename: str, timestamp: Timestamp, uri: str
) -> None:
    """Refuse a folder that is elsewhere, with a file that this run would only write later.

    Args:
        names: names of the files that are there.
        filename: template of the files the run writes there.
        timestamp: the counters of now.
        uri: the folder's address, for the message.

    Raises:
        FileExistsError: such a file; it is named.
    """
    later = find_later_names(names, filename, _rank_values(None), _counters(timestamp))
    found = next(later, None)
    _refuse_later(None if found is None else f"{uri}/{found}", timestamp)


def _refuse_later(found: str | None, timestamp: Timestamp) -> None:
    if found is not None:
        raise FileExistsError(
            f"{found!r} lies later than this run has come ({timestamp}) and would be overwritten. "
            "Delete it, use another folder, or allow overwriting."
        )


def _rank_values(run_name: str | None) -> dict[str, Any]:
    ranks: dict[str, Any] = {
        "rank": comm.get_global_rank(),
        "local_rank": comm.get_local_rank(),
        "world_size": comm.get_world_size(),
        "local_world_size": comm.get_local_world_size(),
        "node_rank": comm.get_node_rank(),
    }
    return ranks if run_name is None else {"run_name": run_name, **ranks}


def _counters(timestamp: Timestamp) -> dict[str, int]:
    return {name: int(getattr(timestamp, name)) for name in TIME_COUNTERS}
