"""Low precision group norm: normalise in the autocast's number format instead of in float32.

Source: MosaicML, 2023; no paper. Group norm: Wu, He, 2018, arXiv:1803.08494.

Idea: autocast keeps group norm in float32, so activations are widened before it and narrowed after
it. Casting inputs and parameters down instead halves the memory traffic; the kernels still add up
in float32.

When it helps: convolutional networks with group norm, such as the U-nets of diffusion models, in
bfloat16 or float16 on GPUs. When it hurts: compiled models, whose casts are fused away, gain little
or nothing; the output is rounded to the low format.

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

__all__ = ["LPGroupNorm", "LowPrecisionGroupNorm", "apply_low_precision_groupnorm"]


def apply_low_precision_groupnorm(
    model: nn.Module,
    precision: str | Precision | None = None,
    optimizers: Optimizer | Sequence[Optimizer] | None = None,
) -> None:
    """Replace each ``GroupNorm`` of a model by an :class:`LPGroupNorm` with its parameters.

    A `NoEffectWarning` says so where there is none, or where the number format has no autocast.

    Args:
        model: the model, changed in place.
        precision: the number format it will run in; ``None`` where that is not known yet.
        optimizers: optimizers of the model's parameters, which need no change: parameters stay
            the objects they are.

    Raises:
        ValueError: no such number format.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4))
        >>> apply_low_precision_groupnorm(model)
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     model(torch.rand(2, 3, 5, 5)).dtype
        torch.bfloat16
    """
    replace_norms(model, nn.GroupNorm, LPGroupNorm, LPGroupNorm.like, precision, optimizers)


class LPGroupNorm(nn.GroupNorm):
    """A group norm that computes in the autocast's number format; arguments as in torch's."""

    @classmethod
    def like(cls, norm: nn.GroupNorm) -> LPGroupNorm:
        """Make one with the parameters of another group norm.

        Args:
            norm: the other one.
        """
        new = cls(norm.num_groups, norm.num_channels, norm.eps, norm.affine, device="meta")
        new.weight, new.bias = norm.weight, norm.bias
        return new

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] - Composer's name
        """Normalise over groups of channels.

        Args:
            x: shape (N, C, ...).

        Returns:
            The same shape; in the autocast's number format where one is on.
        """
        dtype = autocast_format(x)
        if dtype is None:
            return super().forward(x)
        weight, bias = cast_all(dtype, self.weight, self.bias)
        with torch.autocast(x.device.type, enabled=False):
            return F.group_norm(x.to(dtype), self.num_groups, weight, bias, self.eps)


class LowPrecisionGroupNorm(LowPrecisionNorm):
    """Replace group norms; see :func:`apply_low_precision_groupnorm`.

    Args:
        apply_at: when: ``'init'``, ``'before_load'`` or ``'after_load'``.

    Raises:
        ValueError: another event.
    """

    def convert(self, state: State, logger: Logger) -> None:
        """Replace the layers."""
        apply_low_precision_groupnorm(state.model, state.precision, state.optimizers)
