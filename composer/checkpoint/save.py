"""Checkpoints as folders of parts.

The parts are ``model/model.pt``, ``optim/optim.pt``, ``resumption.pkl`` and
``composer_metadata.json``; each can be loaded by itself. What is written and how (aside, with a
manifest, renamed) is the same as for the Trainer's single files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from composer.checkpoint import monolith
from composer.checkpoint.commit import PendingCheckpoint
from composer.checkpoint.layout import fill_for_saving
from composer.checkpoint.manifest import Manifests, Record
from composer.checkpoint.plain import as_plain
from composer.checkpoint.retention import Retention
from composer.checkpoint.save_run import counters_of, on_rank_zero
from composer.checkpoint.state_dict import (
    get_metadata_state_dict,
    get_model_state_dict,
    get_optim_state_dict,
    get_resumption_state_dict,
)
from composer.checkpoint.weights_file import write_weights
from composer.core.state import State
from composer.core.weight_view import evaluation_weights
from composer.devices.device import Device
from composer.distributed import comm
from composer.errors import CheckpointExistsError, ConfigError

__all__ = [
    "METADATA_CHECKPOINT_FILENAME",
    "MODEL_CHECKPOINT_DIRECTORY_NAME",
    "MONOLITHIC_MODEL_CHECKPOINT_FILENAME",
    "OPTIM_CHECKPOINT_DIRECTORY_NAME",
    "OPTIM_MONO_CHECKPOINT_FILENAME",
    "RESUMPTION_CHECKPOINT_FILENAME",
    "CheckpointSaveOptions",
    "is_state_dict_sharded",
    "save_checkpoint_to_disk",
    "save_composer_metadata_to_disk",
    "save_model_to_disk",
    "save_optim_to_disk",
    "save_resumption_state_to_disk",
    "save_state_dict_to_disk",
]

MODEL_CHECKPOINT_DIRECTORY_NAME = "model"
"""Folder of the model's part."""
MONOLITHIC_MODEL_CHECKPOINT_FILENAME = "model.pt"
"""The model's file."""
OPTIM_CHECKPOINT_DIRECTORY_NAME = "optim"
"""Folder of the optimizer's part."""
OPTIM_MONO_CHECKPOINT_FILENAME = "optim.pt"
"""The optimizer's file."""
RESUMPTION_CHECKPOINT_FILENAME = "resumption.pkl"
"""File of everything else a run needs to go on. Despite its name of old it is no free pickle: it is
written and read like all others, without code."""
METADATA_CHECKPOINT_FILENAME = "composer_metadata.json"
"""File of facts on the run."""


@dataclass
class CheckpointSaveOptions:
    """What :func:`save_checkpoint_to_disk` writes.

    Attributes:
        save_frequency: when to save, for who asks; not looked at here.
        dir_prefix: name of the folder, with placeholders.
        overwrite: whether an existing checkpoint may be replaced.
        save_model: whether to write the model.
        save_optimizer: whether to write the optimizer.
        save_resumption_state: whether to write what else a run needs to go on.
        num_checkpoints_to_keep: how many of the newest to keep; -1 for all.
        save_format: ``'pt'`` or, for the model, ``'safetensors'``.
        sharded_checkpoint: whether each rank writes its own part; not supported here.
        precision: number format of floating point tensors.
        include_keys: patterns of the names to write; all by default.
        ignore_keys: patterns of the names to leave out.
    """

    save_frequency: str | int = "1ep"
    dir_prefix: str = "ep{epoch}-ba{batch}"
    overwrite: bool = False
    save_model: bool = True
    save_optimizer: bool = True
    save_resumption_state: bool = True
    num_checkpoints_to_keep: int = -1
    save_format: str = "pt"
    sharded_checkpoint: bool = False
    precision: str | torch.dtype = "fp32"
    include_keys: str | Sequence[str] | None = None
    ignore_keys: str | Sequence[str] | None = None

    def __post_init__(self) -> None:
        _refuse_sharded(self.sharded_checkpoint)
        _check_format(self.save_format)


