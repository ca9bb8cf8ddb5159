"""Progressive resizing: begin with small images and let them grow during training.

Papers: Howard, fast.ai, DAWNBench 2018; Touvron, Vedaldi, Douze, Jegou, "Fixing the train-test
resolution discrepancy", 2019, arXiv:1906.06423.

Idea: early training sees images scaled by ``initial_scale``, which costs its square; then they grow
linearly, and the last part of training sees them in full size.

When it helps: convolutional networks that end in global pooling; most when the GPU is the
bottleneck. When it hurts: models of fixed input size, small images (32 pixels leave little to
scale), and data loaders that are the bottleneck already. Each new size makes a compiled model
compile again; a large ``size_increment`` keeps the sizes few.

Suggested values: ``initial_scale=0.5, delay_fraction=0.5, finetune_fraction=0.2``.
``mode='resize'`` for large images, ``'area'`` for small ones, whose pixels are too few to skip any,
``'crop'`` where details of the original resolution matter.
``size_increment`` a multiple of the model's total stride.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from composer.algorithms._checks import (
    check_choice,
    check_flags,
    check_number,
    check_tensor,
    check_whole,
)
from composer.algorithms._mixing import Key
from composer.algorithms._run_length import warn_if_never_due
from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError, DataError

__all__ = ["ProgressiveResizing", "resize_batch"]

_MODES = ("resize", "area", "crop")
_MAX_MULTIPLIED_SIDE = 64


def resize_batch(
    input: Tensor,
    target: Tensor,
    scale_factor: float,
    mode: str = "resize",
    resize_targets: bool = False,
) -> tuple[Tensor, Tensor]:
    """Scale the images of a batch down.

    Args:
        input: images, shape (N, C, H, W); a channels-last batch stays channels last.
        target: their targets; used with ``resize_targets`` only, then shape (N, ..., H, W).
        scale_factor: new side length over old one, in (0, 1].
        mode: ``'resize'`` takes the nearest pixels, ``'area'`` the mean of those that a new pixel
            covers, ``'crop'`` cuts one random window, the same for all images of the batch and
            placed with torch's CPU generator. Targets are resized by the nearest pixels only.
        resize_targets: whether targets are resized, or cropped, in the same way.

    Returns:
        Images and targets with sides ``round(scale_factor * H)`` and ``round(scale_factor * W)``.

    Raises:
        ValueError: an argument is out of range, or targets to resize are not as large as images.

    Example:
        >>> images, labels = resize_batch(torch.rand(2, 3, 8, 8), torch.zeros(2), 0.5)
        >>> images.shape
        torch.Size([2, 3, 4, 4])
    """
    check_number("scale_factor", scale_factor, high=1, above=0)
    check_choice("mode", mode, _MODES)
    _check_shapes(input, target, resize_targets)
    height, width = (max(1, round(side * scale_factor)) for side in input.shape[-2:])
    return _resize(input, target, (height, width), mode, resize_targets)


def _check_shapes(input: Tensor, target: Tensor, resize_targets: bool) -> None:
    if input.ndim != 4:
        raise DataError(f"images must have the shape (N, C, H, W), got {tuple(input.shape)}")
    if resize_targets and (target.ndim < 3 or target.shape[-2:] != input.shape[-2:]):
        raise DataError(
            f"resize_targets=True needs targets as large as the images, got {tuple(target.shape)} "
            f"for images of {tuple(input.shape)}"
        )


def _resize(
    input: Tensor, target: Tensor, size: tuple[int, int], mode: str, resize_targets: bool
) -> tuple[Tensor, Tensor]:
    if tuple(input.shape[-2:]) == size:
        return input, target
    if mode != "crop":
        resized = _nearest(input, size) if mode == "resize" else _mean_pixels(input, size)
        return resized, _nearest(target, size) if resize_targets else target
    top, left = _draw_corner(input, size)
    window = (..., slice(top, top + size[0]), slice(left, left + size[1]))
    return _compact(input, window), _compact(target, window) if resize_targets else target


def _nearest(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Take the nearest pixels; class indices and masks without a channel dimension too."""
    maps = images if images.ndim == 4 else images.unsqueeze(1)
    if not images.is_floating_point() and images.dtype is not torch.uint8:
        # torch resizes no integers; float32 holds indices below 2**24 exactly.
        maps = maps.float()
    resized = F.interpolate(maps, size=size, mode="nearest").to(images.dtype)
    return resized if images.ndim == 4 else resized.squeeze(1)


def _mean_pixels(images: Tensor, size: tuple[int, int]) -> Tensor:
    if _multiplies_well(images):
        return _multiplied_means(images, size)
    means = F.interpolate(images.float(), size=size, mode="area")
    return (means if images.is_floating_point() else means.round_()).to(images.dtype)


def _multiplies_well(images: Tensor) -> bool:
    """Whether matrix products give the means in less time, and as exactly.

    On a CPU they take half the time of torch's pooling for images of 32 pixels, nearly the same for
    128, and up to 1.6 times as much for 224.
    """
    is_small = max(images.shape[-2:]) <= _MAX_MULTIPLIED_SIDE
    is_exact = images.dtype is torch.float32 and torch.get_float32_matmul_precision() == "highest"
    return is_small and is_exact and images.device.type == "cpu"


