"""Read a file into the state of a run."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any, cast

from composer.checkpoint import monolith
from composer.checkpoint.latest import find_file
from composer.checkpoint.layout import (
    DATA_KEY,
    RNG_KEY,
    STATE_KEY,
    check_is_local,
    fill_for_loading,
)
from composer.checkpoint.remap import IgnoreKeys, leave_out
from composer.core.logger import Logger
from composer.core.passes import AlgorithmPass
from composer.core.state import State
from composer.core.state_io import load_model_state
from composer.distributed import comm
from composer.env import CHECKPOINT_VALIDATION_FUNCTION
from composer.errors import CheckpointError, ConfigError, CorruptCheckpointError, DistributedError
from composer.utils.import_helpers import import_object

__all__ = ["load", "read_checkpoint"]

log = logging.getLogger(__name__)


def load(
    state: State,
    logger: Logger,
    path: str,
    *,
    load_weights_only: bool = False,
    strict_model_weights: bool = True,
    ignore_keys: IgnoreKeys = None,
    exclude_algorithms: Sequence[str] | None = None,
    algorithm_passes: Sequence[AlgorithmPass] | None = None,
) -> list[dict[str, Any]] | None:
    """Read a checkpoint into a run; all ranks must call this.

    Args:
        state: the run's state, with model, optimizers, methods and callbacks there.
        logger: the run's logger.
        path: the file, or a link to it; ``{run_name}`` is filled in and ``{rank}`` is 0.
        load_weights_only: take over the model's weights and nothing else.
        strict_model_weights: whether the model must have exactly the saved weights, apart from
            those that ``ignore_keys`` leaves out.
        ignore_keys: what to leave out; see :func:`composer.checkpoint.remap.leave_out`.
        exclude_algorithms: names of methods that are not to be made from the checkpoint although
            it requires them.
        algorithm_passes: the passes that order methods.

    Returns:
        The random states, one mapping per rank, for
        :meth:`composer.trainer.resume.DataloaderPosition.continue_from`; ``None`` if there are
        none or only weights were wanted.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or the run's methods have acted in another order.
        RuntimeError: the file does not fit the run, or holds what is never read.
    """
    contents = read_checkpoint(path, state.run_name)
    before = _model_names(contents)
    contents = leave_out(contents, ignore_keys, "load_ignore_keys")
    saved: dict[str, Any] = dict(contents.get(STATE_KEY, {}))
    _fill_ignored_weights(state, saved, before)
    options = (logger, strict_model_weights, exclude_algorithms, algorithm_passes)
    rng_states: list[dict[str, Any]] | None = None
    if load_weights_only:
        load_model_state(state, saved, *options)
    else:
        rng_states = _choose_random_states(contents, saved)
        if "timestamp" not in saved and ignore_keys is None:
            log.warning("%s holds weights only: training starts from batch 0", path)
        state.load_state_dict(saved, logger, strict_model_weights, *_as_lists(options[2:]))
        _check_ranks_agree(state, path)
    view = state.weight_view
    if view is not None and view.is_shown:
        # The file was written with the view's weights in the model; training needs its own.
        view.hide(state.model)
    log.info("loaded %s at %s", path, state.timestamp)
    return rng_states


def read_checkpoint(path: str, run_name: str = "") -> dict[str, Any]:
    """Read the contents of a checkpoint without a run.

    Args:
        path: the file, or a link to it.
        run_name: fills ``{run_name}`` in the path.
    """
    check_is_local(path, "load_path")
    found = find_file(fill_for_loading(path, run_name))
    _validate(found)
    contents = monolith.read(found)
    if not isinstance(contents.get(STATE_KEY), dict):
        raise CorruptCheckpointError(
            f"{found!r} is no checkpoint of a run: it has no {STATE_KEY!r}, only "
            f"{sorted(map(str, contents))[:10]}. Load plain weights with model.load_state_dict."
        )
    return contents


def _validate(path: str) -> None:
    name = CHECKPOINT_VALIDATION_FUNCTION.get()
    if name is None:
        return
    module, _, function = name.rpartition(".")
    if not module:
        raise ConfigError(
            f"{CHECKPOINT_VALIDATION_FUNCTION.name}={name!r} names no function; write "
            "'module.function'"
        )
    if not import_object(f"{module}:{function}")(path):
        raise CheckpointError(f"{name} does not accept the checkpoint {path!r}")


def _model_names(contents: dict[str, Any]) -> set[str]:
    return set(cast("dict[str, Any]", contents[STATE_KEY].get("model", {})))


def _fill_ignored_weights(state: State, saved: dict[str, Any], before: set[str]) -> None:
    """Let ignored weights keep the values they have, so that strictness is about the others."""
    model: dict[str, Any] | None = saved.get("model")
    if model is None:
        return
    ignored = before - model.keys()
    if ignored:
        own = state.get_model_state_dict()
        saved["model"] = {**model, **{name: own[name] for name in ignored if name in own}}


def _choose_random_states(
    contents: dict[str, Any], saved: dict[str, Any]
) -> list[dict[str, Any]] | None:
    """Return the random states, and put this rank's data position in its place.

    Both are of one rank each: with another number of ranks there is nothing to restore.
    """
    rng_states: list[dict[str, Any]] | None = contents.get(RNG_KEY)
    by_rank: list[Any] | None = contents.get(DATA_KEY)
    world_size = comm.get_world_size()
    if rng_states is None or len(rng_states) == world_size:
        if by_rank is not None and len(by_rank) == world_size:
            saved["dataset_state"] = by_rank[comm.get_global_rank()]
        return rng_states
    position: dict[str, Any] = dict(saved.get("dataset_state") or {})
    kept = {name: position.get(name) for name in ("train", "eval", "length")}
    note: dict[str, Any] = position.get("position") or {}
    # What says nothing about one rank: how far the epoch is.
    shared = {name: note[name] for name in ("epoch", "mark") if name in note}
    saved["dataset_state"] = {**kept, "position": shared or None}
    warnings.warn(
        f"the checkpoint was written by {len(rng_states)} ranks and is loaded by {world_size}: "
        "random states are not restored",
        stacklevel=3,
    )
    return None


def _check_ranks_agree(state: State, path: str) -> None:
    batches = comm.all_gather_object(state.timestamp.batch.value)
    if len(set(batches)) > 1:
        raise DistributedError(
            f"the ranks have read different checkpoints from {path!r}: they stand at the batches "
            f"{batches}. Let all nodes see the same file."
        )


def _as_lists(options: tuple[Any, ...]) -> list[list[Any] | None]:
    return [None if option is None else list(option) for option in options]
