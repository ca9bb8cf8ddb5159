"""ColOut: leave out random rows and columns of the images.

Source: an idea of the original Composer's authors, 2021; a relative of random cropping and of
stochastic resizing.

Idea: of each image ``1 - p_row`` of its rows and ``1 - p_col`` of its columns are kept, in order.
Images get smaller, and so the step gets faster; what is left is slightly distorted.

When it helps: throughput of convolutional networks at little cost in accuracy, where the GPU is
the bottleneck. When it hurts: small images, fine textures, targets that are positions. No
independent gain beyond its own authors' reports is known to us.

Suggested values: ``p_row=p_col=0.15`` for large images, 0.05 for small ones. ``batch=True`` leaves
out the same rows and columns in all images of a batch and costs almost nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from composer.algorithms._checks import check_flags, check_number, check_tensor
from composer.algorithms._image_augmentation import add_transform
from composer.algorithms._image_targets import TreatTarget, check_treat_target, treats_target
from composer.algorithms._mixing import Key
from composer.algorithms.utils.augmentation_common import image_as_type
from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError, DataError

__all__ = ["ColOut", "ColOutTransform", "colout_batch"]


def colout_batch(
    sample: Any, p_row: float = 0.15, p_col: float = 0.15, resize_target: TreatTarget = "auto"
) -> Any:
    """Leave out random rows and columns, the same in all images.

    Args:
        sample: images, shape (..., H, W), or an image of Pillow; or a pair of these and a target.
        p_row: share of rows to leave out, in [0, 1]; one row always stays.
        p_col: share of columns to leave out, likewise.
        resize_target: treat the target of a pair alike; ``'auto'`` does if it is a tensor of three
            or more dimensions with the images' height and width, or an image of Pillow of their
            size.

    Returns:
        What came, with ``int((1 - p_row) * H)`` rows and ``int((1 - p_col) * W)`` columns.

    Raises:
        ValueError: an argument is out of range, or a target to resize is not as large as the
            images.

    Example:
        >>> colout_batch(torch.rand(2, 3, 20, 20), p_row=0.5, p_col=0.25).shape
        torch.Size([2, 3, 10, 15])
    """
    _check(p_row, p_col, resize_target)
    if not isinstance(sample, tuple | list):
        return _keep_of(sample, *_draw(_as_tensor(sample), p_row, p_col))
    if len(sample) != 2:
        raise DataError(f"a sample must be a pair (input, target), got {len(sample)} parts")
    images, target = sample
    kept = _draw(_as_tensor(images), p_row, p_col)
    if treats_target("resize_target", images, target, resize_target):
        target = _keep_of(target, *kept)
    return _keep_of(images, *kept), target


def _draw(images: Tensor, p_row: float, p_col: float) -> tuple[Tensor, Tensor]:
    """Return the rows and the columns to keep, int64, on the images' device."""
    height, width = images.shape[-2:]
    return tuple(  # pyright: ignore[reportReturnType]
        torch.randperm(size, device=images.device)[: max(1, int((1 - share) * size))].sort().values
        for size, share in ((height, p_row), (width, p_col))
    )


def _keep_of(images: Any, rows: Tensor, columns: Tensor) -> Any:
    if isinstance(images, Tensor):
        return images.index_select(-2, rows).index_select(-1, columns)
    return image_as_type(_keep_of(_as_tensor(images), rows, columns), type(images))


def _as_tensor(images: Any) -> Tensor:
    tensor = image_as_type(images, Tensor)
    if tensor.ndim < 2:
        raise DataError(f"images must have the shape (..., H, W), got {tuple(tensor.shape)}")
    return tensor


def _check(p_row: float, p_col: float, resize_target: TreatTarget) -> None:
    check_number("p_row", p_row, 0, 1)
    check_number("p_col", p_col, 0, 1)
    check_treat_target("resize_target", resize_target)


class ColOutTransform:
    """:func:`colout_batch` as a transform of a data set; each image keeps rows of its own.

    Args:
        p_row: share of rows to leave out, in [0, 1].
        p_col: share of columns to leave out, in [0, 1].
        resize_target: see :func:`colout_batch`.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self, p_row: float = 0.15, p_col: float = 0.15, resize_target: TreatTarget = "auto"
    ) -> None:
        _check(p_row, p_col, resize_target)
        self.p_row = p_row
        self.p_col = p_col
        self.resize_target: TreatTarget = resize_target

    def __call__(self, *sample: Any) -> Any:
        """Return a smaller image, or a pair of image and target."""
        inner = sample[0] if len(sample) == 1 else sample
        return colout_batch(inner, self.p_row, self.p_col, self.resize_target)


class ColOut(Algorithm):
    """Leave out rows and columns of the images; see :func:`colout_batch`.

    Args:
        p_row: share of rows to leave out, in [0, 1].
        p_col: share of columns to leave out, in [0, 1].
        batch: act on batches in the loop; otherwise add a `ColOutTransform` to the data set's
            transforms of images, so that each image keeps rows of its own.
        resize_target: treat targets alike, see :func:`colout_batch`; on batches only.
        input_key: where the images lie in a batch, see :meth:`State.batch_get_item`.
        target_key: where the targets lie in a batch.

    Raises:
        ValueError: an argument is out of range.
    """

    writes = ("batch",)

    def __init__(
        self,
        p_row: float = 0.15,
        p_col: float = 0.15,
        batch: bool = True,
        resize_target: TreatTarget = "auto",
        input_key: Key = 0,
        target_key: Key = 1,
    ) -> None:
        _check(p_row, p_col, resize_target)
        check_flags(batch=batch)
        if resize_target is True and not batch:
            raise ConfigError(
                "resize_target=True needs batch=True: a transform of images sees no targets"
            )
        self.p_row = p_row
        self.p_col = p_col
        self.batch = batch
        self.resize_target: TreatTarget = resize_target
        self.input_key = input_key
        self.target_key = target_key
        self.events = {Event.AFTER_DATALOADER: "cut"} if batch else {Event.FIT_START: "add"}
        self._transform: Callable[[Any], Any] | None = None

    def add(self, state: State, logger: Logger) -> None:
        """Add the transform to the data set that is trained on."""
        if self._transform is None:
            self._transform = ColOutTransform(self.p_row, self.p_col, self.resize_target)
        add_transform(self, state, self._transform)

    def cut(self, state: State, logger: Logger) -> None:
        """Leave out rows and columns of the batch."""
        images = check_tensor(self, "inputs", state.batch_get_item(self.input_key))
        if self.resize_target is False:
            images = colout_batch(images, self.p_row, self.p_col)
        else:
            target = state.batch_get_item(self.target_key)
            pair = colout_batch((images, target), self.p_row, self.p_col, self.resize_target)
            images, resized = pair
            if resized is not target:
                state.batch_set_item(self.target_key, resized)
        state.batch_set_item(self.input_key, images)
