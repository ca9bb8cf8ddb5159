"""CutOut: black out squares at random places.

Paper: DeVries, Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout",
2017, arXiv:1708.04552.

Idea: set the pixels of a square to zero, so that the model must look at all of an object and not
at its most telling part alone.

When it helps: small images and many epochs, as on CIFAR. When it hurts: short training, small
models; tasks whose object may lie under the square as a whole.

Suggested values: ``num_holes=1, length=0.5`` for CIFAR-10, as in the paper (16 of 32 pixels); less
for more classes. All images of a batch get the same holes. Zero is the mean of normalised images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from composer.algorithms._boxes import place_interval
from composer.algorithms._checks import check_flags, check_number, check_tensor, check_whole
from composer.algorithms._mixing import Key
from composer.algorithms.utils.augmentation_common import image_as_type
from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import DataError

__all__ = ["CutOut", "cutout_batch"]


def cutout_batch(
    input: Any, num_holes: int = 1, length: float = 0.5, uniform_sampling: bool = False
) -> Any:
    """Set squares to zero, the same for all images of a batch.

    Args:
        input: images, shape (..., H, W), or an image of Pillow.
        num_holes: number of squares, >= 0.
        length: their side as a share of the image's shorter side, in [0, 1].
        uniform_sampling: give each pixel the same chance to be covered; by default centres are
            uniform, as in the paper, so that pixels at the border are covered less often.

    Returns:
        Changed copies, of the kind that came. Places are drawn with torch's CPU generator.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> int(cutout_batch(torch.ones(1, 1, 4, 4), length=0.5, uniform_sampling=True).sum()) >= 12
        True

    Source:
        DeVries and Taylor 2017, section 3.2: squares may reach beyond the image.
    """
    check_whole("num_holes", num_holes, 0)
    check_number("length", length, 0, 1)
    if isinstance(input, Tensor):
        return _cut(input, num_holes, length, uniform_sampling)
    cut = _cut(image_as_type(input, Tensor), num_holes, length, uniform_sampling)
    return image_as_type(cut, type(input))


def _cut(images: Tensor, num_holes: int, length: float, uniform: bool) -> Tensor:
    if images.ndim < 2:
        raise DataError(f"images must have the shape (..., H, W), got {tuple(images.shape)}")
    height, width = images.shape[-2:]
    side = int(min(height, width) * length)
    output = images.clone()
    for first, second in torch.rand(num_holes, 2, dtype=torch.float64).tolist():
        top, bottom = place_interval(height, side, first, uniform)
        left, right = place_interval(width, side, second, uniform)
        output[..., top:bottom, left:right] = 0
    return output


class CutOut(Algorithm):
    """Black out squares in each batch; see :func:`cutout_batch`.

    Args:
        num_holes: number of squares, >= 0.
        length: their side as a share of the image's shorter side, in [0, 1].
        uniform_sampling: whether each pixel has the same chance to be covered.
        input_key: where the images lie in a batch, see :meth:`State.batch_get_item`.

    Raises:
        ValueError: an argument is out of range.
    """

    events: Mapping[Event, str] = {Event.AFTER_DATALOADER: "cut"}
    writes = ("batch",)

    def __init__(
        self,
        num_holes: int = 1,
        length: float = 0.5,
        uniform_sampling: bool = False,
        input_key: Key = 0,
    ) -> None:
        check_whole("num_holes", num_holes, 0)
        check_number("length", length, 0, 1)
        check_flags(uniform_sampling=uniform_sampling)
        self.num_holes = num_holes
        self.length = length
        self.uniform_sampling = uniform_sampling
        self.input_key = input_key

    def cut(self, state: State, logger: Logger) -> None:
        """Black out squares in the images of the batch."""
        images = check_tensor(self, "inputs", state.batch_get_item(self.input_key))
        cut = _cut(images, self.num_holes, self.length, self.uniform_sampling)
        state.batch_set_item(self.input_key, cut)
