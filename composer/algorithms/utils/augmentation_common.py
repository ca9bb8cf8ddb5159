"""Images as tensors and as Pillow's images, there and back.

Pillow is imported where it is used: the tensor forms of all methods work without it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from composer.errors import ArgumentTypeError, DataError, MissingDependencyError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["image_as_type", "is_pillow_image", "map_pillow_function", "pillow"]

T = TypeVar("T")


def pillow() -> Any:
    """Return the module ``PIL``, with the parts of it that are used here.

    Raises:
        ImportError: it is not installed.
    """
    try:
        for part in ("Image", "ImageEnhance", "ImageOps"):
            import_module(f"PIL.{part}")
    except ImportError as error:
        raise MissingDependencyError(
            "images of this kind need Pillow: pip install pillow. Tensors work without it"
        ) from error
    return import_module("PIL")


def is_pillow_image(value: object) -> bool:
    """Whether a value is an image of Pillow; does not import it."""
    return any(cls.__module__.startswith("PIL.") for cls in type(value).__mro__)


def image_as_type(image: Any, typ: type[T]) -> T:
    """Convert an image between Pillow and tensors.

    Args:
        image: an image of Pillow, or a tensor of shape (C, H, W): uint8, or floats in [0, 1].
        typ: ``torch.Tensor`` or ``PIL.Image.Image``.

    Returns:
        The image itself if it is of that type. Tensors made here are float32 in [0, 1].

    Raises:
        TypeError: the image or the type is of another kind.
        ValueError: the tensor is no image.

    Example:
        >>> image = image_as_type(torch.ones(3, 2, 2), pillow().Image.Image)
        >>> image.getpixel((0, 0))
        (255, 255, 255)
    """
    if isinstance(image, typ):
        return image
    if typ is torch.Tensor and is_pillow_image(image):
        return _to_tensor(image)  # pyright: ignore[reportReturnType]
    if isinstance(image, Tensor) and issubclass(typ, pillow().Image.Image):
        return _to_pillow(image)  # pyright: ignore[reportReturnType]
    raise ArgumentTypeError(
        f"cannot make a {typ.__name__} of a {type(image).__name__}; images are torch tensors or "
        "images of Pillow"
    )


def _to_tensor(image: Image) -> Tensor:
    if image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    values = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    pixels = values.reshape(image.height, image.width, -1).permute(2, 0, 1)
    return pixels.to(torch.float32).div_(255)


def _to_pillow(image: Tensor) -> Image:
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise DataError(
            f"an image must have the shape (1, H, W) or (3, H, W), got {tuple(image.shape)}"
        )
    if image.is_floating_point():
        image = image.mul(255).round().clamp_(0, 255)
    pixels = image.to(torch.uint8).cpu().permute(1, 2, 0).contiguous()
    height, width, channels = pixels.shape
    data = pixels.numpy().tobytes()
    return pillow().Image.frombytes("L" if channels == 1 else "RGB", (width, height), data)


def map_pillow_function(f_pil: Callable[[Any], Any], imgs: Any) -> Any:
    """Apply a function on images of Pillow to one such image, or to a tensor of images.

    Args:
        f_pil: takes an image of Pillow and returns one.
        imgs: an image of Pillow, or a tensor of shape (..., C, H, W): uint8, or floats in [0, 1].

    Returns:
        What came, changed: a tensor keeps its format and its device.
    """
    if not isinstance(imgs, Tensor):
        return f_pil(imgs)
    if imgs.ndim > 3:
        return torch.stack([map_pillow_function(f_pil, image) for image in imgs])
    changed = _to_tensor(f_pil(_to_pillow(imgs)))
    if not imgs.is_floating_point():
        changed = changed.mul_(255).round_()
    return changed.to(imgs)
