"""Reads what a model's ``loss`` returned: what to back-propagate, and what to log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch

from composer.errors import ArgumentTypeError

__all__ = ["TOTAL_LOSS", "read_losses"]

TOTAL_LOSS = "loss/train/total"


def read_losses(loss: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the tensor to back-propagate and the losses to log.

    Args:
        loss: a tensor (its mean counts); a sequence of them (their means are added); or a mapping
            of them, of which ``total`` is back-propagated where there is one, the sum of all means
            otherwise.

    Returns:
        The total, of shape (), with its graph; and every loss by metric name, the total included.

    Raises:
        TypeError: the loss is none of these.
    """
    if isinstance(loss, torch.Tensor):
        total = loss if loss.ndim == 0 else loss.mean()
        return total, {TOTAL_LOSS: total}
    if isinstance(loss, Mapping):
        parts = cast("Mapping[str, torch.Tensor]", loss)
        named = {f"loss/train/{name}": part.mean() for name, part in parts.items()}
        if TOTAL_LOSS not in named:
            named[TOTAL_LOSS] = _sum(list(named.values()))
        return named[TOTAL_LOSS], named
    if isinstance(loss, Sequence) and not isinstance(loss, str):
        items = cast("Sequence[torch.Tensor]", loss)
        named = {f"loss/train/loss{i}": part.mean() for i, part in enumerate(items)}
        named[TOTAL_LOSS] = _sum(list(named.values()))
        return named[TOTAL_LOSS], named
    raise ArgumentTypeError(
        f"the model's loss returned {loss!r} ({type(loss).__name__}); it must return a tensor, a "
        "sequence of tensors, or a mapping of names to tensors"
    )


def _sum(parts: list[torch.Tensor]) -> torch.Tensor:
    if not parts:
        raise ArgumentTypeError(
            "the model's loss returned no loss at all, only an empty collection"
        )
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
