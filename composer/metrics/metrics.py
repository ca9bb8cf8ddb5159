"""Metrics for classification and segmentation, and losses as metrics.

Every state is a sum, so merging processes gives what one process would have computed. ``update``
never waits for the device: masks select by weight, not by index.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics import Metric

from composer.errors import TargetShapeError
from composer.loss.loss import soft_cross_entropy

__all__ = ["CrossEntropy", "Dice", "LossMetric", "MIoU"]


class MIoU(Metric):
    """Mean intersection over union of the classes of a segmentation, in percent.

    Pixels are counted over all batches first; the mean is over the classes that occur in a
    prediction or in a target.

    Args:
        num_classes: number of classes C.
        ignore_index: target value of pixels that do not count.

    Example:
        >>> import torch
        >>> metric = MIoU(num_classes=2)
        >>> scores = torch.tensor([[[[0.0, 0.0]], [[1.0, 1.0]]]])  # class 1, twice
        >>> metric.update(scores, torch.tensor([[[1, 0]]]))
        >>> metric.compute()  # 0 for class 0, 1/2 for class 1
        tensor(25.)
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False

    intersection: Tensor
    union: Tensor

    def __init__(self, num_classes: int, ignore_index: int = -1) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        # Integers: exact, and within 24 bits of float32 a data set would not fit.
        counts = torch.zeros(num_classes, dtype=torch.int64)
        self.add_state("intersection", default=counts.clone(), dist_reduce_fx="sum")
        self.add_state("union", default=counts.clone(), dist_reduce_fx="sum")

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Count the pixels of one batch.

        Args:
            logits: scores, shape (N, C, ...).
            targets: class indices, shape (N, ...).
        """
        predictions = logits.argmax(dim=1)
        counts = targets != self.ignore_index
        intersection = self._count(targets, counts & (predictions == targets))
        self.intersection += intersection
        self.union += self._count(predictions, counts) - intersection
        self.union += self._count(targets, counts)

    def _count(self, classes: Tensor, where: Tensor) -> Tensor:
        """Count each class among the pixels where a mask is set; shape (num_classes)."""
        # Pixels that do not count go into one more bin, which is then cut off.
        bins = classes.long().where(where, self.num_classes).flatten()
        counts = torch.zeros(self.num_classes + 1, dtype=torch.int64, device=bins.device)
        return counts.scatter_add_(0, bins, torch.ones_like(bins))[:-1]

    def compute(self) -> Tensor:
        """Return the mean over the classes seen, in [0, 100]; NaN if there are none."""
        seen = self.union > 0
        ratios = self.intersection / self.union.clamp(min=1)
        return 100 * ratios.sum() / seen.sum()


class Dice(Metric):
    """Mean Dice coefficient of the foreground classes of a segmentation, in percent.

    One coefficient, 2 |A and B| / (|A| + |B|), is computed per batch and class; class 0 is the
    background and is left out. A class that is neither in the targets nor predicted scores 1. The
    value is the mean over classes and batches.

    Args:
        num_classes: number of classes, with or without the background.

    Example:
        >>> import torch
        >>> metric = Dice(num_classes=2)
        >>> scores = torch.tensor([[[[0.0, 0.0]], [[1.0, 1.0]]]])  # class 1, twice
        >>> metric.update(scores, torch.tensor([[[1, 0]]]))
        >>> metric.compute()  # 2 * 1 / (2 + 1)
        tensor(66.6667)
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False

    n_updates: Tensor
    dice: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.add_state("n_updates", default=torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("dice", default=torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, preds: Tensor, targets: Tensor) -> None:
        """Add the coefficients of one batch.

        Args:
            preds: scores, shape (N, C, ...), where C counts the background.
            targets: class indices, shape (N, ...).

        Raises:
            TargetShapeError: C is neither ``num_classes`` nor one more.
        """
        channels = preds.shape[1]
        if channels not in (self.num_classes, self.num_classes + 1):
            raise TargetShapeError(
                f"predictions have {channels} channels, but Dice(num_classes={self.num_classes}) "
                f"takes {self.num_classes} or, with the background, {self.num_classes + 1}."
            )
        self.n_updates += 1
        self.dice += self.compute_stats(preds, targets).mean()

    def compute(self) -> Tensor:
        """Return the mean over batches and classes, in [0, 100]; NaN before the first batch."""
        return 100 * self.dice / self.n_updates

    @staticmethod
    def compute_stats(preds: Tensor, targets: Tensor) -> Tensor:
        """Return the Dice coefficient of every foreground class.

        Args:
            preds: scores, shape (N, C, ...).
            targets: class indices, shape (N, ...).

        Returns:
            Coefficients in [0, 1] of the classes 1 to C - 1, shape (C - 1).
        """
        predictions = preds.argmax(dim=1)
        scores: list[Tensor] = []
        # One class at a time: masks for all of them at once would need C times the memory.
        for index in range(1, preds.shape[1]):
            predicted, present = predictions == index, targets == index
            overlap = (predicted & present).sum()
            sizes = predicted.sum() + present.sum()
            scores.append(torch.where(sizes > 0, 2 * overlap / sizes.clamp(min=1), 1.0))
        return torch.stack(scores)


class LossMetric(Metric):
    """Mean over batches of any loss.

    Every batch counts the same, also one with fewer samples.

    Args:
        loss_function: called with (predictions, targets); returns a scalar.
        dist_sync_on_step: synchronise processes in every ``forward`` of the metric.
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False

    sum_loss: Tensor
    total_batches: Tensor

    def __init__(
        self, loss_function: Callable[..., Tensor], dist_sync_on_step: bool = False
    ) -> None:
        super().__init__(dist_sync_on_step=dist_sync_on_step)
        self.loss_function = loss_function
        self.add_state("sum_loss", default=torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("total_batches", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, preds: Tensor, targets: Tensor) -> None:
        """Add the loss of one batch, given what the loss takes."""
        self.sum_loss += self.loss_function(preds, targets)
        self.total_batches += 1

    def compute(self) -> Tensor:
        """Return the mean over batches; NaN before the first one."""
        return self.sum_loss / self.total_batches


class CrossEntropy(LossMetric):
    """Mean over batches of the cross entropy, for class indices and for probabilities.

    Args:
        ignore_index: target value of items that do not count. Index targets only.
        dist_sync_on_step: synchronise processes in every ``forward`` of the metric.

    Example:
        >>> import torch
        >>> metric = CrossEntropy()
        >>> metric.update(torch.zeros(5, 4), torch.tensor([0, 1, 2, 3, 0]))
        >>> metric.compute()  # log(4)
        tensor(1.3863)
    """

    def __init__(self, ignore_index: int = -100, dist_sync_on_step: bool = False) -> None:
        super().__init__(soft_cross_entropy, dist_sync_on_step=dist_sync_on_step)
        self.ignore_index = ignore_index

    def update(self, preds: Tensor, targets: Tensor) -> None:
        """Add the cross entropy of one batch.

        Args:
            preds: unnormalised scores, shape (N, C) or (N, C, ...).
            targets: class indices, shape (N) or (N, ...), or probabilities, shape of ``preds``.
        """
        self.sum_loss += self.loss_function(preds, targets, ignore_index=self.ignore_index)
        self.total_batches += 1
