"""Proves, for the user's own model and loss, that gradients do not depend on the microbatch size.

The trainer weighs each microbatch by its samples (or by its tokens that generate loss). That is
exact where the loss is a mean over them; a loss that sums, or that takes a mean over something
else, trains differently at every microbatch size and number of devices, and no curve shows it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from composer.core.losses import read_losses
from composer.devices.device import Device
from composer.errors import ConfigError
from composer.models.base import ComposerModel
from composer.trainer.batch_source import BatchSource
from composer.utils.iter_helpers import map_collection

__all__ = ["GradientCheck", "check_gradients"]

_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class GradientCheck:
    """The result of a check.

    Attributes:
        num_samples: samples in the batch.
        microbatch_size: samples per microbatch it was cut into.
        largest_error: largest difference of a gradient, relative to the largest gradient of its
            parameter.
        parameter: the parameter with that difference.
        tolerance: what rounding in 64 bits may cause.
    """

    num_samples: int
    microbatch_size: int
    largest_error: float
    parameter: str
    tolerance: float = _TOLERANCE

    @property
    def is_exact(self) -> bool:
        """Whether the gradients are the same up to rounding."""
        return self.largest_error <= self.tolerance

    def require(self) -> None:
        """Refuse a model whose gradients depend on the microbatch size.

        Raises:
            ValueError: with the parameter that differs most, and what to do.
        """
        if self.is_exact:
            return
        raise ConfigError(
            f"the gradients of a batch of {self.num_samples} samples change when it is cut into "
            f"microbatches of {self.microbatch_size}: by {self.largest_error:.1%} for "
            f"{self.parameter!r}. The model's loss must be a mean over samples; a mean over tokens "
            "needs a batch that says which tokens count (labels of -100 elsewhere, or "
            "'loss_generating' from get_num_tokens_in_batch). Layers that mix samples, such as "
            "batch norm in training mode, are left out of this check"
        )


def check_gradients(
    model: ComposerModel,
    batch: Any,
    source: BatchSource,
    device: Device,
    microbatch_size: int | None,
) -> GradientCheck:
    """Compare the gradients of a whole batch with those of its microbatches.

    A copy of the model computes both, in 64 bits and in evaluation mode: no dropout, and batch norm
    with its running statistics.

    Args:
        model: the model; nothing in it changes.
        batch: a batch as the loader gives it.
        source: cuts and weighs it.
        device: where to compute.
        microbatch_size: samples per microbatch; by default cuts of uneven size.

    Raises:
        ValueError: the batch has only one sample.
    """
    num_samples = int(source.samples(batch))
    if num_samples < 2:
        raise ConfigError("a batch of one sample cannot be cut; check with a larger batch")
    if microbatch_size is None or microbatch_size >= num_samples:
        microbatch_size = max((num_samples * 2) // 3, 1)
    # float64 does not exist on MPS.
    exact = copy.deepcopy(model).double().eval()
    exact = exact.cpu() if device.name == "mps" else exact
    whole = _gradients(exact, [batch], source)
    cut = _gradients(exact, source.split(batch, microbatch_size), source)
    errors = {name: _relative_error(whole[name], cut[name]) for name in whole}
    worst = max(errors, key=lambda name: errors[name])
    return GradientCheck(num_samples, microbatch_size, errors[worst], worst)


def _gradients(
    model: ComposerModel, parts: Sequence[Any], source: BatchSource
) -> dict[str, torch.Tensor]:
    model.zero_grad(set_to_none=True)
    weights = [source.weight(part) for part in parts]
    total = sum(weights) or 1
    place = next(model.parameters()).device
    for part, weight in zip(parts, weights, strict=True):
        prepared = _as_double(source.prepare(part), place)
        with torch.enable_grad():
            loss, _ = read_losses(model.loss(model(prepared), prepared))
        (loss * (weight / total)).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def _as_double(value: Any, place: torch.device) -> Any:
    if isinstance(value, Mapping | tuple | list):
        return map_collection(value, lambda item: _as_double(item, place))
    if not isinstance(value, torch.Tensor):
        return value
    return value.to(place, torch.float64 if value.is_floating_point() else value.dtype)


def _relative_error(expected: torch.Tensor, actual: torch.Tensor) -> float:
    scale = expected.abs().max().clamp(min=1e-12)
    return float((expected - actual).abs().max() / scale)
