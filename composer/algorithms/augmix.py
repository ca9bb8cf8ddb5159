"""AugMix: blend each image with a mixture of differently changed copies of itself.

Paper: Hendrycks, Mu, Cubuk, Zoph, Gilmer, Lakshminarayanan, "AugMix: A Simple Data Processing
Method to Improve Robustness and Uncertainty", 2019, arXiv:1912.02781.

Idea: ``width`` chains of ``depth`` random operations each make a copy of the image; the copies are
mixed with weights from a Dirichlet distribution, and the mixture is blended with the image by a
weight from a Beta distribution. Images become varied and stay natural.

When it helps: robustness against corruptions that training does not show, and calibration. When it
hurts: time, ``width`` times that of RandAugment; clean accuracy gains little. The paper's
consistency loss is not part of it.

Suggested values: ``severity=3, width=3, depth=-1, alpha=1.0``. ``batch=True`` changes whole batches
of tensors in the loop; batches must be uint8, or floats in [0, 1], or normalised with the given
``mean`` and ``std``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from composer.algorithms._augment_tensors import TensorOperation, augment_first
from composer.algorithms._checks import check_number, check_whole
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
from composer.algorithms.utils.augmentation_common import (
    image_as_type,
    is_pillow_image,
    map_pillow_function,
    pillow,
)

__all__ = ["AugMix", "AugmentAndMixTransform", "augmix_image"]

_MOST_DEPTH = 3


def augmix_image(
    img: Any,
    severity: float = 3,
    depth: int = -1,
    width: int = 3,
    alpha: float = 1.0,
    augmentation_set: AugmentationSet = "all",
) -> Any:
    """Blend an image, or each image of a batch, with a mixture of changed copies.

    Args:
        img: an image of Pillow, or a tensor of shape (C, H, W) or (N, C, H, W): uint8, or floats in
            [0, 1].
        severity: largest strength of the operations, from 0 to 10.
        depth: operations in a chain; 0 or less draws 1, 2 or 3 for each chain.
        width: number of chains, >= 1.
        alpha: parameter of the Dirichlet and the Beta distribution, > 0.
        augmentation_set: see :func:`composer.algorithms.randaugment.randaugment_image`.

    Returns:
        What came, changed: ``(1 - m) * image + m * sum_i w_i chain_i(image)``. A tensor keeps its
        format and its device.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> augmix_image(torch.rand(8, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])

    Source:
        Hendrycks et al. 2019, algorithm 1.
    """
    _check(severity, depth, width, alpha, augmentation_set)
    operations = operations_of(augmentation_set)
    if isinstance(img, Tensor) and operations is not None:
        images = img if img.ndim == 4 else img[None]
        mixed = _on_batch(to_unit_range(images), operations, severity, depth, width, alpha)
        return from_unit_range(mixed, img).reshape(img.shape)
    functions = functions_of(augmentation_set)

    def on_image(image: Any) -> Any:
        return _on_image(image, functions, severity, depth, width, alpha)

    return map_pillow_function(on_image, img)


def _check(
    severity: float, depth: int, width: int, alpha: float, augmentation_set: AugmentationSet
) -> None:
    check_severity(severity, augmentation_set)
    check_whole("depth", depth)
    check_whole("width", width, 1)
    check_number("alpha", alpha, above=0)


def _draw_weights(num_images: int, width: int, alpha: float) -> tuple[Tensor, Tensor]:
    """Return weights of the chains, shape (N, width), and of the mixtures, shape (N)."""
    parameter = torch.tensor(float(alpha))
    dirichlet = torch.distributions.Dirichlet(parameter.expand(width), validate_args=False)
    beta = torch.distributions.Beta(parameter, parameter, validate_args=False)
    return dirichlet.sample((num_images,)), beta.sample((num_images,))


def _on_image(
    image: Any,
    functions: Sequence[Callable[[Any, float], Any]],
    severity: float,
    depth: int,
    width: int,
    alpha: float,
) -> Any:
    weights, blend = _draw_weights(1, width, alpha)
    original = image_as_type(image, Tensor)
    mixture = torch.zeros_like(original)
    for weight in weights[0]:
        changed = image
        count = depth if depth > 0 else int(torch.randint(1, _MOST_DEPTH + 1, ()))
        for index in torch.randint(len(functions), (count,)).tolist():
            changed = functions[index](changed, severity)
        mixture += weight * image_as_type(changed, Tensor)
    mixed = torch.lerp(original, mixture, blend)
    return image_as_type(mixed, pillow().Image.Image) if is_pillow_image(image) else mixed


def _on_batch(
    images: Tensor,
    operations: list[TensorOperation],
    severity: float,
    depth: int,
    width: int,
    alpha: float,
) -> Tensor:
    weights, blend = (
        # Small and drawn on the host; the copy to the device is not waited for.
        each.to(images.device, non_blocking=True)[..., None, None, None]
        for each in _draw_weights(len(images), width, alpha)
    )
    mixture = torch.zeros_like(images)
    for chain in range(width):
        mixture += weights[:, chain] * _chain(images, operations, severity, depth)
    return torch.lerp(images, mixture, blend)


def _chain(
    images: Tensor, operations: list[TensorOperation], severity: float, depth: int
) -> Tensor:
    if depth > 0:
        for _ in range(depth):
            images = augment_first(images, len(images), operations, severity)
        return images
    # Each image draws a depth of its own: in random order, the first ones go on to the next layer.
    depths = torch.randint(1, _MOST_DEPTH + 1, (len(images),))
    order = torch.randperm(len(images), device=images.device)
    shuffled = images[order]
    for layer in range(1, _MOST_DEPTH + 1):
        shuffled = augment_first(shuffled, int((depths >= layer).sum()), operations, severity)
    changed = torch.empty_like(images)
    changed[order] = shuffled
    return changed


class AugmentAndMixTransform(nn.Module):
    """:func:`augmix_image` as a transform of a data set.

    Args:
        severity: largest strength of the operations, from 0 to 10.
        depth: operations in a chain; 0 or less draws 1, 2 or 3.
        width: number of chains, >= 1.
        alpha: parameter of the Dirichlet and the Beta distribution, > 0.
        augmentation_set: name of the set.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        severity: float = 3,
        depth: int = -1,
        width: int = 3,
        alpha: float = 1.0,
        augmentation_set: str = "all",
    ) -> None:
        super().__init__()
        _check(severity, depth, width, alpha, augmentation_set)
        self.severity = severity
        self.depth = depth
        self.width = width
        self.alpha = alpha
        self.augmentation_set = augmentation_set

    def forward(self, img: Any) -> Any:
        """Return the changed image."""
        return augmix_image(
            img, self.severity, self.depth, self.width, self.alpha, self.augmentation_set
        )


