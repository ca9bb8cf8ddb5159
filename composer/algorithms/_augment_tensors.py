"""The operations of RandAugment and AugMix on batches of tensors, each image with its own strength.

They mirror `composer.algorithms.utils.augmentation_primitives`, name by name. Batches are float32
in [0, 1], shape (N, C, H, W). How many images get which operation is drawn on the host; which ones
they are, and how strongly, where the batch lies, so that nothing waits for a device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from composer.algorithms.utils.augmentation_primitives import (
    ENHANCE_ORIGINAL,
    POSTERIZE_BITS,
    ROTATE_DEGREES,
    SHEAR,
    SOLARIZE_STEPS,
    TRANSLATE_SHARE,
)

__all__ = ["OPERATIONS", "TensorOperation", "augment_first"]

TensorOperation = Callable[[Tensor, float], Tensor]
"""Takes images, shape (N, C, H, W), and a severity, and returns images of that shape."""

# PIL's grey: ITU-R 601-2.
_GREY = (0.299, 0.587, 0.114)


def augment_first(
    images: Tensor, count: int, operations: Sequence[TensorOperation], severity: float
) -> Tensor:
    """Apply one random operation to each of the first ``count`` images.

    Args:
        images: shape (N, C, H, W).
        count: how many of them.
        operations: each image gets one of them, drawn uniformly.
        severity: from 0 to 10.

    Returns:
        The images, in the same order.
    """
    if count == 0:
        return images
    # As if each image drew for itself: counts from a multinomial, members from a permutation.
    counts = torch.bincount(torch.randint(len(operations), (count,)), minlength=len(operations))
    order = torch.randperm(count, device=images.device)
    groups = images[order].split(counts.tolist())
    changed = [
        operation(group, severity) if len(group) else group
        for operation, group in zip(operations, groups, strict=True)
    ]
    result = images.clone()
    result[order] = torch.cat(changed)
    return result


# Strengths, one for each image, shape (N, 1, 1, 1).


def _uniform(images: Tensor, low: float, high: float) -> Tensor:
    return torch.rand(len(images), 1, 1, 1, device=images.device) * (high - low) + low


def _strength(images: Tensor, severity: float, most: float) -> Tensor:
    return _uniform(images, min(0.1, severity), severity) * (most / 10)


def _signed(images: Tensor, severity: float, most: float) -> Tensor:
    sign = torch.randint(2, (len(images), 1, 1, 1), device=images.device) * 2 - 1
    return _strength(images, severity, most) * sign


def _symmetric(images: Tensor, severity: float) -> Tensor:
    is_more = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    more = _uniform(images, 1, 1 + 0.9 * severity)
    return torch.where(is_more, more, _uniform(images, 1 - 0.09 * severity, 1))


def _original(images: Tensor, severity: float) -> Tensor:
    return _strength(images, severity, ENHANCE_ORIGINAL) + 0.1


# Operations with given strengths.


def autocontrast(images: Tensor) -> Tensor:
    """Stretch each channel of each image to [0, 1]; a channel of one value stays."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    width = high - low
    return torch.where(width > 0, (images - low) / torch.where(width > 0, width, 1.0), images)


