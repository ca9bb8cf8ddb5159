"""Write the state of a run to a file."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable
from typing import Any

from composer.checkpoint.commit import PendingCheckpoint
from composer.checkpoint.container import check_can_write, write_file
from composer.checkpoint.layout import (
    DATA_KEY,
    DEFAULT_FILENAME,
    RNG_KEY,
    STATE_KEY,
    check_is_local,
    fill_for_saving,
    split_path,
)
from composer.checkpoint.manifest import Manifests, Record
from composer.checkpoint.plain import as_plain
from composer.checkpoint.remap import IgnoreKeys, leave_out
from composer.core.run_metadata import integrations_to_dict, metadata_to_dict
from composer.core.state import State
from composer.core.time import Timestamp
from composer.core.weight_view import evaluation_weights
from composer.distributed import comm
from composer.distributed.reproducibility import get_rng_state
from composer.errors import CheckpointError, CheckpointExistsError

__all__ = [
    "collect",
    "counters_of",
    "get_save_filename",
    "on_rank_zero",
    "save_checkpoint",
]

log = logging.getLogger(__name__)


def save_checkpoint(
    state: State,
    filename: str = DEFAULT_FILENAME,
    *,
    weights_only: bool = False,
    ignore_keys: IgnoreKeys = None,
    overwrite: bool = True,
) -> str | None:
    """Write a checkpoint and wait until it is safe on disk; all ranks must call this.

    The weights are those of the run's weight view (averaged weights, where a method keeps some).

    Args:
        state: the run's state.
        filename: path, with placeholders such as ``{run_name}`` and ``{epoch}``. Its ending may
            ask for compression (``.pt.zst``) or an archive (``.tar.gz``).
        weights_only: leave out everything but the model, what rebuilds it, and facts on the run.
        ignore_keys: what to leave out; see :func:`composer.checkpoint.remap.leave_out`.
        overwrite: whether an existing file may be replaced.

    Returns:
        The path of the file on rank 0, which writes it; ``None`` on the others.

    Raises:
        RuntimeError: the state holds something a checkpoint cannot, or rank 0 could not write.
        FileExistsError: the file exists and ``overwrite`` is false.
    """
    path = get_save_filename(state, filename)
    check_is_local(path, "filename")
    check_can_write(path)
    with evaluation_weights(state):
        contents = leave_out(collect(state, weights_only), ignore_keys, "save_ignore_keys")
        facts = Record(
            name="",
            files=(),
            run_name=state.run_name,
            timestamp=counters_of(state.timestamp),
            weights_only=weights_only,
        )
        on_rank_zero(lambda: _write(contents, path, facts, overwrite), f"write {path!r}")
    log.info("saved a checkpoint at %s: %s", state.timestamp, path)
    return path if comm.get_global_rank() == 0 else None


def get_save_filename(state: State, filename: str = DEFAULT_FILENAME) -> str:
    """Return the path that a checkpoint saved now would have.

    Args:
        state: the run's state.
        filename: path, with placeholders.
    """
    return fill_for_saving(filename, state.run_name, state.timestamp)


def collect(state: State, weights_only: bool = False) -> dict[str, Any]:
    """Return the contents of a checkpoint; all ranks must call this.

    Args:
        state: the run's state. The contents hold its tensors, not copies.
        weights_only: leave out everything but the model, what rebuilds it, and facts on the run.
    """
    if weights_only:
        weights = {
            "model": state.get_model_state_dict(),
            "integrations": integrations_to_dict(state.model),
            "metadata": metadata_to_dict(state),
        }
        return {STATE_KEY: weights}
    saved = state.state_dict()
    contents: dict[str, Any] = {STATE_KEY: saved, RNG_KEY: get_rng_state()}
    if comm.get_world_size() > 1:
        # Each rank reads its own share of the data.
        contents[DATA_KEY] = comm.all_gather_object(saved["dataset_state"])
    return contents


def counters_of(timestamp: Timestamp) -> dict[str, int | float]:
    """Return a timestamp's counters as numbers, durations in seconds."""
    return as_plain(timestamp.state_dict())


def on_rank_zero(function: Callable[[], object], what: str) -> None:
    """Call a function on rank 0; where it fails, all ranks raise. All ranks must call this.

    Args:
        function: what to do.
        what: what that is, for the message on the other ranks.

    Raises:
        RuntimeError: it failed, on the ranks other than 0; there, what it failed with.
    """
    failure: Exception | None = None
    if comm.get_global_rank() == 0:
        try:
            function()
        except Exception as error:  # noqa: BLE001 - raised below, once the others know
            failure = error
    # Without this the others would wait for rank 0 until they time out.
    message = [None if failure is None else f"{type(failure).__name__}: {failure}"]
    comm.broadcast_object_list(message, src=0)
    if failure is not None:
        raise failure
    if message[0] is not None:
        raise CheckpointError(f"rank 0 could not {what}: {message[0]}")


def _write(contents: dict[str, Any], path: str, facts: Record, overwrite: bool) -> None:
    folder, name = split_path(path)
    plain = as_plain(contents)
    with PendingCheckpoint(folder, name) as pending:
        write_file(plain, pending, name)
        if not overwrite and os.path.lexists(path):
            raise CheckpointExistsError(f"{path!r} exists and may not be overwritten")
        manifests = Manifests(folder)
        facts = dataclasses.replace(facts, sequence=manifests.next_sequence())
        pending.commit(facts, manifests)
