"""How a group's learning rate and its other numbers are set from outside the optimizer."""

from __future__ import annotations

from typing import Any

from torch import Tensor

__all__ = ["set_number", "set_rate"]


def set_rate(group: dict[str, Any], rate: float | Tensor) -> None:
    """Set the learning rate of a group of parameters.

    Args:
        group: one of an optimizer's ``param_groups``.
        rate: the rate, a number or a tensor without dimensions.
    """
    set_number(group, "lr", rate)


def set_number(group: dict[str, Any], name: str, value: float | Tensor) -> None:
    """Set one of the numbers of a group of parameters.

    Args:
        group: one of an optimizer's ``param_groups``.
        name: what the group calls it.
        value: a number or a tensor without dimensions.
    """
    if isinstance(group[name], Tensor):
        # A captured graph reads this very tensor.
        group[name].fill_(value)
    else:
        group[name] = value
