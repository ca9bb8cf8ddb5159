"""MixUp: train on blends of two samples and of their targets.

Paper: Zhang, Cisse, Dauphin, Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", 2017,
arXiv:1710.09412.

Idea: pair the samples of a microbatch at random, draw ``lambda ~ Beta(alpha, alpha)`` and train on
``(1 - lambda) * x + lambda * x_partner`` with targets blended alike. Between the samples the model
then learns to change in a straight line.

When it helps: image classification with more epochs than the model needs to fit the data; noisy
labels. When it hurts: short training, small models that underfit anyway, and inputs for which a
blend means nothing, such as token ids.

Suggested values: ``alpha=0.2`` (0.1 to 0.4 on ImageNet); larger blends more.
``interpolate_loss=True`` where the loss takes no dense targets. One lambda is drawn per microbatch,
as in the paper's own code; ours is folded to ``min(lambda, 1 - lambda)``, which pairs of both
orders make equivalent.
"""

from __future__ import annotations

import torch
from torch import Tensor

from composer.algorithms._checks import check_flags, check_number
from composer.algorithms._mixing import Key, SampleMixing, draw_beta, draw_pairing

__all__ = ["MixUp", "mixup_batch"]


def mixup_batch(
    input: Tensor,
    target: Tensor,
    mixing: float | None = None,
    alpha: float = 0.2,
    indices: Tensor | None = None,
) -> tuple[Tensor, Tensor, float]:
    """Blend each sample with a partner from the same batch.

    Args:
        input: samples, shape (N, ...). Integers become float32.
        target: their targets, shape (N, ...).
        mixing: weight of the partner, in [0, 1]; by default drawn from Beta(alpha, alpha) and
            folded to at most 0.5, with torch's CPU generator.
        alpha: both parameters of the Beta distribution, >= 0; at 0 nothing is blended.
        indices: the partner of each sample, int64, shape (N); by default a random permutation.

    Returns:
        The blended samples, the partners' targets, and the partners' weight. The target of sample
        i is ``(1 - weight) * target[i] + weight * partner_target[i]``.

    Raises:
        ValueError: ``mixing`` or ``alpha`` is out of range.

    Example:
        >>> x, y = torch.tensor([[0.0], [10.0]]), torch.tensor([0, 1])
        >>> mixup_batch(x, y, mixing=0.25, indices=torch.tensor([1, 0]))
        (tensor([[2.5000],
                [7.5000]]), tensor([1, 0]), 0.25)

    Source:
        Zhang et al. 2017, equation (2).
    """
    if mixing is None:
        mixing = _draw_mixing(alpha)
    check_number("mixing", mixing, 0, 1)
    if indices is None:
        indices = draw_pairing(input)
    if not input.is_floating_point():
        input = input.float()
    return torch.lerp(input, input[indices], mixing), target[indices], mixing


def _draw_mixing(alpha: float) -> float:
    check_number("alpha", alpha, 0)
    if alpha == 0:
        return 0.0
    share = draw_beta(alpha)
    return min(share, 1 - share)


class MixUp(SampleMixing):
    """Blend the samples of each microbatch, and their targets or losses; see :func:`mixup_batch`.

    Args:
        alpha: both parameters of the Beta distribution, >= 0; larger blends more.
        interpolate_loss: blend two losses instead of targets, for losses that take no dense ones.
        input_key: where the inputs lie in a batch, see :meth:`State.batch_get_item`.
        target_key: where the targets lie in a batch.

    Raises:
        ValueError: ``alpha`` is negative.
    """

    def __init__(
        self,
        alpha: float = 0.2,
        interpolate_loss: bool = False,
        input_key: Key = 0,
        target_key: Key = 1,
    ) -> None:
        check_number("alpha", alpha, 0)
        check_flags(interpolate_loss=interpolate_loss)
        super().__init__(interpolate_loss, input_key, target_key)
        self.alpha = alpha

    def blend(self, inputs: Tensor, pairing: Tensor) -> tuple[Tensor, float]:
        """Return blended inputs and the partners' share in them."""
        # The pairing stands in for the targets, which are mixed before the loss.
        mixed, _, share = mixup_batch(inputs, pairing, alpha=self.alpha, indices=pairing)
        return mixed, share
