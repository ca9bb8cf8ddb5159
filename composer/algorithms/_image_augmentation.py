"""What methods share that change images, in batches of the loop or in a data set's transforms.

In the loop, whole batches are changed where they lie, after the data loader. In the data set,
single images are, by the workers of the loader.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from composer.algorithms._augment_tensors import OPERATIONS, TensorOperation
from composer.algorithms._checks import check_choice, check_flags, check_number, check_tensor
from composer.algorithms._mixing import Key
from composer.algorithms.utils.augmentation_primitives import AugmentationFn, augmentation_sets
from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError, DataError
from composer.utils.vision import add_vision_dataset_transform

__all__ = [
    "AugmentationSet",
    "ImageAugmentation",
    "add_transform",
    "check_severity",
    "from_unit_range",
    "functions_of",
    "operations_of",
    "to_unit_range",
]

AugmentationSet = str | Sequence[AugmentationFn]
"""The name of a set (``'all'``, ``'safe'``, ``'original'``), or functions on Pillow's images."""


def check_severity(severity: float, augmentation_set: AugmentationSet) -> None:
    """Refuse severities outside [0, 10] and sets that do not exist.

    Raises:
        ValueError: an argument is out of range.
    """
    check_number("severity", severity, 0, 10)
    if isinstance(augmentation_set, str):
        check_choice("augmentation_set", augmentation_set, augmentation_sets)
    elif not (isinstance(augmentation_set, Sequence) and augmentation_set):
        raise ConfigError(
            f"augmentation_set={augmentation_set!r} must be the name of a set, one of "
            f"{list(augmentation_sets)}, or a list of functions"
        )


def functions_of(augmentation_set: AugmentationSet) -> Sequence[AugmentationFn]:
    """Return the functions of a set on Pillow's images."""
    if isinstance(augmentation_set, str):
        return augmentation_sets[augmentation_set]
    return augmentation_set


def operations_of(augmentation_set: AugmentationSet) -> list[TensorOperation] | None:
    """Return the operations of a set on tensors; None if a function of it has no such form."""
    ours = {id(function) for each in augmentation_sets.values() for function in each}
    functions = functions_of(augmentation_set)
    if not all(id(function) in ours for function in functions):
        return None
    return [OPERATIONS[function.__name__] for function in functions]


def to_unit_range(images: Tensor) -> Tensor:
    """Return images as float32 in [0, 1], shape (N, C, H, W).

    Raises:
        ValueError: they have another shape.
    """
    if images.ndim != 4:
        raise DataError(f"images must have the shape (N, C, H, W), got {tuple(images.shape)}")
    return images.float() if images.is_floating_point() else images.float().div_(255)


def from_unit_range(images: Tensor, like: Tensor) -> Tensor:
    """Return images in the number format of ``like``; integers count 256 steps."""
    if like.is_floating_point():
        return images.to(like.dtype)
    return images.mul(255).round_().to(like.dtype)


def add_transform(
    method: Algorithm,
    state: State,
    transform: Callable[[Any], Any],
    is_tensor_transform: bool = False,
) -> None:
    """Add a transform to the data set that is trained on, once.

    Args:
        method: whose transform it is.
        state: the run's state.
        transform: the transform; it is not added where it already is.
        is_tensor_transform: see :func:`composer.utils.vision.add_vision_dataset_transform`.

    Raises:
        ValueError: the data set takes no transforms, or is evaluated on too.
    """
    dataset = _transformed_dataset(state.dataloader)
    name = type(method).__name__
    if dataset is None:
        own = type(getattr(state.dataloader, "dataset", state.dataloader)).__name__
        raise DataError(
            f"{name} with batch=False adds a transform to the data set, and a {own} has no "
            f"attribute 'transform'. Use {name}(batch=True) for batches of tensors."
        )
    if any(dataset is _transformed_dataset(each.dataloader) for each in state.evaluators):
        raise DataError(
            f"{name} would change the images of an evaluation too, which reads the same data set "
            f"object. Give evaluation a data set of its own, or use {name}(batch=True)."
        )
    if not _is_present(dataset.transform, transform):
        add_vision_dataset_transform(dataset, transform, is_tensor_transform)


def _transformed_dataset(loader: Any) -> Any:
    """Return the data set with transforms behind a loader, also where a Subset wraps it."""
    loader = getattr(loader, "dataloader", loader)
    dataset = getattr(loader, "dataset", None)
    while dataset is not None and not hasattr(dataset, "transform"):
        dataset = getattr(dataset, "dataset", None)
    return dataset


def _is_present(chain: Any, transform: Any) -> bool:
    return chain is transform or any(
        _is_present(each, transform) for each in getattr(chain, "transforms", ())
    )


class ImageAugmentation(Algorithm):
    """Changes images, in the batches of the loop or in the data set's transforms.

    Args:
        severity: from 0 to 10.
        augmentation_set: name of the set of operations.
        batch: change batches in the loop; otherwise add :meth:`transform` to the data set.
        input_key: where the images lie in a batch.
        mean: mean of each channel that batches were normalised with, if they were.
        std: standard deviation of each channel, likewise.
    """

    writes = ("batch",)

    def __init__(
        self,
        severity: float,
        augmentation_set: str,
        batch: bool,
        input_key: Key,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
    ) -> None:
        check_severity(severity, augmentation_set)
        check_flags(batch=batch)
        if (mean is None) != (std is None):
            raise ConfigError(f"give both mean and std, or neither; got mean={mean!r}, std={std!r}")
        self.severity = severity
        self.augmentation_set = augmentation_set
        self.batch = batch
        self.input_key = input_key
        self.mean = None if mean is None else list(mean)
        self.std = None if std is None else list(std)
        self.events = (
            {Event.AFTER_DATALOADER: "augment_batch"} if batch else {Event.FIT_START: "add"}
        )
        self._operations = operations_of(augmentation_set) or []
        self._transform: Callable[[Any], Any] | None = None
        self._scale: tuple[Tensor, Tensor] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Operations are found again by the set's name; some are lambdas, which no pickle holds.
        return {**self.__dict__, "_operations": None, "_scale": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._operations = operations_of(self.augmentation_set) or []

    @abstractmethod
    def transform(self) -> Callable[[Any], Any]:
        """Return what changes one image of the data set."""

    @abstractmethod
    def augment(self, images: Tensor, operations: list[TensorOperation]) -> Tensor:
        """Change images, float32 in [0, 1], shape (N, C, H, W)."""

    def add(self, state: State, logger: Logger) -> None:
        """Add the transform to the data set that is trained on."""
        if self._transform is None:
            self._transform = self.transform()
        add_transform(self, state, self._transform)

    def augment_batch(self, state: State, logger: Logger) -> None:
        """Change the images of the batch."""
        images = check_tensor(self, "inputs", state.batch_get_item(self.input_key))
        pixels = to_unit_range(images)
        if self.mean is None or self.std is None:
            pixels = self.augment(pixels, self._operations)
        else:
            mean, std = self._known_scale(self.mean, self.std, images.device)
            pixels = self.augment((pixels * std + mean).clamp_(0, 1), self._operations)
            pixels = (pixels - mean) / std
        state.batch_set_item(self.input_key, from_unit_range(pixels, images))

    def _known_scale(
        self, mean: list[float], std: list[float], device: torch.device
    ) -> tuple[Tensor, Tensor]:
        if self._scale is None or self._scale[0].device != device:
            columns = torch.tensor([mean, std])[:, None, :, None, None].to(device)
            self._scale = columns[0], columns[1]
        return self._scale
