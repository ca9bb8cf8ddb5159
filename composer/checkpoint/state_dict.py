"""The parts of a checkpoint, each by itself.

The Trainer's single files are made of the same parts (see :mod:`composer.core.state_io`); these
functions give them to programs that keep them in files of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch

from composer.checkpoint.save_run import collect
from composer.core.optimizer_io import optimizer_to_dict, parameter_names
from composer.core.run_metadata import environment_to_dict, integrations_to_dict
from composer.core.state import State
from composer.devices.device import Device
from composer.distributed import comm
from composer.errors import ConfigError, unknown_name
from composer.utils.model_helpers import STR_TO_DTYPE

__all__ = [
    "get_metadata_state_dict",
    "get_model_state_dict",
    "get_optim_state_dict",
    "get_resumption_state_dict",
]


def get_model_state_dict(
    model: torch.nn.Module,
    sharded_state_dict: bool = False,
    precision: str | torch.dtype = "fp32",
    include_keys: str | Sequence[str] | None = None,
    ignore_keys: str | Sequence[str] | None = None,
    cpu_offload: bool | None = None,
) -> dict[str, Any]:
    """Return a model's parameters and buffers, by name.

    Args:
        model: the model.
        sharded_state_dict: whether each rank returns its own part of a sharded model; else rank 0
            gathers the whole, and all ranks must call this.
        precision: number format of floating point tensors: ``'fp32'``, ``'fp16'``, ``'bf16'`` or a
            torch type.
        include_keys: patterns of the names to return, as in a shell; all by default.
        ignore_keys: patterns of the names to leave out. Not together with ``include_keys``.
        cpu_offload: whether to copy the tensors to the CPU; by default where they are gathered.

    Raises:
        ValueError: both kinds of patterns, or an unknown precision.
    """
    whole = _whole_or_part(model.state_dict(), sharded_state_dict)
    chosen = _chosen(whole, include_keys, ignore_keys)
    return {name: _cast(value, precision, bool(cpu_offload)) for name, value in chosen.items()}


def get_optim_state_dict(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    sharded_state_dict: bool = False,
    precision: str | torch.dtype = "fp32",
    include_keys: str | Sequence[str] | None = None,
    ignore_keys: str | Sequence[str] | None = None,
    cpu_offload: bool | None = None,
) -> dict[str, Any]:
    """Return an optimizer's state, by the names of the model's parameters.

    Args:
        model: the model whose parameters the optimizer has.
        optimizer: the optimizer.
        sharded_state_dict: as in :func:`get_model_state_dict`, like all that follow; patterns are
            of parameters' names.
        precision: number format of floating point tensors.
        include_keys: patterns of the names to return.
        ignore_keys: patterns of the names to leave out.
        cpu_offload: whether to copy the tensors to the CPU.

    Returns:
        ``state`` (name -> entries) and ``param_groups`` (names under ``params``).
    """
    saved = optimizer_to_dict(optimizer, parameter_names(model))
    chosen = _chosen(saved["state"], include_keys, ignore_keys)
    offload = bool(cpu_offload)
    state = {
        name: {
            key: _cast(value, precision, offload)
            for key, value in _whole_or_part(entries, sharded_state_dict).items()
        }
        for name, entries in chosen.items()
    }
    names = _chosen(
        {name: None for group in saved["param_groups"] for name in group["params"]},
        include_keys,
        ignore_keys,
    )
    groups = [
        {**group, "params": [name for name in group["params"] if name in names]}
        for group in saved["param_groups"]
    ]
    return {"state": state, "param_groups": groups}


def get_metadata_state_dict(
    model: torch.nn.Module | None = None,
    sharded_state_dict: bool | None = None,
    precision: str | torch.dtype | None = None,
    device: Device | None = None,
    device_train_microbatch_size: int | float | None = None,
) -> dict[str, Any]:
    """Return facts on the program that writes a checkpoint, as JSON values.

    Args:
        model: the model; its class, and what it says other libraries need to rebuild it.
        sharded_state_dict: whether the parts are of one rank each.
        precision: number format of the tensors.
        device: where the model lives.
        device_train_microbatch_size: samples per forward pass.
    """
    facts: dict[str, Any] = {
        "composer_env_info": environment_to_dict(),
        "torch_version": str(torch.__version__),
        "world_size": comm.get_world_size(),
        "sharded_state_dict": sharded_state_dict,
        "precision": None if precision is None else _name_of(precision),
        "device": None if device is None else device.name,
        "device_train_microbatch_size": device_train_microbatch_size,
    }
    if model is not None:
        facts["model_name"] = type(model).__name__
        facts.update(integrations_to_dict(model))
    return facts


def get_resumption_state_dict(state: State) -> dict[str, Any]:
    """Return what a run needs to go on besides model and optimizers; all ranks must call this.

    Args:
        state: the run's state.

    Returns:
        Timestamp, schedules, methods, callbacks, positions of data, random states and so on.
    """
    contents = collect(state)
    kept = {
        key: value
        for key, value in contents.pop("state").items()
        if key not in ("model", "optimizers", "integrations", "metadata")
    }
    return {**kept, **contents}


def _whole_or_part(values: Mapping[str, Any], is_part_wanted: bool) -> dict[str, Any]:
    if is_part_wanted:
        return dict(values)
    return {
        name: getattr(value, "full_tensor", lambda v=value: v)() for name, value in values.items()
    }


def _chosen(
    values: Mapping[str, Any],
    include: str | Sequence[str] | None,
    ignore: str | Sequence[str] | None,
) -> dict[str, Any]:
    if include is not None and ignore is not None:
        raise ConfigError(f"include_keys={include!r} and ignore_keys={ignore!r}: give one of them")
    if include is None and ignore is None:
        return dict(values)
    given = include if include is not None else ignore
    patterns = [given] if isinstance(given, str) else list(given or ())
    is_kept = include is not None
    return {
        name: value
        for name, value in values.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns) is is_kept
    }


def _cast(value: Any, precision: str | torch.dtype, cpu_offload: bool) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    dtype = _dtype_of(precision) if value.is_floating_point() else value.dtype
    return value.detach().to("cpu" if cpu_offload else value.device, dtype)


def _dtype_of(precision: str | torch.dtype) -> torch.dtype:
    if isinstance(precision, torch.dtype):
        return precision
    if precision not in STR_TO_DTYPE:
        raise unknown_name("precision", precision, STR_TO_DTYPE)
    return STR_TO_DTYPE[precision]


def _name_of(precision: str | torch.dtype) -> str:
    dtype = _dtype_of(precision)
    return next((name for name, each in STR_TO_DTYPE.items() if each == dtype), str(dtype))
