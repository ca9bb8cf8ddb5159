"""Label smoothing: train towards targets that are not quite certain.

Paper: Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception Architecture for Computer
Vision", 2015, arXiv:1512.00567, section 7.

Idea: instead of probability 1 for the right class the target is ``(1 - s) * one_hot + s / C``, a
mixture with the uniform distribution. Scores then need not grow without bound.

When it helps: classification with many classes, long training, noisy labels; calibration improves
as a rule. When it hurts: as the teacher of a distillation (classes that look alike can no longer be
told from its scores), or where probabilities near 0 and 1 are wanted.

Suggested values: ``smoothing=0.1``; 0.05 for short training. The loss must take dense targets, as
all losses of `composer.loss` do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from composer.algorithms._checks import check_number, check_tensor
from composer.algorithms._mixing import Key
from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.loss.utils import infer_target_type, spread_indices

__all__ = ["LabelSmoothing", "smooth_labels"]


def smooth_labels(logits: Tensor, target: Tensor, smoothing: float = 0.1) -> Tensor:
    """Mix targets with the uniform distribution over classes.

    Args:
        logits: the model's scores, shape (N, C) or (N, C, ...); only their shape is used.
        target: class indices, shape (N) or (N, ...), or probabilities, shape of ``logits``.
        smoothing: share ``s`` of the uniform distribution, in [0, 1].

    Returns:
        ``(1 - s) * target + s / C`` as float32, shape of ``logits``. An item without a class (a
        negative index, a row of zeros) stays a row of zeros, so that losses go on ignoring it.

    Raises:
        TargetShapeError: the shapes of ``logits`` and ``target`` do not fit together, or indices
            are no whole numbers.

    Example:
        >>> smooth_labels(torch.zeros(1, 4), torch.tensor([2]), smoothing=0.2)
        tensor([[0.0500, 0.0500, 0.8500, 0.0500]])

    Source:
        Szegedy et al. 2015, section 7. Items without a class are our addition.
    """
    has_indices = infer_target_type(logits, target) == "indices"
    class_dim = min(1, logits.ndim - 1)
    num_classes = logits.shape[class_dim]
    if has_indices:
        share = smoothing / num_classes
        return spread_indices(target, num_classes, class_dim, on=1 - smoothing + share, off=share)
    dense = target.float()
    # What a row sums to: 1 as a rule, 0 without a class. Several labels count as one, as `s / C`
    # says for each class.
    mass = dense.sum(class_dim, keepdim=True).clamp_(max=1.0)
    return torch.lerp(dense, mass.div_(num_classes), smoothing)


class LabelSmoothing(Algorithm):
    """Smooth targets before the loss, restore them after it; see :func:`smooth_labels`.

    Args:
        smoothing: share of the uniform distribution, in [0, 1].
        target_key: where the targets lie in a batch, see :meth:`State.batch_get_item`.

    Raises:
        ValueError: ``smoothing`` is out of range.
    """

    events: Mapping[Event, str] = {Event.BEFORE_LOSS: "smooth", Event.AFTER_LOSS: "restore"}
    writes = ("batch",)

    def __init__(self, smoothing: float = 0.1, target_key: Key = 1) -> None:
        check_number("smoothing", smoothing, 0, 1)
        self.smoothing = smoothing
        self.target_key = target_key
        self._saved: Any = None

    def smooth(self, state: State, logger: Logger) -> None:
        """Give the loss smoothed targets."""
        outputs = check_tensor(self, "outputs", state.outputs)
        self._saved = state.batch_get_item(self.target_key)
        target = check_tensor(self, "targets", self._saved)
        state.batch_set_item(self.target_key, smooth_labels(outputs, target, self.smoothing))

    def restore(self, state: State, logger: Logger) -> None:
        """Give the batch its own targets back."""
        state.batch_set_item(self.target_key, self._saved)
        self._saved = None
