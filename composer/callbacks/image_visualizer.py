"""Show what the model is fed, and how it segments it."""

from __future__ import annotations

from typing import Any

import torch

from composer.callbacks._due import DueBatches
from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.core.time import Time
from composer.errors import ConfigError, DataError

__all__ = ["ImageVisualizer"]

TRAIN_NAME, EVAL_NAME = "Images/Train", "Images/Eval"


class ImageVisualizer(Callback):
    """Logs images of the training batch at intervals, and of each evaluation's first batch.

    The images are those the model sees, after every method that changes them. They are called
    ``Images/Train`` and ``Images/Eval``.

    Args:
        interval: how often in training, in batches (``'100ba'`` or a number) or epochs.
        mode: ``'input'`` for images only; ``'segmentation'`` adds the predicted classes and the
            targets as masks.
        num_images: how many images of a batch, at least 1.
        channels_last: whether the last axis of an image holds its channels.
        input_key: where the images are in the batch, an index, a name or a callable.
        target_key: where the targets are, for ``'segmentation'``.

    Raises:
        ValueError: an argument that cannot work.
    """

    def __init__(
        self,
        interval: int | str | Time[int] = "100ba",
        mode: str = "input",
        num_images: int = 8,
        channels_last: bool = False,
        input_key: Any = 0,
        target_key: Any = 1,
    ) -> None:
        if mode not in ("input", "segmentation"):
            raise ConfigError(f"mode={mode!r} must be 'input' or 'segmentation'")
        if num_images < 1:
            raise ConfigError(f"num_images={num_images!r} must be at least 1")
        self._batches = DueBatches(interval)
        self.mode = mode
        self.num_images = num_images
        self.channels_last = channels_last
        self.input_key = input_key
        self.target_key = target_key
        self._eval_is_shown = False

    def before_forward(self, state: State, logger: Logger) -> None:
        """Log the images that are trained on, if it is time."""
        if self.mode == "input" and self._batches.is_due(state):
            self._log_inputs(state, logger, TRAIN_NAME)

    def before_loss(self, state: State, logger: Logger) -> None:
        """Log images with masks, if it is time."""
        if self.mode == "segmentation" and self._batches.is_due(state):
            self._log_segmentation(state, logger, TRAIN_NAME)

    def eval_start(self, state: State, logger: Logger) -> None:
        """Begin an evaluator, whose first batch will be shown."""
        del state, logger
        self._eval_is_shown = False

    def eval_before_forward(self, state: State, logger: Logger) -> None:
        """Log the images of an evaluation's first batch."""
        if self.mode == "input" and not self._eval_is_shown:
            self._eval_is_shown = True
            self._log_inputs(state, logger, EVAL_NAME)

    def eval_after_forward(self, state: State, logger: Logger) -> None:
        """Log the images of an evaluation's first batch, with masks."""
        if self.mode == "segmentation" and not self._eval_is_shown:
            self._eval_is_shown = True
            self._log_segmentation(state, logger, EVAL_NAME)

    def _log_inputs(self, state: State, logger: Logger, name: str) -> None:
        images = self._images(state)
        logger.log_images(images, name, self.channels_last, use_table=False)

    def _log_segmentation(self, state: State, logger: Logger, name: str) -> None:
        outputs = state.outputs
        if not isinstance(outputs, torch.Tensor) or outputs.ndim != 4:
            shape = getattr(outputs, "shape", None)
            found = type(outputs).__name__ if shape is None else tuple(shape)
            raise DataError(
                "ImageVisualizer(mode='segmentation') needs outputs of shape (samples, classes, "
                f"height, width), got {found}; use mode='input' for other models"
            )
        num_classes = outputs.shape[1]
        predicted = outputs[: self.num_images].detach().argmax(dim=1)
        targets = state.batch_get_item(self.target_key)[: self.num_images].detach()
        # Pixels without a class (negative) get one of their own.
        targets = targets.where(targets >= 0, num_classes)
        logger.log_images(
            self._images(state),
            name,
            self.channels_last,
            masks={"pred": predicted.cpu(), "targets": targets.cpu()},
            mask_class_labels={num_classes: "no class"},
            use_table=False,
        )

    def _images(self, state: State) -> torch.Tensor:
        images = state.batch_get_item(self.input_key)
        if not isinstance(images, torch.Tensor):
            raise DataError(
                f"ImageVisualizer found {type(images).__name__} under input_key="
                f"{self.input_key!r}, no tensor of images"
            )
        return images[: self.num_images].detach().cpu()
