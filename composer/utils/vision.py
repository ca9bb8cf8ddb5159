"""Add a transform to a vision data set, before or after images become tensors.

Works on any data set with a ``transform`` (torchvision's, and those made like them); torchvision
itself is not needed.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from typing import Any

from composer.errors import ArgumentTypeError

__all__ = ["TransformChain", "add_vision_dataset_transform"]

log = logging.getLogger(__name__)

_TO_TENSOR = frozenset({"ToTensor", "PILToTensor", "ToImage", "ToImageTensor"})


class TransformChain:
    """Applies transforms one after the other.

    Args:
        transforms: the transforms, first to last.
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = list(transforms)

    def __call__(self, image: Any) -> Any:
        """Return the transformed image."""
        for transform in self.transforms:
            image = transform(image)
        return image

    def __repr__(self) -> str:
        return f"TransformChain({self.transforms!r})"


def add_vision_dataset_transform(
    dataset: Any, transform: Callable[[Any], Any], is_tensor_transform: bool = False
) -> None:
    """Add a transform to a data set's transforms, in place.

    Args:
        dataset: a data set with an attribute ``transform``.
        transform: the function to add.
        is_tensor_transform: whether it acts on tensors. Then it goes right behind the transform
            that makes tensors (``ToTensor``), else right before it; without such a one it goes
            last.

    Raises:
        TypeError: the data set has no ``transform``.
    """
    if not hasattr(dataset, "transform"):
        raise ArgumentTypeError(
            f"a {type(dataset).__name__} has no attribute 'transform' to add {transform!r} to"
        )
    dataset.transform = _joined(dataset.transform, transform, is_tensor_transform)
    # torchvision keeps the transform a second time, and some data sets use only that one.
    pair: Any = getattr(dataset, "transforms", None)
    if hasattr(pair, "transform"):
        pair = copy.copy(pair)
        pair.transform = dataset.transform
        dataset.transforms = pair
    log.info("transform %s added; the data set now has %s", transform, dataset.transform)


def _joined(present: Any, transform: Callable[[Any], Any], is_tensor_transform: bool) -> Any:
    if present is None:
        return transform
    is_chain = isinstance(getattr(present, "transforms", None), list | tuple)
    chain: list[Any] = list(present.transforms) if is_chain else [present]
    place = len(chain)
    for index, each in enumerate(chain):
        if type(each).__name__ in _TO_TENSOR:
            place = index + is_tensor_transform
            break
    chain.insert(place, transform)
    if not is_chain:
        return TransformChain(chain)
    # A copy: the same Compose may serve another data set, of validation images say.
    joined = copy.copy(present)
    joined.transforms = chain
    return joined
