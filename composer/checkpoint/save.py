"""Write the state of a run to a file."""

from __future__ import annotations

import logging
from typing import Any

from composer.checkpoint import monolith
from composer.checkpoint.layout import (
    DATA_KEY,
    DEFAULT_FILENAME,
    RNG_KEY,
    STATE_KEY,
    check_is_local,
    check_is_plain,
    fill_for_saving,
)
from composer.checkpoint.remap import IgnoreKeys, leave_out
from composer.core.run_metadata import integrations_to_dict, metadata_to_dict
from composer.core.state import State
from composer.core.weight_view import evaluation_weights
from composer.distributed import comm
from composer.distributed.reproducibility import get_rng_state
from composer.errors import CheckpointError

__all__ = ["collect", "save"]

log = logging.getLogger(__name__)


def save(
    state: State,
    filename: str = DEFAULT_FILENAME,
    *,
    weights_only: bool = False,
    ignore_keys: IgnoreKeys = None,
    overwrite: bool = True,
) -> str | None:
    """Write a checkpoint; all ranks must call this.

    The weights are those of the run's weight view (averaged weights, where a method keeps some).

    Args:
        state: the run's state.
        filename: path, with placeholders such as ``{run_name}`` and ``{epoch}``.
        weights_only: leave out everything but the model, what rebuilds it, and facts on the run.
        ignore_keys: what to leave out; see :func:`composer.checkpoint.remap.leave_out`.
        overwrite: whether an existing file may be replaced.

    Returns:
        The path of the file on rank 0, which writes it; ``None`` on the others.

    Raises:
        RuntimeError: the state holds something a checkpoint cannot, or rank 0 could not write.
        FileExistsError: the file exists and ``overwrite`` is false.
    """
    path = fill_for_saving(filename, state.run_name, state.timestamp)
    check_is_local(path, "filename")
    check_is_plain(path)
    with evaluation_weights(state):
        contents = collect(state, weights_only)
        contents = leave_out(contents, ignore_keys, "save_ignore_keys")
        _write_on_rank_zero(contents, path, overwrite)
    log.info("saved a checkpoint at %s: %s", state.timestamp, path)
    return path if comm.get_global_rank() == 0 else None


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


def _write_on_rank_zero(contents: dict[str, Any], path: str, overwrite: bool) -> None:
    failure: Exception | None = None
    if comm.get_global_rank() == 0:
        try:
            monolith.write(contents, path, overwrite=overwrite)
        except Exception as error:  # noqa: BLE001 - raised below, once the others know
            failure = error
    # Without this the others would wait for rank 0 until they time out.
    message = [None if failure is None else f"{type(failure).__name__}: {failure}"]
    comm.broadcast_object_list(message, src=0)
    if failure is not None:
        raise failure
    if message[0] is not None:
        raise CheckpointError(f"rank 0 could not write {path!r}: {message[0]}")
