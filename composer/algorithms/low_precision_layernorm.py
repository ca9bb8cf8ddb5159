"""Low precision layer norm: normalise in the autocast's number format instead of in float32.

Source: MosaicML, 2022; no paper. Layer norm: Ba, Kiros, Hinton, 2016, arXiv:1607.06450.

Idea: autocast keeps layer norm in float32, so activations are widened before it and narrowed after
it. Transformers are bound by memory traffic there. Casting inputs and parameters down instead
halves it; the kernels still add up in float32.

When it helps: transformers in bfloat16 or float16 on GPUs, in which layer norms take a visible
share of the time. When it hurts: compiled models, whose casts are fused away, gain little or
nothing; the output is rounded to the low format, which very deep float16 models may not like.

Suggested values: the default, ``apply_at='init'``. It acts with ``precision='amp_bf16'`` and
``'amp_fp16'`` only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from composer.algorithms._low_precision import (
    LowPrecisionNorm,
    autocast_format,
    cast_all,
    replace_norms,
)
from composer.core.logger import Logger
from composer.core.precision import Precision
from composer.core.state import State

__all__ = ["LPLayerNorm", "LowPrecisionLayerNorm", "apply_low_precision_layernorm"]


def apply_low_precision_layernorm(
    model: nn.Module,
    precision: str | Precision | None = None,
    optimizers: Optimizer | Sequence[Optimizer] | None = None,
) -> None:
    """Replace each ``LayerNorm`` of a model by an :class:`LPLayerNorm` with its parameters.

    A `NoEffectWarning` says so where there is none, or where the number format has no autocast.

    Args:
        model: the model, changed in place.
        precision: the number format it will run in; ``None`` where that is not known yet.
        optimizers: optimizers of the model's parameters, which need no change: parameters stay
            the objects they are.

    Raises:
        ValueError: no such number format.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
        >>> apply_low_precision_layernorm(model)
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     model(torch.rand(2, 4)).dtype
        torch.bfloat16
    """
    replace_norms(model, nn.LayerNorm, LPLayerNorm, LPLayerNorm.like, precision, optimizers)


class LPLayerNorm(nn.LayerNorm):
    """A layer norm that computes in the autocast's number format; arguments as in torch's."""

    @classmethod
    def like(cls, norm: nn.LayerNorm) -> LPLayerNorm:
        """Make one with the parameters of another layer norm.

        Args:
            norm: the other one.
        """
        shape = list(norm.normalized_shape)
        new = cls(shape, norm.eps, norm.elementwise_affine, device="meta")
        new.weight, new.bias = norm.weight, norm.bias
        return new

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] - Composer's name
        """Normalise over the last dimensions.

        Args:
            x: shape (..., *normalized_shape).

        Returns:
            The same shape; in the autocast's number format where one is on.
        """
        dtype = autocast_format(x)
        if dtype is None:
            return super().forward(x)
        weight, bias = cast_all(dtype, self.weight, self.bias)
        with torch.autocast(x.device.type, enabled=False):
            return F.layer_norm(x.to(dtype), self.normalized_shape, weight, bias, self.eps)


class LowPrecisionLayerNorm(LowPrecisionNorm):
    """Replace layer norms; see :func:`apply_low_precision_layernorm`.

    Args:
        apply_at: when: ``'init'``, ``'before_load'`` or ``'after_load'``.

    Raises:
        ValueError: another event.
    """

    def convert(self, state: State, logger: Logger) -> None:
        """Replace the layers."""
        apply_low_precision_layernorm(state.model, state.precision, state.optimizers)