def _multiplied_means(images: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = images.shape[-2:]
    with torch.autocast("cpu", enabled=False):  # it would round the factors to bfloat16
        means = _averages(height, size[0]) @ (images @ _averages(width, size[1]).T)
    return means.contiguous(memory_format=_memory_format(images))


def _averages(full: int, small: int) -> Tensor:
    """The matrix, shape (small, full), whose rows average the pixels that a new pixel covers."""
    return F.adaptive_avg_pool1d(torch.eye(full, dtype=torch.float32, device="cpu"), small).T


def _draw_corner(input: Tensor, size: tuple[int, int]) -> tuple[int, int]:
    first, second = torch.rand(2, dtype=torch.float64).tolist()
    height, width = input.shape[-2:]
    return int(first * (height - size[0] + 1)), int(second * (width - size[1] + 1))


def _compact(images: Tensor, window: tuple[Any, ...]) -> Tensor:
    """Cut a window out and store it without gaps, in the memory order of the whole."""
    return images[window].contiguous(memory_format=_memory_format(images))


def _memory_format(images: Tensor) -> torch.memory_format:
    is_channels_last = images.ndim == 4 and images.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_channels_last else torch.contiguous_format


class ProgressiveResizing(Algorithm):
    """Scale batches down early in training; see :func:`resize_batch`.

    The scale is ``initial_scale`` until ``delay_fraction`` of training, then grows linearly to 1,
    which it reaches at ``1 - finetune_fraction``. Logs ``progressive_resizing/height``, ``/width``
    (pixels) and ``/scale_factor`` with each batch.

    Args:
        mode: ``'resize'``, ``'area'`` or ``'crop'``.
        initial_scale: scale of the side length at the start, in (0, 1].
        finetune_fraction: share of training at full size at the end, in [0, 1].
        delay_fraction: share of training at the initial scale at the start, in [0, 1]; both shares
            together at most 1.
        size_increment: sides are rounded to multiples of this many pixels, >= 1.
        resize_targets: whether targets are resized too.
        input_key: where the images lie in a batch, see :meth:`State.batch_get_item`.
        target_key: where the targets lie in a batch.

    Raises:
        ValueError: an argument is out of range.
    """

    events: Mapping[Event, str] = {Event.FIT_START: "look_ahead", Event.AFTER_DATALOADER: "resize"}
    writes = ("batch",)

    def __init__(
        self,
        mode: str = "resize",
        initial_scale: float = 0.5,
        finetune_fraction: float = 0.2,
        delay_fraction: float = 0.5,
        size_increment: int = 4,
        resize_targets: bool = False,
        input_key: Key = 0,
        target_key: Key = 1,
    ) -> None:
        check_choice("mode", mode, _MODES)
        check_number("initial_scale", initial_scale, high=1, above=0)
        check_number("finetune_fraction", finetune_fraction, 0, 1)
        check_number("delay_fraction", delay_fraction, 0, 1)
        check_whole("size_increment", size_increment, 1)
        check_flags(resize_targets=resize_targets)
        if delay_fraction + finetune_fraction > 1:
            raise ConfigError(
                f"delay_fraction={delay_fraction!r} and finetune_fraction={finetune_fraction!r} "
                "overlap; together they may be at most 1"
            )
        self.mode = mode
        self.initial_scale = initial_scale
        self.finetune_fraction = finetune_fraction
        self.delay_fraction = delay_fraction
        self.size_increment = int(size_increment)
        self.resize_targets = resize_targets
        self.input_key = input_key
        self.target_key = target_key

    def apply(self, event: Event, state: State, logger: Logger | None = None) -> None:
        """Act on an event; a logger is not needed."""
        super().apply(event, state, cast("Logger", logger))

    def look_ahead(self, state: State, logger: Logger | None) -> None:
        """Warn where the run is too short for images to get to their full size."""
        if self.finetune_fraction > 0:
            warn_if_never_due(
                self, state, "trains at full size", lambda done: self.scale_at(done) == 1.0
            )

    def resize(self, state: State, logger: Logger | None) -> None:
        """Resize the batch to the size that is due."""
        images = check_tensor(self, "inputs", state.batch_get_item(self.input_key))
        target = state.batch_get_item(self.target_key) if self.resize_targets else images
        _check_shapes(images, check_tensor(self, "targets", target), self.resize_targets)
        elapsed = state.get_elapsed_duration()
        scale = self.scale_at(0.0 if elapsed is None else elapsed.value)
        height, width = (self._side(side, scale) for side in images.shape[-2:])
        resized, target = _resize(images, target, (height, width), self.mode, self.resize_targets)
        state.batch_set_item(self.input_key, resized)
        if self.resize_targets:
            state.batch_set_item(self.target_key, target)
        if logger is not None:
            logger.log_metrics(
                {
                    "progressive_resizing/height": height,
                    "progressive_resizing/width": width,
                    "progressive_resizing/scale_factor": width / images.shape[-1],
                }
            )

    def scale_at(self, elapsed: float) -> float:
        """Return the scale of the side length after a share of training, before rounding.

        Args:
            elapsed: share of training that is done, in [0, 1].
        """
        growth_end = 1 - self.finetune_fraction
        if elapsed >= growth_end:
            return 1.0
        progress = max(elapsed - self.delay_fraction, 0.0) / (growth_end - self.delay_fraction)
        return self.initial_scale + (1 - self.initial_scale) * progress

    def _side(self, full: int, scale: float) -> int:
        if scale == 1.0:
            return full
        steps = max(1, math.floor(full * scale / self.size_increment + 0.5))
        return min(full, steps * self.size_increment)
