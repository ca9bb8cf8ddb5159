"""CutMix: paste a box of one image into another and share the targets by area.

Paper: Yun, Han, Oh, Chun, Choe, Yoo, "CutMix: Regularization Strategy to Train Strong Classifiers
with Localizable Features", 2019, arXiv:1905.04899.

Idea: draw ``lambda ~ Beta(alpha, alpha)``, cut a box with the share ``1 - lambda`` of the image's
area at a random place, fill it from a partner image, and weigh the two targets by the area each
image really has after the box was clipped at the border.

When it helps: image classification with long training; localisation, since the model sees parts of
objects. When it hurts: short training, small models, tasks where the object is small and often
outside the box.

Suggested values: ``alpha=1.0``. ``uniform_sampling=True`` gives pixels at the border the same
chance to be replaced as those in the middle. Targets as large as the image (segmentation) get the
box pasted too. ``alpha=0`` cuts nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from composer.algorithms._boxes import place_interval
from composer.algorithms._checks import check_flags, check_number, check_tensor
from composer.algorithms._mixing import Key, SampleMixing, draw_beta, draw_pairing
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError, DataError

__all__ = ["CutMix", "cutmix_batch"]

Box = tuple[int, int, int, int]


def cutmix_batch(
    input: Tensor,
    target: Tensor,
    length: float | None = None,
    alpha: float = 1.0,
    bbox: Sequence[int] | None = None,
    indices: Tensor | None = None,
    uniform_sampling: bool = False,
) -> tuple[Tensor, Tensor, float, Box]:
    """Paste one box, the same for all samples, from each sample's partner.

    Args:
        input: images, shape (N, ..., H, W).
        target: their targets, shape (N, ...).
        length: side of the box as a share of the image's, in [0, 1]; by default
            ``sqrt(1 - lambda)`` with lambda drawn from Beta(alpha, alpha).
        alpha: both parameters of the Beta distribution, >= 0; at 0 nothing is cut.
        bbox: the box itself, as (top, left, bottom, right) in pixels, ends left out; then
            ``length``, ``alpha`` and ``uniform_sampling`` are not used.
        indices: the partner of each sample, int64, shape (N); by default a random permutation.
        uniform_sampling: let the box start outside the image too, so that each pixel has the same
            chance to be replaced; by default the centre is uniform, as in the paper.

    Returns:
        The images, the partners' targets, the share of each image's area that is its own (the
        paper's lambda, after clipping), and the box. The target of sample i is
        ``share * target[i] + (1 - share) * partner_target[i]``.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> x = torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4)])
        >>> y = torch.tensor([0, 1])
        >>> x, y, share, box = cutmix_batch(x, y, bbox=(0, 0, 2, 4), indices=torch.tensor([1, 0]))
        >>> x[0, 0, :, 0], share
        (tensor([1., 1., 0., 0.]), 0.5)

    Source:
        Yun et al. 2019, equations (1) and (2).
    """
    if input.ndim < 3:
        raise DataError(f"cutmix needs images of shape (N, ..., H, W), got {tuple(input.shape)}")
    height, width = input.shape[-2:]
    if bbox is None:
        box = _draw_box(height, width, _side_share(length, alpha), uniform_sampling)
    else:
        box = _checked_box(bbox, height, width)
    if indices is None:
        indices = draw_pairing(input)
    top, left, bottom, right = box
    share = 1 - (bottom - top) * (right - left) / (height * width)
    patch = input[..., top:bottom, left:right][indices]
    return _paste(input, patch, box), target[indices], share, box


def _side_share(length: float | None, alpha: float) -> float:
    """The box's side over the image's; equation (2): ``r_w = W * sqrt(1 - lambda)``."""
    if length is not None:
        check_number("length", length, 0, 1)
        return length
    check_number("alpha", alpha, 0)
    return math.sqrt(1 - draw_beta(alpha)) if alpha > 0 else 0.0


def _draw_box(height: int, width: int, side: float, uniform: bool) -> Box:
    # Two host numbers in one call of the generator.
    first, second = torch.rand(2, dtype=torch.float64).tolist()
    top, bottom = place_interval(height, round(side * height), first, uniform)
    left, right = place_interval(width, round(side * width), second, uniform)
    return top, left, bottom, right


def _checked_box(bbox: Sequence[int], height: int, width: int) -> Box:
    top, left, bottom, right = (int(edge) for edge in bbox)
    if not (0 <= top <= bottom <= height and 0 <= left <= right <= width):
        raise ConfigError(
            f"bbox={bbox!r} does not lie in an image of {height} x {width} pixels; give "
            "(top, left, bottom, right)"
        )
    return top, left, bottom, right


def _paste(onto: Tensor, patch: Tensor, box: Box) -> Tensor:
    """Return a copy of ``onto`` with ``patch`` in the box."""
    top, left, bottom, right = box
    pasted = onto.clone()
    pasted[..., top:bottom, left:right] = patch
    return pasted


class CutMix(SampleMixing):
    """Paste boxes between the samples of each microbatch; see :func:`cutmix_batch`.

    Args:
        alpha: both parameters of the Beta distribution, >= 0; 1 makes all areas equally likely.
        interpolate_loss: mix two losses instead of targets, for losses that take no dense ones.
            Not for targets as large as the image.
        uniform_sampling: whether each pixel has the same chance to be replaced.
        input_key: where the inputs lie in a batch, see :meth:`State.batch_get_item`.
        target_key: where the targets lie in a batch.

    Raises:
        ValueError: ``alpha`` is negative.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        interpolate_loss: bool = False,
        uniform_sampling: bool = False,
        input_key: Key = 0,
        target_key: Key = 1,
    ) -> None:
        check_number("alpha", alpha, 0)
        check_flags(interpolate_loss=interpolate_loss, uniform_sampling=uniform_sampling)
        super().__init__(interpolate_loss, input_key, target_key)
        self.alpha = alpha
        self.uniform_sampling = uniform_sampling
        self._box: Box = (0, 0, 0, 0)
        self._is_dense = False

    def mix_inputs(self, state: State, logger: Logger) -> None:
        """Give the model images with pasted boxes."""
        inputs = check_tensor(self, "inputs", state.batch_get_item(self.input_key))
        targets = check_tensor(self, "targets", state.batch_get_item(self.target_key))
        self._is_dense = targets.ndim > 2 and targets.shape[-2:] == inputs.shape[-2:]
        if self._is_dense and self.interpolate_loss:
            raise DataError(
                f"targets of shape {tuple(targets.shape)} are as large as the images: the box is "
                "pasted into them, and two losses cannot stand for that. Use interpolate_loss=False"
            )
        super().mix_inputs(state, logger)

    def blend(self, inputs: Tensor, pairing: Tensor) -> tuple[Tensor, float]:
        """Return inputs with a pasted box and the partners' share of their area."""
        # The pairing stands in for the targets, which are mixed before the loss.
        mixed, _, own_share, self._box = cutmix_batch(
            inputs,
            pairing,
            alpha=self.alpha,
            indices=pairing,
            uniform_sampling=self.uniform_sampling,
        )
        return mixed, 1 - own_share

    def combine(self, outputs: Tensor, targets: Tensor, pairing: Tensor) -> Tensor:
        """Mix targets by area, or paste the box into targets as large as the image."""
        if not self._is_dense:
            return super().combine(outputs, targets, pairing)
        top, left, bottom, right = self._box
        return _paste(targets, targets[..., top:bottom, left:right][pairing], self._box)
