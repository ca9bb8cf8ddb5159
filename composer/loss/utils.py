"""Recognise and convert classification targets.

A target tensor is either *indices* (one class number per item) or *dense* (one probability per
item and class). Losses and target-mixing methods use these helpers to accept both. Nothing here
reads a value back from an accelerator.
"""

from __future__ import annotations

import warnings
from typing import Literal

import torch
from torch import Tensor

from composer.errors import TargetShapeError

__all__ = ["check_for_index_targets", "ensure_targets_one_hot", "infer_target_type"]


def infer_target_type(input: Tensor, targets: Tensor) -> Literal["indices", "one_hot"]:
    """Tell index targets from dense targets by their shape.

    Args:
        input: scores of the model, shape (N, C) or (N, C, ...).
        targets: class indices, shape (N) or (N, ...), or one value per class, shape of ``input``.

    Returns:
        ``"one_hot"`` where the shapes are equal, ``"indices"`` where targets lack one dimension.

    Raises:
        TargetShapeError: neither holds.
    """
    # The number of dimensions is cheaper to ask for than the shape, and indices are most common.
    if input.ndim == targets.ndim + 1:
        return "indices"
    if input.shape == targets.shape:
        return "one_hot"
    raise TargetShapeError(
        f"cannot tell the kind of targets with shape {tuple(targets.shape)} for model outputs of "
        f"shape {tuple(input.shape)}. Give class indices (the shape of the outputs without the "
        "class dimension) or one probability per class (the same shape as the outputs)."
    )


def check_for_index_targets(targets: Tensor) -> bool:
    """Return True if targets have an integer type and so can be class indices."""
    return not (targets.is_floating_point() or targets.is_complex() or targets.dtype is torch.bool)


def ensure_targets_one_hot(
    input: Tensor, targets: Tensor, num_classes: int | None = None
) -> Tensor:
    """Return dense targets: convert class indices to one-hot rows, pass dense targets through.

    A negative index means "no class": its row is all zero, and on the CPU a warning says so. On
    an accelerator nothing is said, because looking would wait for the device.

    Args:
        input: scores of the model, shape (N, C) or (N, C, ...).
        targets: class indices, shape (N) or (N, ...), or dense targets, shape of ``input``.
        num_classes: number of classes; by default C.

    Returns:
        float32 targets, shape (N, num_classes) or (N, num_classes, ...).

    Raises:
        TargetShapeError: the shapes of ``input`` and ``targets`` do not fit together.
        RuntimeError: (from torch) an index is not below ``num_classes``.

    Example:
        >>> import torch
        >>> ensure_targets_one_hot(torch.zeros(2, 3), torch.tensor([2, 0]))
        tensor([[0., 0., 1.],
                [1., 0., 0.]])
    """
    if infer_target_type(input, targets) == "one_hot":
        return targets.float()
    class_dim = min(1, targets.ndim)
    if num_classes is None:
        num_classes = input.shape[class_dim]
    return _one_hot(targets, num_classes, class_dim)


def _one_hot(indices: Tensor, num_classes: int, class_dim: int) -> Tensor:
    has_class = indices >= 0
    if indices.device.type == "cpu" and not bool(has_class.all()):
        warnings.warn("negative class indices become rows of zeros", UserWarning, stacklevel=3)
    shape = list(indices.shape)
    shape.insert(class_dim, num_classes)
    # scatter_, not a comparison with arange: it refuses an index that is too large.
    return torch.zeros(shape, dtype=torch.float32, device=indices.device).scatter_(
        class_dim,
        indices.clamp(min=0).long().unsqueeze(class_dim),
        has_class.float().unsqueeze(class_dim),
    )
