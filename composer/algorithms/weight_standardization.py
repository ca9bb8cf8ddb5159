"""Weight standardization: give each filter of a convolution mean zero and variance one.

Paper: Qiao, Wang, Liu, Shen, Yuille, "Micro-Batch Training with Batch-Channel Normalization and
Weight Standardization", 2019, arXiv:1903.10520.

Idea: a convolution uses ``(W - mean) / sqrt(var + eps)``, with mean and variance over the weights
of each output unit; training changes the W behind it. The loss becomes smoother, since the scale
and the shift of a filter no longer matter.

When it helps: with group normalisation and batches too small for batch normalisation, as in
detection and segmentation. When it hurts: convolutions that no normalisation follows (the network
loses the scale of its filters), such as a last layer; it costs some time in each forward pass.

Suggested values: ``n_last_layers_ignore=0`` where a normalisation follows each convolution, else
the number of convolutions at the end that have none. A checkpoint trained with it needs it on load.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from composer.algorithms._checks import check_whole, warn_no_effect
from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State

__all__ = ["WeightStandardization", "apply_weight_standardization"]

_EPSILON = 1e-10
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class _Standardize(nn.Module):
    """Weights of mean zero and variance one for each output unit (dimension 0)."""

    def forward(self, weight: Tensor) -> Tensor:
        dims = tuple(range(1, weight.ndim))
        variance, mean = torch.var_mean(weight, dims, correction=0, keepdim=True)
        return (weight - mean) * torch.rsqrt(variance + _EPSILON)


def apply_weight_standardization(module: nn.Module, n_last_layers_ignore: int = 0) -> int:
    """Standardize the weights of a model's convolutions, in place.

    A second call finds nothing left to do. Parameters stay the objects they are, so optimizers
    need not know; in the state dict they go by the names of ``torch.nn.utils.parametrize``.

    Args:
        module: the model. A `NoEffectWarning` says so if it has no convolution to standardize.
        n_last_layers_ignore: how many convolutions, from the last registered one back, to leave as
            they are.

    Returns:
        The number of standardized convolutions.

    Raises:
        ValueError: ``n_last_layers_ignore`` is negative.

    Example:
        >>> conv = nn.Conv2d(1, 1, (1, 2), bias=False)
        >>> _ = conv.weight.data.copy_(torch.tensor([3.0, 7.0]))
        >>> apply_weight_standardization(nn.Sequential(conv))
        1
        >>> conv.weight.flatten().tolist()
        [-1.0, 1.0]

    Source:
        Qiao et al. 2019, equations (8) and (9); 1e-10 is added to the variance.
    """
    check_whole("n_last_layers_ignore", n_last_layers_ignore, 0)
    convolutions = [each for each in module.modules() if isinstance(each, _CONVOLUTIONS)]
    chosen = convolutions[: max(0, len(convolutions) - n_last_layers_ignore)]
    for each in chosen:
        if not _is_standardized(each):
            parametrize.register_parametrization(each, "weight", _Standardize())
    if not chosen:
        ignored = f" before the last {n_last_layers_ignore}" if n_last_layers_ignore else ""
        wanted = f"Conv1d, Conv2d and Conv3d{ignored}"
        warn_no_effect("WeightStandardization", module, wanted)
    return len(chosen)


def _is_standardized(module: nn.Module) -> bool:
    if not parametrize.is_parametrized(module, "weight"):
        return False
    steps = module.parametrizations["weight"]  # pyright: ignore[reportIndexIssue, reportArgumentType]
    return any(isinstance(step, _Standardize) for step in steps)


class WeightStandardization(Algorithm):
    """Standardize convolutions before training; see :func:`apply_weight_standardization`.

    Logs the hyperparameter ``weight_standardization/num_layers``.

    Args:
        n_last_layers_ignore: how many convolutions, from the last registered one back, to leave as
            they are.

    Raises:
        ValueError: ``n_last_layers_ignore`` is negative.
    """

    events: Mapping[Event, str] = {Event.INIT: "standardize"}
    writes = ("model",)

    def __init__(self, n_last_layers_ignore: int = 0) -> None:
        check_whole("n_last_layers_ignore", n_last_layers_ignore, 0)
        self.n_last_layers_ignore = n_last_layers_ignore

    @staticmethod
    def required_on_load() -> bool:
        """Return True: the weights have other names and mean something else without it."""
        return True

    def standardize(self, state: State, logger: Logger) -> None:
        """Standardize the convolutions and log how many there are."""
        count = apply_weight_standardization(state.model, self.n_last_layers_ignore)
        logger.log_hyperparameters({"weight_standardization/num_layers": count})
