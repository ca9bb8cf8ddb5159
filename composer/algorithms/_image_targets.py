"""Targets that are images too, such as masks, and must go along with what happens to the images."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from composer.errors import ConfigError, DataError

__all__ = ["TreatTarget", "check_treat_target", "treats_target"]

TreatTarget = bool | Literal["auto"]
"""Whether targets are treated as the images are; ``'auto'``: if they are as large."""


def check_treat_target(name: str, value: TreatTarget) -> None:
    """Refuse what is neither True nor False nor ``'auto'``.

    Raises:
        ValueError: with the argument's name.
    """
    if value not in (True, False, "auto"):
        raise ConfigError(f"{name}={value!r} must be True, False or 'auto'")


def treats_target(name: str, images: Any, target: Any, wish: TreatTarget) -> bool:
    """Return whether a target is to be treated as its images are.

    Args:
        name: the argument's name, for the message.
        images: a tensor of shape (..., H, W), or an image of Pillow.
        target: anything.
        wish: the argument.

    Raises:
        ValueError: it shall be, and is not as large as the images.
    """
    if wish is False:
        return False
    size = _size(target)
    is_as_large = size is not None and size == _size(images)
    if wish is True and not is_as_large:
        raise DataError(
            f"{name}=True needs targets as large as the images, got {_shown(target)} for "
            f"{_shown(images)}"
        )
    return is_as_large


def _size(value: Any) -> tuple[int, ...] | None:
    """Height and width of images; None for what is none, such as labels and probabilities."""
    if isinstance(value, Tensor):
        return tuple(value.shape[-2:]) if value.ndim > 2 else None
    size = getattr(value, "size", None)
    return tuple(reversed(size)) if isinstance(size, tuple) else None


def _shown(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else repr(value)
