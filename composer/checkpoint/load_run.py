"""Read a file into the state of a run."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, cast

import torch

from composer.checkpoint.container import read_file
from composer.checkpoint.download import fetched
from composer.checkpoint.foreign import to_todays_layout
from composer.checkpoint.latest import find_file
from composer.checkpoint.layout import (
    DATA_KEY,
    RNG_KEY,
    STATE_KEY,
    fill_for_loading,
)
from composer.checkpoint.manifest import find_defect, find_record
from composer.checkpoint.monolith import own_tensors
from composer.checkpoint.remap import IgnoreKeys, leave_out
from composer.core.logger import Logger
from composer.core.passes import AlgorithmPass
from composer.core.state import State
from composer.core.state_io import load_model_state
from composer.distributed import comm
from composer.env import CHECKPOINT_VALIDATION_FUNCTION
from composer.errors import CheckpointError, ConfigError, CorruptCheckpointError, DistributedError
from composer.utils.import_helpers import import_object

__all__ = ["load_checkpoint", "read_checkpoint", "safe_torch_load"]

log = logging.getLogger(__name__)


def load_checkpoint(
    path: str,
    state: State,
    logger: Logger,
    object_store: Any = None,
    load_weights_only: bool = False,
    strict_model_weights: bool = True,
    progress_bar: bool = True,
    ignore_keys: IgnoreKeys = None,
    exclude_algorithms: Sequence[str] | None = None,
    algorithm_passes: Sequence[AlgorithmPass] | None = None,
    *,
    trust: bool = False,
    verify: bool = True,
) -> list[dict[str, Any]] | None:
    """Read a checkpoint into a run; all ranks must call this.

    Files written by MosaicML Composer are read as well.

    Args:
        path: the file, or a link to it; ``{run_name}`` is filled in and ``{rank}`` is 0. An
            address such as ``s3://bucket/name`` is downloaded once on each machine.
        state: the run's state, with model, optimizers, methods and callbacks there.
        logger: the run's logger.
        object_store: where the file is: an object store, or a logger destination that keeps files.
        load_weights_only: take over the model's weights and nothing else.
        strict_model_weights: whether the model must have exactly the saved weights, apart from
            those that ``ignore_keys`` leaves out.
        progress_bar: whether to show progress while fetching the file.
        ignore_keys: what to leave out; see :func:`composer.checkpoint.remap.leave_out`.
        exclude_algorithms: names of methods that are not to be made from the checkpoint although
            it requires them.
        algorithm_passes: the passes that order methods.
        trust: whether code from the file may be run; for old files of one's own only.
        verify: whether to compare the file with the hash in its manifest.

    Returns:
        The random states, one mapping per rank, for
        :meth:`composer.trainer.resume.DataloaderPosition.continue_from`; ``None`` if there are
        none or only weights were wanted.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or the run's methods have acted in another order.
        RuntimeError: the file does not fit the run, or holds what is only read with trust.
    """
    filled = fill_for_loading(path, state.run_name)
    with fetched(filled, object_store, progress_bar) as here, _compared(here, verify) as found:
        contents = _read(found, trust=trust)
        before = _model_names(contents)
        contents = leave_out(contents, ignore_keys, "load_ignore_keys")
        saved: dict[str, Any] = dict(contents.get(STATE_KEY, {}))
        _fill_ignored_weights(state, saved, before)
        # Weights are copied into the model; everything else is taken over as it is, so it must not
        # go on living in the file.
        saved = {key: item if key == "model" else own_tensors(item) for key, item in saved.items()}
    options = (logger, strict_model_weights, exclude_algorithms, algorithm_passes)
    rng_states: list[dict[str, Any]] | None = None
    if load_weights_only:
        load_model_state(state, saved, *options)
    else:
        rng_states = own_tensors(_choose_random_states(contents, saved))
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


def read_checkpoint(
    path: str, run_name: str = "", *, trust: bool = False, verify: bool = True
) -> dict[str, Any]:
    """Read the contents of a checkpoint without a run; with several ranks all must call this.

    Args:
        path: the file, or a link to it, here or at an address such as ``s3://bucket/name``.
        run_name: fills ``{run_name}`` in the path.
        trust: whether code from the file may be run; for old files of one's own only.
        verify: whether to compare the file with the hash in its manifest.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or no checkpoint.
        RuntimeError: the file holds what is only read with trust.
    """
    with fetched(fill_for_loading(path, run_name)) as here, _compared(here, verify) as found:
        return own_tensors(_read(found, trust=trust))


def safe_torch_load(
    composer_states_filepath: str,
    map_location: str = "cpu",
    load_monolith_rank0_only: bool = False,
) -> dict[str, Any]:
    """Read a file of ``torch.save`` without running code from it.

    Args:
        composer_states_filepath: the file.
        map_location: the device its tensors are put on.
        load_monolith_rank0_only: whether ranks other than 0 get an empty dict and read nothing.

    Raises:
        RuntimeError: the file holds what cannot be read without running code.
    """
    if load_monolith_rank0_only and comm.get_global_rank() != 0:
        return {}
    contents = own_tensors(read_file(composer_states_filepath))
    return contents if map_location == "cpu" else _on_device(contents, map_location)


def _on_device(value: Any, device: str) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {k: _on_device(v, device) for k, v in cast("dict[Any, Any]", value).items()}
    if type(value) in (list, tuple):
        return type(value)(_on_device(item, device) for item in value)
    return value


def _read(path: str, *, trust: bool) -> dict[str, Any]:
    _validate(path)
    contents = read_file(path, trust=trust)
    if not isinstance(contents.get(STATE_KEY), dict):
        raise CorruptCheckpointError(
            f"{path!r} is no checkpoint of a run: it has no {STATE_KEY!r}, only "
            f"{sorted(map(str, contents))[:10]}. Load plain weights with model.load_state_dict."
        )
    return to_todays_layout(contents)


@contextmanager
def _compared(path: str, verify: bool) -> Iterator[str]:
    """Compare a file with its manifest beside what is done with it in the block.

    What is read in the block may be used once the block is left.

    Args:
        path: the file, or a link to it.
        verify: whether to compare at all.

    Yields:
        The file.

    Raises:
        ValueError: it is damaged; also where the block fails for that reason.
    """
    path = find_file(path)
    described = find_record(path) if verify else None
    if described is None:
        yield path
        return
    _refuse(find_defect(*described, with_content=False), path)
    with ThreadPoolExecutor(1) as pool:
        defect = pool.submit(find_defect, *described)
        try:
            yield path
        finally:
            # Damaged bytes fail in every way there is: that they are damaged comes first.
            _refuse(defect.result(), path)


def _refuse(defect: str | None, path: str) -> None:
    if defect is not None:
        raise CorruptCheckpointError(f"{path!r} is damaged: {defect}. Use an older checkpoint.")


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
