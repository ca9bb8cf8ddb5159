"""Losses that take class indices as well as dense targets.

Dense targets (one probability per class) are what MixUp, CutMix and label smoothing make from
indices, so a model trained with them needs losses that take both. No loss here reads a value back
from an accelerator. :data:`loss_registry` finds the functions by name.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from composer.errors import ConfigError, DataError, unknown_name
from composer.loss.utils import ensure_targets_one_hot, infer_target_type

__all__ = ["DiceLoss", "binary_cross_entropy_with_logits", "loss_registry", "soft_cross_entropy"]

_REDUCTIONS = ("mean", "sum", "none")
_DEFAULT_IGNORE_INDEX = -100
# Keeps the Dice ratio defined for a class that is neither predicted nor present (then loss 0).
_DICE_SMOOTHING = 1e-5


def soft_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = _DEFAULT_IGNORE_INDEX,
    reduction: str = "mean",
) -> Tensor:
    """Cross entropy between class scores and indices or probabilities.

    Index targets go straight to :func:`torch.nn.functional.cross_entropy`. Dense targets may sum
    to less than one, or to zero for an item to leave out: the mean is taken over the (weighted)
    probability given, not over the items, so one-hot rows give what their indices give.

    Args:
        input: unnormalised scores, shape (N, C) or (N, C, ...).
        target: class indices, int64, shape (N) or (N, ...), or probabilities, shape of ``input``.
        weight: one non-negative factor per class, shape (C).
        ignore_index: index whose items do not count. Index targets only.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or for ``"none"`` the loss of each item, shape (N) or (N, ...). The mean over no
        item at all is NaN.

    Raises:
        UnknownNameError: ``reduction`` is not one of the three.
        TargetShapeError: the shapes of ``input`` and ``target`` do not fit together.

    Example:
        >>> import torch
        >>> scores = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
        >>> soft_cross_entropy(scores, torch.tensor([0, 1]))
        tensor(0.4100)
        >>> soft_cross_entropy(scores, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        tensor(0.4100)
    """
    if infer_target_type(input, target) == "indices":
        return F.cross_entropy(
            input, target, weight=weight, ignore_index=ignore_index, reduction=reduction
        )
    _check_reduction(reduction)
    if ignore_index != _DEFAULT_IGNORE_INDEX:
        warnings.warn(
            f"ignore_index={ignore_index} has no effect on dense targets; give an item that is "
            "not to count a row of zeros instead",
            UserWarning,
            stacklevel=2,
        )
    return _dense_cross_entropy(input, target, weight, reduction)


def _dense_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str
) -> Tensor:
    if not target.is_floating_point():
        target = target.to(input.dtype)
    if reduction != "mean":
        return F.cross_entropy(input, target, weight=weight, reduction=reduction)
    losses = F.cross_entropy(input, target, weight=weight, reduction="none")
    counted = target if weight is None else target * _along_classes(weight, target.ndim)
    # A float16 sum over the pixels of a batch of masks would overflow.
    sum_dtype = torch.promote_types(losses.dtype, torch.float32)
    return (losses.sum(dtype=sum_dtype) / counted.sum(dtype=sum_dtype)).to(losses.dtype)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "sum",
    pos_weight: Tensor | None = None,
    scale_by_batch_size: bool = True,
) -> Tensor:
    """Binary cross entropy of every class on its own, for indices or dense targets.

    Args:
        input: unnormalised scores, shape (N, C) or (N, C, ...).
        target: class indices, shape (N) or (N, ...), or probabilities, shape of ``input``. A
            negative index means "no class".
        weight: factor on each element, broadcast to the shape of ``input``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        pos_weight: factor on the positive part of each class, broadcast to the shape of
            ``input``.
        scale_by_batch_size: divide the sum by N. Only used with ``reduction="sum"``.

    Returns:
        A scalar, or for ``"none"`` the loss of each element, shape of ``input``.

    Raises:
        UnknownNameError: ``reduction`` is not one of the three.
        DataError: the batch to scale by is empty.
        TargetShapeError: the shapes of ``input`` and ``target`` do not fit together.
    """
    _check_reduction(reduction)
    target = ensure_targets_one_hot(input, target)
    loss = F.binary_cross_entropy_with_logits(
        input, target, weight=weight, reduction=reduction, pos_weight=pos_weight
    )
    if reduction != "sum" or not scale_by_batch_size:
        return loss
    if target.shape[0] == 0:
        raise DataError(
            "the batch is empty, so the loss cannot be divided by its size. Leave the batch out "
            "or give scale_by_batch_size=False."
        )
    return loss / target.shape[0]


class DiceLoss(torch.nn.Module):
    """One minus the Dice coefficient, a loss for segmentation with unequal class sizes.

    For one class with predictions p and targets t the loss is
    ``1 - 2 sum(p t) / (sum(p) + sum(t))``, summed over pixels.

    Args:
        sigmoid: put the scores through a sigmoid first.
        softmax: put the scores through a softmax over the classes first. With one channel only
            this is left out, with a warning.
        squared_pred: square predictions and targets in the denominator.
        jaccard: use the Jaccard index (intersection over union) instead of Dice.
        batch: sum over the items too, so that there is one ratio per class instead of one per
            item and class.
        ignore_absent_classes: leave out classes that no target of the batch has. With
            ``reduction="none"`` their loss is 0.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ConfigError: ``sigmoid`` and ``softmax`` are both set.
        UnknownNameError: ``reduction`` is not one of the three.

    Source:
        Milletari et al. 2016, V-Net (arXiv 1606.04797), with a smoothing term of 1e-5 on both
        sides of the fraction; Jaccard as ``2 |A & B| / (2 |A or B|)``.
    """

    def __init__(
        self,
        sigmoid: bool = False,
        softmax: bool = False,
        squared_pred: bool = False,
        jaccard: bool = False,
        batch: bool = False,
        ignore_absent_classes: bool = False,
        reduction: str = "mean",
    ) -> None:
        _check_reduction(reduction)
        if sigmoid and softmax:
            raise ConfigError("sigmoid=True and softmax=True exclude each other; set one of them.")
        super().__init__()
        self.reduction = reduction
        self.sigmoid = sigmoid
        self.softmax = softmax
        self.squared_pred = squared_pred
        self.jaccard = jaccard
        self.batch = batch
        self.ignore_absent_classes = ignore_absent_classes

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            input: scores or probabilities, shape (N, C, ...).
            target: class indices, shape (N, ...), or dense targets, shape (N, C, ...).

        Returns:
            A scalar, or for ``"none"`` the loss per class, shape (C) with ``batch`` and (N, C)
            without.

        Raises:
            TargetShapeError: the shapes of ``input`` and ``target`` do not fit together.
        """
        prediction = self._activate(input)
        target = ensure_targets_one_hot(prediction, target)
        dims = ([0] if self.batch else []) + list(range(2, input.ndim))
        overlap = _sum_over(prediction * target, dims)
        power = 2 if self.squared_pred else 1
        present = _sum_over(target**power, dims)
        sizes = present + _sum_over(prediction**power, dims)
        if self.jaccard:
            sizes = 2 * (sizes - overlap)
        losses = 1 - (2 * overlap + _DICE_SMOOTHING) / (sizes + _DICE_SMOOTHING)
        return self._reduce(losses, present)

    def _activate(self, input: Tensor) -> Tensor:
        if self.sigmoid:
            return torch.sigmoid(input)
        if not self.softmax:
            return input
        if input.shape[1] == 1:
            warnings.warn(
                "softmax=True does nothing for predictions with one channel; use sigmoid=True",
                UserWarning,
                stacklevel=3,
            )
            return input
        return torch.softmax(input, dim=1)

    def _reduce(self, losses: Tensor, present: Tensor) -> Tensor:
        # Absent classes are masked, not cut out: a shape that depends on data waits for the device.
        count: Tensor | int = losses.numel()
        if self.ignore_absent_classes:
            is_present = (present if self.batch else present.sum(dim=0)) > 0
            losses = losses.where(is_present, 0.0)
            count = is_present.expand_as(losses).sum()
        if self.reduction == "none":
            return losses
        return losses.sum() / count if self.reduction == "mean" else losses.sum()


def _check_reduction(reduction: str) -> None:
    if reduction not in _REDUCTIONS:
        raise unknown_name("reduction", reduction, _REDUCTIONS)


def _along_classes(weight: Tensor, ndim: int) -> Tensor:
    """Reshape one value per class, shape (C), to broadcast over (C) or (N, C, ...)."""
    return weight.view(-1, *[1] * (ndim - 2)) if ndim > 1 else weight


def _sum_over(values: Tensor, dims: list[int]) -> Tensor:
    # Tensor.sum over an empty list of dimensions sums over all of them.
    return values.sum(dim=dims) if dims else values


loss_registry: dict[str, Callable[..., Tensor]] = {
    "binary_cross_entropy_with_logits": binary_cross_entropy_with_logits,
    "soft_cross_entropy": soft_cross_entropy,
}
"""Losses by name, for configuration files."""
