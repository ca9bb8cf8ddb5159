"""RandAugment: change each image by a few random operations of one common strength.

Paper: Cubuk, Zoph, Shlens, Le, "RandAugment: Practical automated data augmentation with a reduced
search space", 2019, arXiv:1909.13719.

Idea: apply ``depth`` operations, drawn uniformly from a set (turn, shear, shift, posterize,
solarize, equalize, colours ...), one after the other, with strengths up to ``severity``. Two
numbers replace the search for a policy.

When it helps: image classification that overfits: many epochs, large models. When it hurts: short
training, small models; tasks in which colour or position is the answer. On the images of a data
set it is slow, and a loader may become the bottleneck; on batches it costs a few operations.

Suggested values: ``severity=9, depth=2``; smaller severities for small images. ``batch=True``
changes whole batches of tensors in the loop, each image by its own operations; batches must be
uint8, or floats in [0, 1], or normalised with the given ``mean`` and ``std``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from composer.algorithms._augment_tensors import TensorOperation, augment_first
from composer.algorithms._checks import check_whole
from composer.algorithms._image_augmentation import (
    AugmentationSet,
    ImageAugmentation,
    check_severity,
    from_unit_range,
    functions_of,
    operations_of,
    to_unit_range,
)
from composer.algorithms._mixing import Key
from composer.algorithms.utils.augmentation_common import map_pillow_function

__all__ = ["RandAugment", "RandAugmentTransform", "randaugment_image"]


def randaugment_image(
    img: Any, severity: float = 9, depth: int = 2, augmentation_set: AugmentationSet = "all"
) -> Any:
    """Apply ``depth`` random operations to an image, or to each image of a batch.

    Args:
        img: an image of Pillow, or a tensor of shape (C, H, W) or (N, C, H, W): uint8, or floats in
            [0, 1].
        severity: largest strength, from 0 to 10.
        depth: number of operations, >= 0.
        augmentation_set: ``'all'``, ``'safe'`` (without colour, contrast, brightness, sharpness) or
            ``'original'`` (these four scaled as in AutoAugment); or a list of functions as in
            `composer.algorithms.utils.augmentation_primitives`.

    Returns:
        What came, changed: a tensor keeps its format and its device.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> randaugment_image(torch.rand(8, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])

    Source:
        Cubuk et al. 2019, figure 2; strengths are drawn below the severity, as in AugMix.
    """
    check_severity(severity, augmentation_set)
    check_whole("depth", depth, 0)
    operations = operations_of(augmentation_set)
    if isinstance(img, Tensor) and operations is not None:
        images = img if img.ndim == 4 else img[None]
        changed = _on_batch(to_unit_range(images), operations, severity, depth)
        return from_unit_range(changed, img).reshape(img.shape)
    functions = functions_of(augmentation_set)

    def on_image(image: Any) -> Any:
        for index in torch.randint(len(functions), (depth,)).tolist():
            image = functions[index](image, severity)
        return image

    return map_pillow_function(on_image, img)


def _on_batch(
    images: Tensor, operations: list[TensorOperation], severity: float, depth: int
) -> Tensor:
    for _ in range(depth):
        images = augment_first(images, len(images), operations, severity)
    return images


class RandAugmentTransform(nn.Module):
    """:func:`randaugment_image` as a transform of a data set.

    Args:
        severity: largest strength, from 0 to 10.
        depth: number of operations, >= 0.
        augmentation_set: name of the set.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, severity: float = 9, depth: int = 2, augmentation_set: str = "all") -> None:
        super().__init__()
        check_severity(severity, augmentation_set)
        check_whole("depth", depth, 0)
        self.severity = severity
        self.depth = depth
        self.augmentation_set = augmentation_set

    def forward(self, img: Any) -> Any:
        """Return the changed image."""
        return randaugment_image(img, self.severity, self.depth, self.augmentation_set)


class RandAugment(ImageAugmentation):
    """Change each image by random operations; see :func:`randaugment_image`.

    Args:
        severity: largest strength, from 0 to 10.
        depth: number of operations, >= 0.
        augmentation_set: name of the set of operations.
        batch: change batches of tensors in the loop. By default a `RandAugmentTransform` is added
            to the data set's transforms, before its images become tensors.
        input_key: where the images lie in a batch, see :meth:`State.batch_get_item`.
        mean: mean of each channel that batches were normalised with, if they were.
        std: standard deviation of each channel, likewise.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        severity: float = 9,
        depth: int = 2,
        augmentation_set: str = "all",
        batch: bool = False,
        input_key: Key = 0,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__(severity, augmentation_set, batch, input_key, mean, std)
        check_whole("depth", depth, 0)
        self.depth = depth

    def transform(self) -> Callable[[Any], Any]:
        """Return what changes one image of the data set."""
        return RandAugmentTransform(self.severity, self.depth, self.augmentation_set)

    def augment(self, images: Tensor, operations: list[TensorOperation]) -> Tensor:
        """Change images, float32 in [0, 1], shape (N, C, H, W)."""
        return _on_batch(images, operations, self.severity, self.depth)