def equalize(images: Tensor) -> Tensor:
    """Make all values of each channel equally frequent, in 256 steps."""
    steps = _steps(images).long().flatten(0, 1).flatten(1)
    ones = torch.ones_like(steps)
    counts = torch.zeros(len(steps), 256, dtype=torch.long, device=images.device)
    counts.scatter_add_(1, steps, ones)
    # Of all pixels but those of the last value in use, as in PIL.
    last = counts.gather(1, steps.amax(1, keepdim=True))
    width = (steps.shape[1] - last) // 255
    before = counts.cumsum(1) - counts
    table = (before + width // 2) // width.clamp_min(1)
    table = torch.where(width > 0, table, torch.arange(256, device=images.device)).clamp_max(255)
    return table.gather(1, steps).reshape(images.shape).to(images.dtype) / 255


def posterize(images: Tensor, dropped_bits: Tensor) -> Tensor:
    """Set the lower bits of each of 256 steps to zero."""
    unit = 2.0 ** dropped_bits.floor()
    return torch.floor(_steps(images) / unit) * unit / 255


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert values from a threshold on, given in 256 steps."""
    return torch.where(_steps(images) < threshold, images, 1 - images)


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Turn each image about its centre, counterclockwise."""
    angle = degrees * (math.pi / 180)
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    return _affine(images, (cosine, -sine, zero), (sine, cosine, zero))


def affine(images: Tensor, matrix: Sequence[Tensor | float]) -> Tensor:
    """Take each pixel (x, y) from (a x + b y + c, d x + e y + f), in pixels from the corner.

    Args:
        images: shape (N, C, H, W).
        matrix: ``a, b, c, d, e, f``: numbers, or tensors of shape (N, 1, 1, 1).

    Returns:
        The images, interpolated linearly, with zeros around.
    """
    a, b, c, d, e, f = (_each(images, value) for value in matrix)
    # The same about the image's centre; a pixel's own middle lies half a pixel from its corner.
    x, y = images.shape[3] / 2, images.shape[2] / 2
    return _affine(images, (a, b, a * x + b * y + c - x), (d, e, d * x + e * y + f - y))


def _each(images: Tensor, value: Tensor | float) -> Tensor:
    if isinstance(value, Tensor):
        return value
    return torch.full((len(images), 1, 1, 1), float(value), device=images.device)


def _affine(images: Tensor, x_row: Sequence[Tensor], y_row: Sequence[Tensor]) -> Tensor:
    """Take each pixel from another place, both in pixels from the centre."""
    height, width = images.shape[2:]
    # torch measures from -1 to 1 along each side.
    along_x = (x_row[0], x_row[1] * (height / width), x_row[2] * (2 / width))
    along_y = (y_row[0] * (width / height), y_row[1], y_row[2] * (2 / height))
    rows = [torch.cat([value.reshape(-1, 1) for value in row], 1) for row in (along_x, along_y)]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def color(images: Tensor, factor: Tensor) -> Tensor:
    """Scale the distance to grey; images without colour stay."""
    return _blend(_grey(images), images, factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Scale the distance to the image's mean grey."""
    return _blend(_grey(images).mean((1, 2, 3), keepdim=True), images, factor)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Scale all values."""
    return (images * factor).clamp(0, 1)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Scale the distance to the smoothed image; the outermost pixels stay."""
    kernel = images.new_ones(3, 3)
    kernel[1, 1] = 5.0
    channels = images.shape[1]
    weights = (kernel / 13).expand(channels, 1, 3, 3)
    smooth = images.clone()
    smooth[:, :, 1:-1, 1:-1] = F.conv2d(images, weights, groups=channels)
    return _blend(smooth, images, factor)


def _blend(base: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    return (base + factor * (images - base)).clamp(0, 1)


def _grey(images: Tensor) -> Tensor:
    if images.shape[1] != len(_GREY):
        return images.mean(1, keepdim=True)
    red, green, blue = images.unbind(1)
    return (_GREY[0] * red + _GREY[1] * green + _GREY[2] * blue).unsqueeze(1)


def _steps(images: Tensor) -> Tensor:
    return (images * 255).round()


def _translate_x(images: Tensor, severity: float) -> Tensor:
    shift = _signed(images, severity, TRANSLATE_SHARE * images.shape[3])
    return affine(images, (1, 0, shift, 0, 1, 0))


def _translate_y(images: Tensor, severity: float) -> Tensor:
    shift = _signed(images, severity, TRANSLATE_SHARE * images.shape[2])
    return affine(images, (1, 0, 0, 0, 1, shift))


OPERATIONS: dict[str, TensorOperation] = {
    "autocontrast": lambda x, severity: autocontrast(x),
    "equalize": lambda x, severity: equalize(x),
    "posterize": lambda x, severity: posterize(x, _strength(x, severity, POSTERIZE_BITS)),
    "rotate": lambda x, severity: rotate(x, _signed(x, severity, ROTATE_DEGREES)),
    "solarize": lambda x, severity: solarize(
        x, SOLARIZE_STEPS - _strength(x, severity, SOLARIZE_STEPS).floor()
    ),
    "shear_x": lambda x, severity: affine(x, (1, _signed(x, severity, SHEAR), 0, 0, 1, 0)),
    "shear_y": lambda x, severity: affine(x, (1, 0, 0, _signed(x, severity, SHEAR), 1, 0)),
    "translate_x": _translate_x,
    "translate_y": _translate_y,
    "color": lambda x, severity: color(x, _symmetric(x, severity)),
    "contrast": lambda x, severity: contrast(x, _symmetric(x, severity)),
    "brightness": lambda x, severity: brightness(x, _symmetric(x, severity)),
    "sharpness": lambda x, severity: sharpness(x, _symmetric(x, severity)),
    "color_original": lambda x, severity: color(x, _original(x, severity)),
    "contrast_original": lambda x, severity: contrast(x, _original(x, severity)),
    "brightness_original": lambda x, severity: brightness(x, _original(x, severity)),
    "sharpness_original": lambda x, severity: sharpness(x, _original(x, severity)),
}
"""Name of a function of ``augmentation_primitives`` -> the same on batches."""
