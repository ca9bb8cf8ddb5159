"""Kernels of other packages that compute the loss of a linear layer's scores, where installed.

Both run on CUDA only. Their packages are never required, and imported only where one is used.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from composer.errors import ConfigError, MissingDependencyError, unknown_name

__all__ = ["KERNELS", "LossOptions", "choose_kernel"]

Kernel = Callable[[Tensor, Tensor, Tensor, "Tensor | None", "LossOptions"], Tensor]


@dataclass(frozen=True, slots=True)
class LossOptions:
    """What is asked of the loss; see `linear_cross_entropy`.

    Attributes:
        ignore_index: the label of tokens that do not count.
        label_smoothing: share of the target that is spread over all classes.
        z_loss: factor on the squared logarithm of the softmax's denominator.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
    """

    ignore_index: int
    label_smoothing: float
    z_loss: float
    reduction: str


def _cut(
    hidden: Tensor, weight: Tensor, target: Tensor, bias: Tensor | None, options: LossOptions
) -> Tensor:
    from cut_cross_entropy import linear_cross_entropy  # pyright: ignore[reportMissingImports]

    return linear_cross_entropy(
        hidden,
        weight,
        target,
        bias=bias,
        ignore_index=options.ignore_index,
        reduction=options.reduction,
    )


def _liger(
    hidden: Tensor, weight: Tensor, target: Tensor, bias: Tensor | None, options: LossOptions
) -> Tensor:
    from liger_kernel.transformers.functional import (  # pyright: ignore[reportMissingImports]
        liger_fused_linear_cross_entropy,
    )

    return liger_fused_linear_cross_entropy(
        hidden,
        weight,
        target,
        bias,
        ignore_index=options.ignore_index,
        lse_square_scale=options.z_loss,
        label_smoothing=options.label_smoothing,
        reduction=options.reduction,
    )


_PACKAGES: dict[str, tuple[str, Kernel]] = {
    "cut": ("cut_cross_entropy", _cut),
    "liger": ("liger_kernel", _liger),
}
KERNELS = ("auto", "torch", *_PACKAGES)
"""Names of kernels: ``"auto"`` chooses, ``"torch"`` is plain torch."""


def choose_kernel(
    name: str, device_type: str, dtype: torch.dtype, options: LossOptions
) -> Kernel | None:
    """Return the kernel to use; ``None`` for plain torch.

    Args:
        name: one of `KERNELS`.
        device_type: kind of device the tensors are on.
        dtype: number format of the products.
        options: what is asked of it.

    Raises:
        UnknownNameError: no such kernel.
        MissingDependencyError: the kernel that is asked for is not installed.
        ConfigError: it cannot do what is asked.
    """
    if name not in KERNELS:
        raise unknown_name("kernel", name, KERNELS)
    if name == "torch":
        return None
    if name == "auto":
        able = (k for k in _PACKAGES if not _objection(k, device_type, dtype, options))
        return next((_PACKAGES[each][1] for each in able if _is_installed(each)), None)
    if not _is_installed(name):
        package = _PACKAGES[name][0].replace("_", "-")
        raise MissingDependencyError(
            f"kernel={name!r} needs {package}: install it, or use kernel='auto'"
        )
    objection = _objection(name, device_type, dtype, options)
    if objection:
        raise ConfigError(f"kernel={name!r} {objection}; use kernel='auto' or 'torch'")
    return _PACKAGES[name][1]


@cache
def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(_PACKAGES[name][0]) is not None


def _objection(name: str, device_type: str, dtype: torch.dtype, options: LossOptions) -> str:
    """Say why a kernel cannot do it; empty where it can."""
    if device_type != "cuda":
        return f"runs on CUDA, and the tensors are on {device_type!r}"
    if name == "liger":
        if dtype is torch.float64:
            return "does not compute in float64"
        return "has no gradients of each token's loss" if options.reduction == "none" else ""
    if dtype not in (torch.bfloat16, torch.float16):
        return f"computes in bfloat16 and float16, not in {dtype}"
    has_extras = options.label_smoothing > 0 or options.z_loss > 0
    return "has neither label smoothing nor z-loss" if has_extras else ""