class AugMix(ImageAugmentation):
    """Blend each image with a mixture of changed copies; see :func:`augmix_image`.

    Args:
        severity: largest strength of the operations, from 0 to 10.
        depth: operations in a chain; 0 or less draws 1, 2 or 3.
        width: number of chains, >= 1.
        alpha: parameter of the Dirichlet and the Beta distribution, > 0.
        augmentation_set: name of the set of operations.
        batch: change batches of tensors in the loop. By default an `AugmentAndMixTransform` is
            added to the data set's transforms, before its images become tensors.
        input_key: where the images lie in a batch, see :meth:`State.batch_get_item`.
        mean: mean of each channel that batches were normalised with, if they were.
        std: standard deviation of each channel, likewise.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        severity: float = 3,
        depth: int = -1,
        width: int = 3,
        alpha: float = 1.0,
        augmentation_set: str = "all",
        batch: bool = False,
        input_key: Key = 0,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__(severity, augmentation_set, batch, input_key, mean, std)
        _check(severity, depth, width, alpha, augmentation_set)
        self.depth = depth
        self.width = width
        self.alpha = alpha

    def transform(self) -> Callable[[Any], Any]:
        """Return what changes one image of the data set."""
        return AugmentAndMixTransform(
            self.severity, self.depth, self.width, self.alpha, self.augmentation_set
        )

    def augment(self, images: Tensor, operations: list[TensorOperation]) -> Tensor:
        """Change images, float32 in [0, 1], shape (N, C, H, W)."""
        return _on_batch(images, operations, self.severity, self.depth, self.width, self.alpha)