def save_checkpoint_to_disk(
    destination_dir: str,
    state: State,
    options: CheckpointSaveOptions | dict[str, Any] | None = None,
) -> str:
    """Write a run as a folder of parts; all ranks must call this.

    The weights are those of the run's weight view (averaged weights, where a method keeps some).

    Args:
        destination_dir: the folder of checkpoints, with placeholders.
        state: the run's state.
        options: what to write.

    Returns:
        The folder of this checkpoint.

    Raises:
        FileExistsError: the checkpoint exists and may not be overwritten.
    """
    options = _as_options(options)
    folder = os.path.abspath(fill_for_saving(destination_dir, state.run_name, state.timestamp))
    name = fill_for_saving(options.dir_prefix, state.run_name, state.timestamp)
    with evaluation_weights(state):
        parts = _collect_parts(state, options)
        on_rank_zero(
            lambda: _write_parts(folder, name, parts, state, options), f"write {folder!r}/{name}"
        )
    return os.path.join(folder, name)


def save_model_to_disk(
    model: torch.nn.Module,
    destination_dir: str,
    sharded_checkpoint: bool = False,
    precision: str | torch.dtype = "fp32",
    include_keys: str | Sequence[str] | None = None,
    ignore_keys: str | Sequence[str] | None = None,
    overwrite: bool = False,
    save_format: str = "pt",
) -> str | None:
    """Write a model as ``model/model.pt`` into a folder; all ranks must call this.

    Args:
        model: the model.
        destination_dir: the folder.
        sharded_checkpoint: not supported here.
        precision: number format of floating point tensors.
        include_keys: patterns of the names to write.
        ignore_keys: patterns of the names to leave out.
        overwrite: whether an existing file may be replaced.
        save_format: ``'pt'`` or ``'safetensors'``.

    Returns:
        The path on rank 0; ``None`` on the others.
    """
    _refuse_sharded(sharded_checkpoint)
    weights = get_model_state_dict(model, False, precision, include_keys, ignore_keys)
    path = os.path.join(destination_dir, _model_name(save_format))
    return save_state_dict_to_disk(weights, path, overwrite, save_format)


def save_optim_to_disk(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    destination_dir: str,
    sharded_checkpoint: bool = False,
    precision: str | torch.dtype = "fp32",
    overwrite: bool = False,
    save_format: str = "pt",
) -> str | None:
    """Write an optimizer as ``optim/optim.pt`` into a folder; all ranks must call this.

    Args:
        model: the model whose parameters the optimizer has.
        optimizer: the optimizer.
        destination_dir: the folder.
        sharded_checkpoint: not supported here.
        precision: number format of floating point tensors.
        overwrite: whether an existing file may be replaced.
        save_format: ``'pt'``.

    Returns:
        The path on rank 0; ``None`` on the others.
    """
    _refuse_sharded(sharded_checkpoint)
    saved = get_optim_state_dict(model, optimizer, False, precision)
    path = os.path.join(
        destination_dir, OPTIM_CHECKPOINT_DIRECTORY_NAME, OPTIM_MONO_CHECKPOINT_FILENAME
    )
    return save_state_dict_to_disk(saved, path, overwrite, save_format)


def save_resumption_state_to_disk(state: State, destination_file_path: str) -> str | None:
    """Write what a run needs to go on besides model and optimizers; all ranks must call this.

    Returns:
        The path on rank 0; ``None`` on the others.
    """
    return save_state_dict_to_disk(get_resumption_state_dict(state), destination_file_path, True)


def save_composer_metadata_to_disk(
    destination_file_path: str,
    model: torch.nn.Module | None = None,
    sharded_state_dict: bool | None = None,
    precision: str | torch.dtype | None = None,
    device: Device | None = None,
    device_train_microbatch_size: int | float | None = None,
) -> str | None:
    """Write facts on the run as JSON; arguments as of ``get_metadata_state_dict``.

    Returns:
        The path on rank 0; ``None`` on the others.
    """
    facts = get_metadata_state_dict(
        model, sharded_state_dict, precision, device, device_train_microbatch_size
    )
    return _write_one(facts, destination_file_path, overwrite=True, save_format="json")


def save_state_dict_to_disk(
    state_dict: dict[str, Any],
    destination_file_path: str,
    overwrite: bool = False,
    save_format: str = "pt",
) -> str | None:
    """Write a dict of tensors and plain values to a file; all ranks must call this.

    Args:
        state_dict: the dict.
        destination_file_path: the file.
        overwrite: whether an existing file may be replaced.
        save_format: ``'pt'`` or, for a dict of tensors, ``'safetensors'``.

    Returns:
        The path on rank 0; ``None`` on the others.

    Raises:
        FileExistsError: the file exists and ``overwrite`` is false.
        RuntimeError: the dict holds what cannot be written.
    """
    _check_format(save_format)
    if is_state_dict_sharded(state_dict):
        _refuse_sharded(True)
    return _write_one(state_dict, destination_file_path, overwrite, save_format)


