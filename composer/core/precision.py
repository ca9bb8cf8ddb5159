"""The number formats a run can use."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any

import torch

from composer.errors import ConfigError, MissingDependencyError
from composer.utils.string_enum import StringEnum

__all__ = ["Precision", "check_precision", "get_precision_context"]


class Precision(StringEnum):
    """The number format of the forward and backward pass.

    Attributes:
        FP32: everything in 32 bits.
        AMP_FP16: matrix products in float16 with loss scaling (CUDA).
        AMP_BF16: matrix products in bfloat16 (CUDA, CPU, MPS).
        AMP_FP8: linear layers in float8 through torchao, the rest as ``AMP_BF16`` (CUDA, compute
            capability 8.9 or newer).
    """

    FP32 = "fp32"
    AMP_FP16 = "amp_fp16"
    AMP_BF16 = "amp_bf16"
    AMP_FP8 = "amp_fp8"


_AUTOCAST_DTYPE = {
    Precision.AMP_FP16: torch.float16,
    Precision.AMP_BF16: torch.bfloat16,
    Precision.AMP_FP8: torch.bfloat16,
}
_FP8_CAPABILITY = (8, 9)


def check_precision(precision: Precision, device_type: str) -> None:
    """Refuse a precision that the device cannot do.

    Args:
        precision: the wanted format.
        device_type: ``'cpu'``, ``'cuda'`` or ``'mps'``.

    Raises:
        ValueError: with what the device can do.
    """
    allowed = [Precision.FP32, Precision.AMP_BF16]
    if device_type == "cuda":
        allowed = list(Precision)
    if precision not in allowed:
        names = [p.value for p in allowed]
        raise ConfigError(
            f"precision={precision.value!r} does not run on device {device_type!r}; "
            f"it can do {names}"
        )
    if precision is Precision.AMP_FP8:
        _check_fp8()


def _check_fp8() -> None:
    capability = torch.cuda.get_device_capability()
    if capability < _FP8_CAPABILITY:
        raise ConfigError(
            f"precision='amp_fp8' needs a GPU of compute capability 8.9 or newer, this one has "
            f"{'.'.join(map(str, capability))}; use 'amp_bf16'"
        )
    try:
        import_module("torchao.float8")
    except ImportError as error:
        raise MissingDependencyError(
            "precision='amp_fp8' needs torchao: pip install 'composer-ml[fp8]'"
        ) from error


def get_precision_context(
    precision: str | Precision,
    precision_config: dict[str, Any] | None = None,
    fp8_autocast_enabled: bool = True,
    device_type: str | None = None,
) -> AbstractContextManager[Any]:
    """Return the context in which a forward pass and its loss run.

    Args:
        precision: the number format.
        precision_config: options of ``amp_fp8``; used when the model is converted, not here.
        fp8_autocast_enabled: kept for existing callers; float8 layers are switched by the model's
            mode, not by a context.
        device_type: where the pass runs; ``'cuda'`` where there is one, else ``'cpu'``.
    """
    del precision_config, fp8_autocast_enabled
    precision = Precision(precision)
    if device_type is None:
        device_type = "cuda" if torch.cuda.is_available() else "cpu"
    if precision is Precision.FP32:
        # On CUDA an autocast that the user opened around fit() must not reach in here.
        if device_type == "cuda":
            return torch.autocast("cuda", enabled=False)
        return contextlib.nullcontext()
    return torch.autocast(device_type, dtype=_AUTOCAST_DTYPE[precision])
