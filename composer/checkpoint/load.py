"""Load checkpoints that are folders of parts; see :mod:`composer.checkpoint.save`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch

from composer.checkpoint import monolith
from composer.checkpoint.container import read_file
from composer.checkpoint.manifest import find_defect, find_record
from composer.checkpoint.save import (
    MODEL_CHECKPOINT_DIRECTORY_NAME,
    MONOLITHIC_MODEL_CHECKPOINT_FILENAME,
    OPTIM_CHECKPOINT_DIRECTORY_NAME,
    OPTIM_MONO_CHECKPOINT_FILENAME,
    RESUMPTION_CHECKPOINT_FILENAME,
)
from composer.core.logger import Logger
from composer.core.optimizer_io import load_optimizer, parameter_names
from composer.core.state import State
from composer.distributed.reproducibility import load_rng_state
from composer.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    ConfigError,
    CorruptCheckpointError,
)
from composer.utils.import_helpers import import_extra

__all__ = [
    "CheckpointLoadOptions",
    "load_checkpoint",
    "load_model_checkpoint",
    "load_optim_checkpoint",
    "load_resumption_checkpoint",
]


@dataclass
class CheckpointLoadOptions:
    """What :func:`load_checkpoint` reads.

    Attributes:
        load_model: whether to load the model.
        load_optimizer: whether to load the optimizer.
        load_resumption_state: whether to load what else a run needs to go on.
        include_keys: patterns of the model's names to load; all by default.
        ignore_keys: patterns of the model's names to leave as they are.
        sharded_checkpoint: not supported here.
        shard_as_needed_during_load: not supported here.
        strict: whether the model's names must match the checkpoint's exactly.
        precision: number format the model's floating point tensors are cast to; ``None`` leaves
            the model's own.
        cpu_offload: whether tensors are read to the CPU first; they always are.
        load_planner: not supported here.
        fsdp_config: not supported here.
        device_mesh: not supported here.
        seed: not looked at; nothing random happens.
    """

    load_model: bool = True
    load_optimizer: bool = False
    load_resumption_state: bool = False
    include_keys: str | Sequence[str] | None = None
    ignore_keys: str | Sequence[str] | None = None
    sharded_checkpoint: bool = False
    shard_as_needed_during_load: bool = False
    strict: bool = True
    precision: str = "fp32"
    cpu_offload: bool = True
    load_planner: Any = None
    fsdp_config: Any = None
    device_mesh: Any = None
    seed: int = 42

    def __post_init__(self) -> None:
        for name in ("sharded_checkpoint", "shard_as_needed_during_load"):
            if getattr(self, name):
                raise ConfigError(f"{name}=True: sharded checkpoints are not read here")
        if self.include_keys is not None and self.ignore_keys is not None:
            raise ConfigError("include_keys and ignore_keys: give one of them")


def load_checkpoint(
    load_path: str,
    load_options: CheckpointLoadOptions | dict[str, Any] | None = None,
    model: torch.nn.Module | None = None,
    optim: torch.optim.Optimizer | None = None,
    state: State | None = None,
    model_child_path: str | None = None,
    optim_child_path: str | None = None,
    resumption_filename: str = RESUMPTION_CHECKPOINT_FILENAME,
) -> None:
    """Load the parts of a checkpoint.

    Args:
        load_path: the checkpoint's folder.
        load_options: which parts.
        model: the model; by default the state's.
        optim: its optimizer; by default the state's only one.
        state: the run; needed to load what else a run needs to go on.
        model_child_path: where the model's part is, in the folder.
        optim_child_path: where the optimizer's part is, in the folder.
        resumption_filename: where everything else is, in the folder.

    Raises:
        FileNotFoundError: a part is not there.
        ValueError: a part is damaged, or what to load into is missing.
    """
    options = _as_options(load_options)
    _check_whole(load_path)
    model = model if model is not None or state is None else state.model
    if optim is None and state is not None and len(state.optimizers) == 1:
        optim = state.optimizers[0]
    if options.load_model:
        if model is None:
            raise ConfigError("load_model=True needs a model or a state")
        child = model_child_path or MODEL_CHECKPOINT_DIRECTORY_NAME
        load_model_checkpoint(model, os.path.join(load_path, child), options)
    if options.load_optimizer:
        if model is None or optim is None:
            raise ConfigError("load_optimizer=True needs a model and its optimizer, or a state")
        child = optim_child_path or OPTIM_CHECKPOINT_DIRECTORY_NAME
        load_optim_checkpoint(model, optim, os.path.join(load_path, child), options)
    if options.load_resumption_state:
        if state is None:
            raise ConfigError("load_resumption_state=True needs a state")
        load_resumption_checkpoint(state, os.path.join(load_path, resumption_filename))


def load_model_checkpoint(
    model: torch.nn.Module,
    load_path: str | None = None,
    load_options: CheckpointLoadOptions | dict[str, Any] | None = None,
    seed: int = 42,
) -> None:
    """Load a model's weights.

    Args:
        model: the model.
        load_path: the file ``.pt`` or ``.safetensors``, or the folder it lies in; ``None`` loads
            nothing.
        load_options: patterns and strictness.
        seed: not looked at.

    Raises:
        FileNotFoundError: there is no such file.
        RuntimeError: the weights do not fit.
    """
    del seed
    if load_path is None:
        return
    options = _as_options(load_options)
    weights = _read_weights(_file_in(load_path, MONOLITHIC_MODEL_CHECKPOINT_FILENAME))
    wanted = {name: value for name, value in weights.items() if _is_wanted(name, options)}
    missing, unexpected = model.load_state_dict(wanted, strict=False)
    missing = [name for name in missing if _is_wanted(name, options)]
    if options.strict and (missing or unexpected):
        raise CheckpointError(
            f"the model's weights differ from those of {load_path!r}: not there {missing[:5]}, "
            f"only there {unexpected[:5]}. Build the same model, or say strict=False."
        )


def load_optim_checkpoint(
    model: torch.nn.Module,
    optim: torch.optim.Optimizer,
    load_path: str,
    load_options: CheckpointLoadOptions | dict[str, Any] | None = None,
) -> None:
    """Load an optimizer's state.

    Args:
        model: the model whose parameters the optimizer has.
        optim: the optimizer.
        load_path: the file, or the folder it lies in.
        load_options: checked for what is not supported.

    Raises:
        FileNotFoundError: there is no such file.
        RuntimeError: the state is of other parameters.
    """
    _as_options(load_options)
    saved = monolith.own_tensors(read_file(_file_in(load_path, OPTIM_MONO_CHECKPOINT_FILENAME)))
    load_optimizer(optim, parameter_names(model), saved, type(optim).__name__)


def load_resumption_checkpoint(state: State, load_path: str) -> None:
    """Load what a run needs to go on besides model and optimizers.

    Args:
        state: the run. Random states are put back at once.
        load_path: the file, or the folder it lies in.

    Raises:
        FileNotFoundError: there is no such file.
    """
    saved = monolith.own_tensors(read_file(_file_in(load_path, RESUMPTION_CHECKPOINT_FILENAME)))
    rng_states = saved.pop("rng", None)
    state.load_state_dict(saved, Logger(state))
    if rng_states is not None:
        load_rng_state(rng_states)


def _as_options(options: CheckpointLoadOptions | dict[str, Any] | None) -> CheckpointLoadOptions:
    if isinstance(options, CheckpointLoadOptions):
        return options
    return CheckpointLoadOptions(**(options or {}))


def _is_wanted(name: str, options: CheckpointLoadOptions) -> bool:
    given = options.include_keys if options.include_keys is not None else options.ignore_keys
    if given is None:
        return True
    patterns = [given] if isinstance(given, str) else given
    is_hit = any(fnmatchcase(name, pattern) for pattern in patterns)
    return is_hit is (options.include_keys is not None)


def _check_whole(path: str) -> None:
    found = find_record(path)
    defect = None if found is None else find_defect(*found)
    if defect is not None:
        raise CorruptCheckpointError(f"{path!r} is damaged: {defect}. Use an older checkpoint.")


def _file_in(path: str, name: str) -> str:
    if not os.path.isdir(path):
        return path
    stem = os.path.splitext(name)[0]
    for found in (name, f"{stem}.safetensors"):
        if os.path.exists(os.path.join(path, found)):
            return os.path.join(path, found)
    raise CheckpointNotFoundError(f"{path!r} holds no {name!r}, only {sorted(os.listdir(path))}")


def _read_weights(path: str) -> dict[str, Any]:
    if path.endswith(".safetensors"):
        return import_extra("safetensors.torch", "safetensors").load_file(path)
    return read_file(path)