def is_state_dict_sharded(state_dict: dict[str, Any]) -> bool:
    """Return whether a dict holds tensors of which each rank has its own part."""
    return any(
        is_state_dict_sharded(value) if isinstance(value, dict) else hasattr(value, "full_tensor")
        for value in state_dict.values()
    )


def _collect_parts(state: State, options: CheckpointSaveOptions) -> dict[str, Any]:
    chosen = (options.precision, options.include_keys, options.ignore_keys)
    parts: dict[str, Any] = {}
    if options.save_model:
        weights = get_model_state_dict(state.model, False, *chosen)
        parts[_model_name(options.save_format)] = weights
    if options.save_optimizer and state.optimizers:
        if len(state.optimizers) > 1:
            raise ConfigError(
                "a folder of parts holds one optimizer; save runs with several as single files"
            )
        name = os.path.join(OPTIM_CHECKPOINT_DIRECTORY_NAME, OPTIM_MONO_CHECKPOINT_FILENAME)
        parts[name] = get_optim_state_dict(state.model, state.optimizers[0], False, *chosen)
    if options.save_resumption_state:
        parts[RESUMPTION_CHECKPOINT_FILENAME] = get_resumption_state_dict(state)
    parts[METADATA_CHECKPOINT_FILENAME] = get_metadata_state_dict(
        state.model, False, options.precision, state.device, state.device_train_microbatch_size
    )
    return parts


def _write_parts(
    folder: str, name: str, parts: dict[str, Any], state: State, options: CheckpointSaveOptions
) -> None:
    if not options.overwrite and os.path.lexists(os.path.join(folder, name)):
        raise CheckpointExistsError(f"{os.path.join(folder, name)!r} exists; allow overwriting it")
    manifests = Manifests(folder)
    with PendingCheckpoint(folder, name) as pending:
        for part, contents in parts.items():
            _write_part(contents, pending, os.path.join(name, part))
        facts = Record(
            name,
            (),
            sequence=manifests.next_sequence(),
            series=options.dir_prefix,
            run_name=state.run_name,
            timestamp=counters_of(state.timestamp),
            weights_only=not options.save_resumption_state,
        )
        pending.commit(facts, manifests)
    records = [
        each for each in manifests.of_series(options.dir_prefix) if each.run_name == state.run_name
    ]
    for record in Retention(options.num_checkpoints_to_keep).outdated(records):
        manifests.delete_checkpoint(record)


def _write_one(
    contents: dict[str, Any], path: str, overwrite: bool, save_format: str
) -> str | None:
    folder, name = os.path.split(os.path.abspath(path))

    def write() -> None:
        if not overwrite and os.path.lexists(path):
            raise CheckpointExistsError(f"{path!r} exists; allow overwriting it")
        manifests = Manifests(folder)
        with PendingCheckpoint(folder, name) as pending:
            _write_part(contents, pending, name, save_format)
            pending.commit(Record(name, (), sequence=manifests.next_sequence()), manifests)

    on_rank_zero(write, f"write {path!r}")
    return path if comm.get_global_rank() == 0 else None


def _write_part(
    contents: dict[str, Any], pending: PendingCheckpoint, name: str, save_format: str | None = None
) -> None:
    ending = save_format or os.path.splitext(name)[1].removeprefix(".")
    if ending == "safetensors":
        write_weights(contents, pending, name)
        return
    with pending.open(name) as file:
        if ending == "json":
            file.write(json.dumps(as_plain(contents), indent=1).encode())
        else:
            monolith.write(as_plain(contents), file)


def _as_options(options: CheckpointSaveOptions | dict[str, Any] | None) -> CheckpointSaveOptions:
    if isinstance(options, CheckpointSaveOptions):
        return options
    return CheckpointSaveOptions(**(options or {}))


def _model_name(save_format: str) -> str:
    stem = os.path.splitext(MONOLITHIC_MODEL_CHECKPOINT_FILENAME)[0]
    return os.path.join(MODEL_CHECKPOINT_DIRECTORY_NAME, f"{stem}.{save_format}")


def _check_format(save_format: str) -> None:
    if save_format not in ("pt", "safetensors"):
        raise ConfigError(f"save_format={save_format!r} must be 'pt' or 'safetensors'")


def _refuse_sharded(is_wanted: bool) -> None:
    if is_wanted:
        raise ConfigError(
            "sharded checkpoints are not written here; gather the state with "
            "sharded_checkpoint=False"
        )
