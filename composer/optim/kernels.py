"""What both optimizers need around torch's own update kernels.

Torch has three kernels for an optimizer step: a Python loop, one that handles lists of tensors
("foreach") and one that does the whole update in a single pass ("fused"). On a CPU torch takes the
loop unless told otherwise, although the fused kernel is several times faster. It is right only for
tensors laid out alike in memory, which it does not check on a CPU. Here is the check.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["choose_fused", "shrink"]

_PLAIN_TYPES = {Tensor, torch.nn.Parameter}


def choose_fused(group: dict[str, Any], *tensor_lists: Sequence[Tensor]) -> bool | None:
    """Decide whether a step of this group uses torch's fused kernel.

    Args:
        group: the parameter group; its ``fused`` and ``foreach`` are the user's wishes.
        tensor_lists: the parameters (at least one), then all else the kernel touches.

    Returns:
        The user's ``fused`` if one of the wishes was given; ``True`` where the fused kernel is
        known to be right and faster; ``None`` for torch's own choice.
    """
    if group["fused"] is not None or group["foreach"] is not None:
        return group["fused"]
    # A compiled step is fused by the compiler, which wants to see the plain operations.
    if group.get("capturable") or torch.compiler.is_compiling():
        return None
    return True if _are_dense_cpu_floats(tensor_lists) else None


def _are_dense_cpu_floats(tensor_lists: Sequence[Sequence[Tensor]]) -> bool:
    """Whether all are contiguous floating point tensors of one type on the CPU, none sharded."""
    params = tensor_lists[0]
    if not set(map(type, params)) <= _PLAIN_TYPES or not params[0].is_floating_point():
        return False
    dtype = params[0].dtype
    return all(
        tensor.is_cpu and tensor.dtype is dtype and tensor.is_contiguous()
        for tensors in tensor_lists
        for tensor in tensors
    )


def shrink(params: list[Tensor], factor: float | Tensor) -> None:
    """Multiply parameters by ``factor`` in place.

    Args:
        params: any shapes, devices and types.
        factor: a number, or a tensor without dimensions.
    """
    if len(set(map(type, params))) == 1:
        torch._foreach_mul_(params, factor)  # pyright: ignore
        return
    # Sharded and plain tensors do not go into one call.
    for param in params:
        param.mul_(factor)
