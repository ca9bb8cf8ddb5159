"""Images and masks as arrays, however they were logged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from composer.errors import DataError

__all__ = ["to_arrays", "to_arrays_and_masks", "to_grey"]

_CHANNELS = (1, 3, 4)


def to_arrays(images: Any, channels_last: bool) -> list[np.ndarray[Any, Any]]:
    """Return images as 8-bit arrays.

    Numbers that are not 8-bit are taken as lying in [0, 1]; an image with others (one that was
    normalised for a model) is stretched so that its darkest value is black and its brightest white.

    Args:
        images: one image of shape (H, W), (C, H, W) or (H, W, C), or a batch or list of them.
        channels_last: whether the last axis holds the channels.

    Returns:
        One array per image, uint8, shape (H, W, C) with C of 1, 3 or 4.

    Raises:
        ValueError: a shape that is no image's.
    """
    return [_to_8_bit(_with_channels(each, channels_last)) for each in _one_by_one(images)]


def to_arrays_and_masks(
    images: Any, channels_last: bool, masks: Mapping[str, Any] | None
) -> tuple[list[np.ndarray[Any, Any]], dict[str, list[np.ndarray[Any, Any]]]]:
    """Return images as :func:`to_arrays` does, and their segmentation masks.

    Args:
        images: the images.
        channels_last: whether the last axis holds the channels.
        masks: name -> one mask of shape (H, W), or a batch or list of them.

    Returns:
        One array per image; and under each mask's name one array of class indices per image, int64,
        shape (H, W).

    Raises:
        ValueError: a shape that is no image's or not that of the mask's image, or not one mask for
            each image.
    """
    arrays = to_arrays(images, channels_last)
    return arrays, {name: _to_masks(each, name, arrays) for name, each in (masks or {}).items()}


def to_grey(mask: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a mask as an image: uint8, shape (H, W), its highest class in white."""
    return (mask * (255 // max(int(mask.max()), 1))).astype(np.uint8)


def _to_masks(
    masks: Any, name: str, images: list[np.ndarray[Any, Any]]
) -> list[np.ndarray[Any, Any]]:
    arrays = [_squeezed(each) for each in _one_by_one(masks, max_axes=2)]
    if len(arrays) != len(images):
        raise DataError(f"there are {len(arrays)} masks {name!r} for {len(images)} images")
    for mask, image in zip(arrays, images, strict=True):
        if mask.shape != image.shape[:2]:
            raise DataError(
                f"the mask {name!r} has shape {mask.shape}, its image {image.shape[:2]}"
            )
    return [array.astype(np.int64) for array in arrays]


def _one_by_one(images: Any, max_axes: int = 3) -> list[np.ndarray[Any, Any]]:
    if isinstance(images, torch.Tensor | np.ndarray):
        array = _to_numpy(images)
        return [array] if array.ndim <= max_axes else list(array)
    if isinstance(images, Sequence) and not isinstance(images, str):
        return [_to_numpy(each) for each in images]
    raise DataError(f"images are tensors or arrays, or a list of them, not {type(images).__name__}")


def _to_numpy(image: Any) -> np.ndarray[Any, Any]:
    if isinstance(image, torch.Tensor):
        image = image.detach()
        # NumPy has no bfloat16.
        return (image.float() if image.is_floating_point() else image).cpu().numpy()
    return np.asarray(image)


def _squeezed(mask: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Drop an axis of one channel."""
    return mask[0] if mask.ndim == 3 and mask.shape[0] == 1 else mask


def _with_channels(image: np.ndarray[Any, Any], channels_last: bool) -> np.ndarray[Any, Any]:
    shape = image.shape
    if image.ndim == 2:
        image = image[..., None]
    elif image.ndim == 3 and not channels_last:
        image = image.transpose(1, 2, 0)
    if image.ndim != 3 or image.shape[-1] not in _CHANNELS or 0 in image.shape:
        place = "last" if channels_last else "first"
        raise DataError(
            f"an image has shape (height, width), or 1, 3 or 4 channels on the {place} axis, got "
            f"{shape}. channels_last={not channels_last} means the other axis."
        )
    return image


def _to_8_bit(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if image.dtype == np.uint8:
        return image
    if image.dtype.kind not in "biuf":
        raise DataError(f"an image holds real numbers, not {image.dtype}")
    is_byte = image.dtype.kind in "iu" and image.min() >= 0 and 1 < image.max() <= 255
    if is_byte:
        return image.astype(np.uint8)
    values = np.nan_to_num(image.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        values = (values - low) / ((high - low) or 1.0)
    return (values * 255).round().astype(np.uint8)
