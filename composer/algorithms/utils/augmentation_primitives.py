"""Single augmentations of Pillow's images: the sets from which RandAugment and AugMix draw.

Papers: Cubuk, Zoph, Mane, Vasudevan, Le, "AutoAugment", 2018, arXiv:1805.09501, table 6, for the
operations and their largest strengths; Hendrycks et al., "AugMix", 2019, arXiv:1912.02781, for
drawing strengths below a severity.

Each function takes an image and a severity from 0 to 10. A level is drawn uniformly from 0.1 to the
severity, and a tenth of it is the share of the largest strength. All random numbers come from
torch's CPU generator, which each worker of a data loader seeds and each checkpoint keeps.
`composer.algorithms._augment_tensors` holds the same operations on whole batches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from composer.algorithms.utils.augmentation_common import pillow

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "AugmentationFn",
    "augmentation_sets",
    "autocontrast",
    "brightness",
    "brightness_original",
    "color",
    "color_original",
    "contrast",
    "contrast_original",
    "equalize",
    "posterize",
    "rotate",
    "sharpness",
    "sharpness_original",
    "shear_x",
    "shear_y",
    "solarize",
    "translate_x",
    "translate_y",
]

AugmentationFn = Callable[[Any, float], Any]
"""Takes an image and a severity in [0, 10], and returns an image of the same size."""

# What level 10 means.
POSTERIZE_BITS = 4
ROTATE_DEGREES = 30
SOLARIZE_STEPS = 256
SHEAR = 0.3
TRANSLATE_SHARE = 1 / 3
ENHANCE_ORIGINAL = 1.8


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * torch.rand((), dtype=torch.float64).item()


def _draw_level(severity: float) -> float:
    return _uniform(min(0.1, severity), severity)


def _draw_strength(severity: float, most: float) -> float:
    return _draw_level(severity) * most / 10


def _draw_signed(severity: float, most: float) -> float:
    strength = _draw_strength(severity, most)
    return -strength if torch.rand(()).item() < 0.5 else strength


def _draw_symmetric(severity: float) -> float:
    """Draw a factor around 1: up to ``1 + 0.9 severity`` or, as likely, down to 1 - a tenth."""
    if torch.rand(()).item() < 0.5:
        return _uniform(1, 1 + 0.9 * severity)
    return _uniform(1 - 0.09 * severity, 1)


def _draw_original(severity: float) -> float:
    """Draw a factor as AutoAugment scales them: 0.1 to 1.9, without a change in the middle."""
    return _draw_strength(severity, ENHANCE_ORIGINAL) + 0.1


def autocontrast(pil_img: Image, level: float = 0.0) -> Image:
    """Stretch each channel to the full range; the severity is not used."""
    del level
    return pillow().ImageOps.autocontrast(pil_img)


def equalize(pil_img: Image, level: float = 0.0) -> Image:
    """Make all values of each channel equally frequent; the severity is not used."""
    del level
    return pillow().ImageOps.equalize(pil_img)


def posterize(pil_img: Image, level: float) -> Image:
    """Keep the upper bits of each value: 8 down to 4, of which a severity of 10 drops 4."""
    bits = int(_draw_strength(level, POSTERIZE_BITS))
    return pillow().ImageOps.posterize(pil_img, 8 - bits)


def rotate(pil_img: Image, level: float) -> Image:
    """Turn the image about its centre, by up to 30 degrees to either side."""
    degrees = _draw_signed(level, ROTATE_DEGREES)
    return pil_img.rotate(degrees, resample=pillow().Image.Resampling.BILINEAR)


def solarize(pil_img: Image, level: float) -> Image:
    """Invert all values above a threshold, which sinks from 256 to 0 as the level rises."""
    threshold = SOLARIZE_STEPS - int(_draw_strength(level, SOLARIZE_STEPS))
    return pillow().ImageOps.solarize(pil_img, threshold)


def shear_x(pil_img: Image, level: float) -> Image:
    """Shift rows against each other, by up to 0.3 pixels per row."""
    return _affine(pil_img, (1, _draw_signed(level, SHEAR), 0, 0, 1, 0))


def shear_y(pil_img: Image, level: float) -> Image:
    """Shift columns against each other, by up to 0.3 pixels per column."""
    return _affine(pil_img, (1, 0, 0, _draw_signed(level, SHEAR), 1, 0))


def translate_x(pil_img: Image, level: float) -> Image:
    """Shift the image sideways, by up to a third of its width."""
    return _affine(pil_img, (1, 0, _draw_signed(level, TRANSLATE_SHARE * pil_img.width), 0, 1, 0))


def translate_y(pil_img: Image, level: float) -> Image:
    """Shift the image up or down, by up to a third of its height."""
    return _affine(pil_img, (1, 0, 0, 0, 1, _draw_signed(level, TRANSLATE_SHARE * pil_img.height)))


def _affine(pil_img: Image, matrix: tuple[float, ...]) -> Image:
    image = pillow().Image
    return pil_img.transform(
        pil_img.size, image.Transform.AFFINE, matrix, resample=image.Resampling.BILINEAR
    )


def color(pil_img: Image, level: float) -> Image:
    """Move colours away from grey or towards it, either with equal probability."""
    return pillow().ImageEnhance.Color(pil_img).enhance(_draw_symmetric(level))


def contrast(pil_img: Image, level: float) -> Image:
    """Move values away from their mean or towards it, either with equal probability."""
    return pillow().ImageEnhance.Contrast(pil_img).enhance(_draw_symmetric(level))


def brightness(pil_img: Image, level: float) -> Image:
    """Make the image brighter or darker, either with equal probability."""
    return pillow().ImageEnhance.Brightness(pil_img).enhance(_draw_symmetric(level))


def sharpness(pil_img: Image, level: float) -> Image:
    """Make the image sharper or smoother, either with equal probability."""
    return pillow().ImageEnhance.Sharpness(pil_img).enhance(_draw_symmetric(level))


def color_original(pil_img: Image, level: float) -> Image:
    """Scale the distance to grey as AutoAugment does, by 0.1 to 1.9."""
    return pillow().ImageEnhance.Color(pil_img).enhance(_draw_original(level))


def contrast_original(pil_img: Image, level: float) -> Image:
    """Scale the distance to the mean as AutoAugment does, by 0.1 to 1.9."""
    return pillow().ImageEnhance.Contrast(pil_img).enhance(_draw_original(level))


def brightness_original(pil_img: Image, level: float) -> Image:
    """Scale all values as AutoAugment does, by 0.1 to 1.9."""
    return pillow().ImageEnhance.Brightness(pil_img).enhance(_draw_original(level))


def sharpness_original(pil_img: Image, level: float) -> Image:
    """Scale the distance to the smoothed image as AutoAugment does, by 0.1 to 1.9."""
    return pillow().ImageEnhance.Sharpness(pil_img).enhance(_draw_original(level))


_SAFE: list[AugmentationFn] = [
    autocontrast,
    equalize,
    posterize,
    rotate,
    solarize,
    shear_x,
    shear_y,
    translate_x,
    translate_y,
]

augmentation_sets: dict[str, list[AugmentationFn]] = {
    # Without operations that overlap with the corruptions of ImageNet-C.
    "safe": _SAFE,
    "all": [*_SAFE, color, contrast, brightness, sharpness],
    "original": [
        *_SAFE,
        color_original,
        contrast_original,
        brightness_original,
        sharpness_original,
    ],
}
