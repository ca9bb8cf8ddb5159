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

__all__ = [
    "check_for_index_targets",
    "ensure_targets_one_hot",
    "infer_target_type",
    "spread_indices",
]


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
        TargetShapeError: the shapes of ``input`` and ``targets`` do not fit together, or indices
            are no whole numbers.
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
    return spread_indices(targets, num_classes or input.shape[class_dim], class_dim)


def spread_indices(
    indices: Tensor, num_classes: int, class_dim: int = 1, *, on: float = 1.0, off: float = 0.0
) -> Tensor:
    """Return a row of values for each class index.

    Args:
        indices: class indices, shape (N) or (N, ...). A row of a negative one is all zero, and on
            the CPU a warning says so.
        num_classes: number of classes C.
        class_dim: where the dimension of the classes goes.
        on: value at the class.
        off: value at all others.

    Returns:
        float32 values, shape (N, C) or (N, C, ...).

    Raises:
        TargetShapeError: ``indices`` are no whole numbers.
        RuntimeError: (from torch) an index is not below ``num_classes``.
    """
    if not check_for_index_targets(indices):
        raise TargetShapeError(
            f"targets of shape {tuple(indices.shape)} lack the dimension of the classes, so they "
            f"must be class indices, which are whole numbers, and they are {indices.dtype}. "
            "Convert them with .long(), or give one value per class, in the shape of the outputs"
        )
    shape = list(indices.shape)
    shape.insert(class_dim, num_classes)
    rows = torch.full(shape, off, dtype=torch.float32, device=indices.device)
    if indices.is_cpu and (not indices.numel() or int(indices.min()) >= 0):
        # scatter_, not a comparison with arange: it refuses an index that is too large.
        return rows.scatter_(class_dim, indices.long().unsqueeze(class_dim), on)
    if indices.is_cpu:
        warnings.warn("negative class indices become rows of zeros", UserWarning, stacklevel=3)
    rows.scatter_(class_dim, indices.clamp(min=0).long().unsqueeze(class_dim), on)
    return rows.mul_((indices >= 0).unsqueeze(class_dim))
