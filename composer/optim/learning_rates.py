"""How a group's learning rate is set from outside the optimizer."""

from __future__ import annotations

from typing import Any

from torch import Tensor

__all__ = ["set_rate"]


def set_rate(group: dict[str, Any], rate: float | Tensor) -> None:
    """Set the learning rate of a group of parameters.

    Args:
        group: one of an optimizer's ``param_groups``.
        rate: the rate, a number or a tensor without dimensions.
    """
    if isinstance(group["lr"], Tensor):
        # A captured graph reads this very tensor.
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate
