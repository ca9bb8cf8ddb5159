"""An optimizer's state, keyed by the names of the parameters instead of by their position.

Positions change when a method replaces modules or a user reorders groups; names do not. Nothing
is copied here and nothing is read from the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from composer.errors import CheckpointError

__all__ = ["load_optimizer", "optimizer_to_dict", "parameter_names"]


def parameter_names(model: torch.nn.Module) -> dict[torch.nn.Parameter, str]:
    """Return the name of each parameter; a tied one has the first of its names."""
    return {parameter: name for name, parameter in model.named_parameters()}


def optimizer_to_dict(
    optimizer: Optimizer, names: Mapping[torch.nn.Parameter, str]
) -> dict[str, Any]:
    """Return the state of an optimizer, keyed by parameter name.

    Args:
        optimizer: the optimizer.
        names: parameter -> name, from :func:`parameter_names`. A parameter that is not in it is
            called by its position, ``param_<index>``.

    Returns:
        ``state``: name -> entries; ``param_groups``: the groups, with names under ``params``.
    """
    by_index = optimizer.state_dict()
    order = _names_in_order(optimizer, names)
    return {
        "state": {order[index]: entries for index, entries in by_index["state"].items()},
        "param_groups": [
            {**group, "params": [order[index] for index in group["params"]]}
            for group in by_index["param_groups"]
        ],
    }


def load_optimizer(
    optimizer: Optimizer,
    names: Mapping[torch.nn.Parameter, str],
    saved: Mapping[str, Any],
    label: str,
) -> None:
    """Take over a state written by :func:`optimizer_to_dict`.

    Tensors keep the number format they were saved in, also where it is not the parameter's: an
    optimizer may keep float32 averages of bfloat16 weights. A tensor that lies on the right device
    is taken over, not copied.

    Args:
        optimizer: the optimizer.
        names: parameter -> name.
        saved: the state. One that is keyed by position is loaded by position.
        label: what the optimizer is called in messages.

    Raises:
        RuntimeError: the state is of other parameters than the optimizer's.
    """
    if _is_by_position(saved):
        optimizer.load_state_dict(dict(saved))
        return
    order = _names_in_order(optimizer, names)
    saved_groups = _groups_by_parameter(saved["param_groups"])
    _check_names(order, saved_groups, label)
    current = optimizer.state_dict()
    position = {name: index for index, name in enumerate(order)}
    state = {position[name]: entries for name, entries in saved["state"].items()}
    groups = [
        {**group, **_settings(group["params"], order, saved_groups), "params": group["params"]}
        for group in current["param_groups"]
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    _restore_formats(optimizer, state)


def _parameters(optimizer: Optimizer) -> Iterator[torch.nn.Parameter]:
    for group in optimizer.param_groups:
        yield from group["params"]


def _names_in_order(optimizer: Optimizer, names: Mapping[torch.nn.Parameter, str]) -> list[str]:
    parameters = enumerate(_parameters(optimizer))
    return [names.get(parameter, f"param_{index}") for index, parameter in parameters]


def _is_by_position(saved: Mapping[str, Any]) -> bool:
    return any(isinstance(name, int) for group in saved["param_groups"] for name in group["params"])


def _groups_by_parameter(groups: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {name: group for group in groups for name in group["params"]}


def _check_names(order: Sequence[str], saved: Mapping[str, Any], label: str) -> None:
    missing = [name for name in order if name not in saved]
    unexpected = sorted(saved.keys() - set(order))
    if missing or unexpected:
        raise CheckpointError(
            f"the checkpoint's state of the optimizer {label!r} is of other parameters than it has "
            f"now: not in the checkpoint {_shortened(missing)}, only there "
            f"{_shortened(unexpected)}. Give the optimizer the same parameters, or leave its state "
            "out with load_ignore_keys=['state/optimizers/*']."
        )


def _shortened(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{list(names[:5])}{more}"


def _settings(
    indices: Sequence[int], order: Sequence[str], saved: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the settings saved for a group of parameters, found by its first parameter."""
    return dict(saved[order[indices[0]]]) if indices else {}


def _restore_formats(optimizer: Optimizer, state: Mapping[int, Mapping[str, Any]]) -> None:
    # torch casts floating point entries to the parameter's format, which would lose bits.
    for index, parameter in enumerate(_parameters(optimizer)):
        loaded = optimizer.state.get(parameter, {})
        for key, value in state.get(index, {}).items():
            if isinstance(value, torch.Tensor) and loaded[key].dtype != value.dtype:
                loaded[key] = value.to(loaded[key].device)
