"""Metrics for language models and text classifiers.

Every state is a sum, so merging processes gives what one process would have computed, and
``update`` never waits for the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric

from composer.errors import ArgumentTypeError, DataError, TargetShapeError

__all__ = ["BinaryF1Score", "LanguageCrossEntropy", "LanguagePerplexity", "MaskedAccuracy"]


class MaskedAccuracy(Metric):
    """Share of right predictions, such as of masked-out tokens.

    Args:
        ignore_index: target value of items that do not count.
        dist_sync_on_step: synchronise processes in every ``forward`` of the metric.

    Example:
        >>> import torch
        >>> metric = MaskedAccuracy(ignore_index=-100)
        >>> scores = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
        >>> metric.update(scores, torch.tensor([1, 1, -100]))
        >>> metric.compute()
        tensor(0.5000)
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False

    correct: Tensor
    total: Tensor

    def __init__(self, ignore_index: int = -100, dist_sync_on_step: bool = False) -> None:
        super().__init__(dist_sync_on_step=dist_sync_on_step)
        self.ignore_index = ignore_index
        self.add_state("correct", default=torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count the items of one batch.

        Args:
            preds: scores, shape (..., C).
            target: class indices, shape (...).

        Raises:
            TargetShapeError: ``target`` does not have the shape of ``preds`` without its last
                dimension.
        """
        if preds.shape[:-1] != target.shape:
            raise TargetShapeError(
                f"predictions of shape {tuple(preds.shape)} need targets of shape "
                f"{tuple(preds.shape[:-1])}, not {tuple(target.shape)}."
            )
        counts = target != self.ignore_index
        self.correct += ((preds.argmax(dim=-1) == target) & counts).sum()
        self.total += counts.sum()

    def compute(self) -> Tensor:
        """Return the share of right predictions, in [0, 1]; NaN if no item counts."""
        return self.correct / self.total


class LanguageCrossEntropy(Metric):
    """Mean over tokens of the cross entropy, in nats.

    Args:
        dist_sync_on_step: synchronise processes in every ``forward`` of the metric.
        ignore_index: target value of tokens that do not count.

    Example:
        >>> import torch
        >>> metric = LanguageCrossEntropy()
        >>> metric.update({"logits": torch.zeros(1, 3, 4)}, torch.tensor([[0, 3, -100]]))
        >>> metric.compute()  # log(4)
        tensor(1.3863)
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False

    sum_loss: Tensor
    total_items: Tensor

    def __init__(self, dist_sync_on_step: bool = False, ignore_index: int = -100) -> None:
        super().__init__(dist_sync_on_step=dist_sync_on_step)
        self.ignore_index = ignore_index
        self.add_state("sum_loss", default=torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("total_items", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, output: Mapping[str, Any] | Tensor, target: Tensor) -> None:
        """Add the tokens of one batch.

        Args:
            output: scores, shape (..., C), or a mapping that has them under ``"logits"``.
            target: token indices, shape (...).

        Raises:
            ArgumentTypeError: ``output`` is neither a tensor nor a mapping.
            DataError: the mapping has no logits.
        """
        target = target.reshape(-1)
        logits = _get_logits(output).reshape(target.shape[0], -1)
        losses = F.cross_entropy(logits, target, ignore_index=self.ignore_index, reduction="none")
        # Added up here, because the sum over many tokens has no place in bfloat16 or float16.
        self.sum_loss += losses.sum(dtype=torch.float32)
        self.total_items += (target != self.ignore_index).sum()

    def compute(self) -> Tensor:
        """Return the mean over tokens; NaN if there are none."""
        return self.sum_loss / self.total_items


class LanguagePerplexity(LanguageCrossEntropy):
    """Exponential of the mean over tokens of the cross entropy.

    Args:
        dist_sync_on_step: synchronise processes in every ``forward`` of the metric.
        ignore_index: target value of tokens that do not count.

    Example:
        >>> import torch
        >>> metric = LanguagePerplexity()
        >>> metric.update(torch.zeros(1, 3, 4), torch.tensor([[0, 3, -100]]))
        >>> metric.compute()  # all of the 4 tokens are as likely
        tensor(4.)
    """

    def compute(self) -> Tensor:
        """Return the perplexity, at least 1; NaN if there are no tokens."""
        return super().compute().exp()


class BinaryF1Score(Metric):
    """Harmonic mean of precision and recall of class 1, for two classes.

    Args:
        dist_sync_on_step: synchronise processes in every ``forward`` of the metric.

    Example:
        >>> import torch
        >>> metric = BinaryF1Score()
        >>> scores = torch.tensor([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3]])
        >>> metric.update(scores, torch.tensor([1, 0, 0]))
        >>> metric.compute()  # 1 right, 1 false positive
        tensor(0.6667)
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False

    true_positive: Tensor
    false_positive: Tensor
    false_negative: Tensor

    def __init__(self, dist_sync_on_step: bool = False) -> None:
        super().__init__(dist_sync_on_step=dist_sync_on_step)
        for name in ("true_positive", "false_positive", "false_negative"):
            self.add_state(name, default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, output: Mapping[str, Any] | Tensor, target: Tensor) -> None:
        """Count the items of one batch.

        Args:
            output: scores, shape (N, 2), or a mapping that has them under ``"logits"``.
            target: 0 or 1, shape (N). Other values, such as -100, do not count.

        Raises:
            ArgumentTypeError: ``output`` is neither a tensor nor a mapping.
            DataError: the mapping has no logits.
        """
        positive = _get_logits(output).argmax(dim=1) == 1
        self.true_positive += (positive & (target == 1)).sum()
        self.false_positive += (positive & (target == 0)).sum()
        self.false_negative += (~positive & (target == 1)).sum()

    def compute(self) -> Tensor:
        """Return the score, in [0, 1]; NaN if class 1 is neither present nor predicted."""
        errors = self.false_positive + self.false_negative
        return 2 * self.true_positive / (2 * self.true_positive + errors)


def _get_logits(output: Mapping[str, Any] | Tensor) -> Tensor:
    if isinstance(output, Tensor):
        return output
    if not isinstance(output, Mapping):
        raise ArgumentTypeError(
            f"outputs of type {type(output).__name__} have no logits. Give a tensor of scores or "
            "a mapping with the key 'logits'."
        )
    if "logits" not in output:
        raise DataError(f"outputs have the keys {sorted(output)}, but not 'logits'.")
    return output["logits"]
