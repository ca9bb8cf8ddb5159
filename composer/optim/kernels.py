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

__all__ = ["choose_kernel", "shrink", "shrink_where_it_agrees"]

_PLAIN_TYPES = {Tensor, torch.nn.Parameter}


def choose_kernel(
    group: dict[str, Any], *tensor_lists: Sequence[Tensor]
) -> tuple[bool | None, bool | None]:
    """Choose torch's kernel for a step of this group.

    Args:
        group: the parameter group; its ``foreach`` and ``fused`` are the user's wishes.
        tensor_lists: the parameters (at least one), then all else the kernel touches.

    Returns:
        ``foreach`` and ``fused`` for torch's functions; ``None`` and ``None`` let torch choose.
    """
    if group["fused"] is not None or group["foreach"] is not None:
        return group["foreach"], group["fused"]
    types = set(map(type, tensor_lists[0]))
    if len(types) > 1 and not types <= _PLAIN_TYPES:
        return False, False  # sharded and plain tensors do not go into one call
    # A compiled step is fused by the compiler, which wants to see the plain operations.
    if group.get("capturable") or torch.compiler.is_compiling() or not types <= _PLAIN_TYPES:
        return None, None
    return None, True if _are_dense_cpu_floats(tensor_lists) else None


def _are_dense_cpu_floats(tensor_lists: Sequence[Sequence[Tensor]]) -> bool:
    """Whether all are contiguous floating point tensors of one type on the CPU."""
    dtype = tensor_lists[0][0].dtype
    return dtype.is_floating_point and all(
        tensor.is_cpu and tensor.dtype is dtype and tensor.is_contiguous()
        for tensors in tensor_lists
        for tensor in tensors
    )


def shrink(params: list[Tensor], decay: float | Tensor, found_inf: Tensor | None = None) -> None:
    """Take away the share ``decay`` of the parameters, in place.

    Args:
        params: any shapes, devices and types.
        decay: a number, or a tensor without dimensions.
        found_inf: 1 if nothing may change, 0 otherwise; decided without reading it.
    """
    if found_inf is not None:
        decay = torch.where(found_inf > 0, 0.0, decay)
    if len(set(map(type, params))) == 1:
        torch._foreach_mul_(params, 1 - decay)
        return
    for param in params:  # sharded and plain tensors do not go into one call
        param.mul_(1 - decay)


def shrink_where_it_agrees(
    params: list[Tensor],
    directions: list[Tensor],
    decay: float | Tensor,
    found_inf: Tensor | None = None,
) -> None:
    """Take away the share ``decay`` of the weights that the step does not enlarge, in place.

    Elsewhere decay would undo part of the step, and there the weights keep their size ("cautious
    weight decay", Chen et al. 2025, arXiv 2510.12402: where ``direction * weight >= 0``). Of
    complex weights each part counts for itself.

    Args:
        params: the parameters before the step.
        directions: what the step will subtract, up to a positive factor; shapes as ``params``.
        decay: a number, or a tensor without dimensions.
        found_inf: 1 if nothing may change, 0 otherwise; decided without reading it.
    """
    weights = [torch.view_as_real(p) if p.is_complex() else p for p in params]
    moves = [torch.view_as_real(d) if d.is_complex() else d for d in directions]
    if found_inf is not None:
        decay = torch.where(found_inf > 0, 0.0, decay)
    elif not weights[0].is_cpu and len(set(map(type, weights))) == 1:
        _shrink_lists(weights, moves, decay)
        return
    for weight, move in zip(weights, moves, strict=True):
        # 1 or 0, in the memory of the product: a mask of truth values takes three times as long.
        # Not by signs, as below: a direction that is not a number must leave its weight alone.
        agrees = (weight * move).ge_(0)
        if isinstance(decay, Tensor):
            weight.addcmul_(weight, agrees.mul_(decay), value=-1)
        else:
            weight.addcmul_(weight, agrees, value=-decay)


def _shrink_lists(weights: list[Tensor], moves: list[Tensor], decay: float | Tensor) -> None:
    """Do it with few kernels for all tensors together, which counts on accelerators."""
    agree = torch._foreach_mul(weights, moves)
    # -1, 0, 1 become 0, 1, 1: there is no comparison for lists.
    torch._foreach_sign_(agree)
    torch._foreach_add_(agree, 1.0)
    torch._foreach_clamp_max_(agree, 1.0)
    if isinstance(decay, Tensor):
        torch._foreach_mul_(agree, decay)
        decay = 1.0
    torch._foreach_addcmul_(weights, weights, agree, -decay)
