"""Gradient clipping: bound gradients before the parameters change.

Papers: by norm, Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural
networks", 2012, arXiv:1211.5063; adaptive, Brock, De, Smith, Simonyan, "High-Performance
Large-Scale Image Recognition Without Normalization", 2021, arXiv:2102.06171, section 4.1.

Idea: ``'norm'`` scales all gradients together so that their L2 norm is at most the threshold;
``'value'`` limits each entry; ``'adaptive'`` (AGC) limits each output unit's gradient to the
threshold times the norm of that unit's weights.

When it helps: transformers and recurrent networks, large learning rates, rare batches with huge
losses; AGC where there is no batch normalisation and batches are large. When it hurts: a threshold
that is met on every batch is a hidden smaller learning rate; ``'value'`` turns the gradient's
direction.

Suggested values: ``'norm'`` 1.0 for language models; ``'adaptive'`` 0.01 for large, up to 0.16 for
small batches; ``'value'`` 1.0 as a safety net. Nothing here waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from composer.algorithms._checks import check_choice, check_number
from composer.algorithms._foreach import prefers_foreach
from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError

__all__ = ["GradientClipping", "apply_gradient_clipping"]

ClippingType = Literal["norm", "value", "adaptive"]

_TYPES = ("norm", "value", "adaptive")
# Brock et al. give units of (almost) zero weights this norm, so that they can leave zero.
_MIN_WEIGHT_NORM = 1e-3
# Below this a gradient is never clipped; it keeps the quotient finite.
_MIN_GRADIENT_NORM = 1e-6


def apply_gradient_clipping(
    model: torch.nn.Module | Iterable[Tensor],
    clipping_type: ClippingType,
    clipping_threshold: float,
    fsdp_enabled: bool = False,
) -> None:
    """Clip the gradients of a model, in place.

    Args:
        model: the model, or parameters; those without gradient are left out.
        clipping_type: ``'norm'``, ``'value'`` or ``'adaptive'``.
        clipping_threshold: largest total norm, largest absolute entry, or largest quotient of
            gradient and weight norms of a unit; > 0.
        fsdp_enabled: whether the model is sharded; then ``'adaptive'`` is refused, because a unit's
            norm may be spread over ranks.

    Raises:
        ValueError: an argument is not allowed.

    Example:
        >>> line = torch.nn.Linear(1, 1, bias=False)
        >>> line.weight.grad = torch.tensor([[-8.0]])
        >>> apply_gradient_clipping(line, "norm", 2.0)
        >>> line.weight.grad
        tensor([[-2.0000]])

    Source:
        Pascanu et al. 2012, algorithm 1; Brock et al. 2021, equation (3).
    """
    _check(clipping_type, clipping_threshold)
    if clipping_type == "adaptive" and fsdp_enabled:
        raise ConfigError(
            "clipping_type='adaptive' does not work on a sharded model: a unit's weights may "
            "lie on several ranks. Use 'norm' or 'value'"
        )
    tensors = model.parameters() if isinstance(model, torch.nn.Module) else model
    parameters = [parameter for parameter in tensors if parameter.grad is not None]
    if not parameters:
        return
    if clipping_type == "adaptive":
        _clip_adaptively(parameters, clipping_threshold)
        return
    foreach = prefers_foreach(parameters[0])
    if clipping_type == "norm":
        torch.nn.utils.clip_grad_norm_(parameters, clipping_threshold, foreach=foreach)
    else:
        torch.nn.utils.clip_grad_value_(parameters, clipping_threshold, foreach=foreach)


@torch.no_grad()
def _clip_adaptively(parameters: list[Tensor], threshold: float) -> None:
    """Scale gradient ``G_i`` of unit i by ``min(1, threshold * max(|W_i|, eps) / |G_i|)``."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    limits = [_unit_norms(parameter) for parameter in parameters]
    norms = [_unit_norms(gradient) for gradient in gradients]
    torch._foreach_clamp_min_(limits, _MIN_WEIGHT_NORM)
    torch._foreach_mul_(limits, threshold)
    torch._foreach_clamp_min_(norms, _MIN_GRADIENT_NORM)
    torch._foreach_div_(limits, norms)
    torch._foreach_clamp_max_(limits, 1.0)
    torch._foreach_mul_(gradients, limits)


def _unit_norms(tensor: Tensor) -> Tensor:
    """L2 norms of the output units (dimension 0); biases and gains are one unit together."""
    if tensor.ndim <= 1:
        return torch.linalg.vector_norm(tensor)
    return torch.linalg.vector_norm(tensor, dim=tuple(range(1, tensor.ndim)), keepdim=True)


def _check(clipping_type: str, clipping_threshold: float) -> None:
    check_choice("clipping_type", clipping_type, _TYPES)
    check_number("clipping_threshold", clipping_threshold, high=math.inf, above=0)


class GradientClipping(Algorithm):
    """Clip gradients before the parameter update; see :func:`apply_gradient_clipping`.

    Gradients are complete and unscaled then, so the threshold does not depend on microbatches or
    on loss scaling.

    Args:
        clipping_type: ``'norm'``, ``'value'`` or ``'adaptive'``.
        clipping_threshold: largest total norm, largest absolute entry, or largest quotient of
            gradient and weight norms of a unit; > 0.

    Raises:
        ValueError: an argument is not allowed.
    """

    events: Mapping[Event, str] = {
        Event.FIT_START: "collect",
        Event.AFTER_TRAIN_BATCH: "clip",
    }
    writes = ("model",)

    def __init__(self, clipping_type: ClippingType, clipping_threshold: float) -> None:
        _check(clipping_type, clipping_threshold)
        self.clipping_type: ClippingType = clipping_type
        self.clipping_threshold = clipping_threshold
        self._parameters: list[Tensor] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A copy belongs to another run.
        return {**self.__dict__, "_parameters": None}

    def collect(self, state: State, logger: Logger) -> None:
        """Look the parameters up once: walking through a model takes longer than clipping."""
        self._parameters = list(state.model.parameters())

    def clip(self, state: State, logger: Logger) -> None:
        """Clip the model's gradients."""
        apply_gradient_clipping(
            state.model if self._parameters is None else self._parameters,
            self.clipping_type,
            self.clipping_threshold,
            state.fsdp_enabled,
        )
