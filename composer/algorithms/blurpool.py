"""BlurPool: blur before pixels are left out, so that shifted images give shifted features.

Paper: Zhang, "Making Convolutional Networks Shift-Invariant Again", 2019, arXiv:1904.11486.

Idea: strided convolutions and max pooling sample without the low-pass filter that sampling needs.
A fixed 3x3 blur (``[1 2 1]`` times itself, over 16) in front of each stride is that filter.

When it helps: image classification; small gains in accuracy, steadier answers under shifts, for
some more time. When it hurts: networks for tiny images, which have no detail to spare; pipelines
where the added memory traffic counts.

Suggested values: the defaults. ``blur_first=True`` is the cheaper form; ``min_channels=16`` leaves
the first convolution on the RGB image alone. A checkpoint trained with it needs it on load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.optim import Optimizer

from composer.algorithms._blurpool_layers import (
    BlurConv2d,
    BlurMaxPool2d,
    BlurPool2d,
    blur_2d,
    blurmax_pool2d,
)
from composer.algorithms._checks import check_flags, check_whole, warn_no_effect
from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError
from composer.utils.module_surgery import (
    ReplacementFunction,
    count_module_instances,
    replace_module_classes,
)

__all__ = [
    "BlurConv2d",
    "BlurMaxPool2d",
    "BlurPool",
    "BlurPool2d",
    "apply_blurpool",
    "blur_2d",
    "blurmax_pool2d",
]


def apply_blurpool(
    model: torch.nn.Module,
    replace_convs: bool = True,
    replace_maxpools: bool = True,
    blur_first: bool = True,
    min_channels: int = 16,
    optimizers: Optimizer | Sequence[Optimizer] | None = None,
) -> None:
    """Add blurs to strided convolutions and max pooling layers, in place.

    A second call finds nothing left to do. Convolutions keep their weights, so optimizers need no
    change; they are taken for the sake of one form for all methods of surgery.

    Args:
        model: the model; itself it is not replaced. A `NoEffectWarning` says so if nothing in it
            could be.
        replace_convs: blur strided ``Conv2d``.
        replace_maxpools: blur ``MaxPool2d`` with a stride.
        blur_first: blur before the convolution, see `BlurConv2d`.
        min_channels: convolutions with fewer input channels stay as they are.
        optimizers: optimizers of the model's parameters.

    Raises:
        ValueError: there is nothing to replace, or ``min_channels`` is negative.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.MaxPool2d(2))
        >>> apply_blurpool(model)
        >>> type(model[0]).__name__
        'BlurMaxPool2d'

    Source:
        Zhang 2019, equations (5) and (6). ``blur_first`` puts the blur before the convolution.
    """
    _check(replace_convs, replace_maxpools, min_channels)
    finished = {each.conv for each in model.modules() if isinstance(each, BlurConv2d)}

    def blur_conv(module: nn.Module, index: int) -> nn.Module | None:
        if not isinstance(module, nn.Conv2d) or module in finished:
            return None
        if max(module.stride) == 1 or module.in_channels < min_channels:
            return None
        return BlurConv2d.from_conv2d(module, index, blur_first)

    policies: dict[type[nn.Module], ReplacementFunction] = {}
    if replace_maxpools:
        policies[nn.MaxPool2d] = _blur_maxpool
    if replace_convs:
        policies[nn.Conv2d] = blur_conv
    replaced = replace_module_classes(model, policies, optimizers)
    if not replaced and not count_module_instances(model, (BlurConv2d, BlurMaxPool2d)):
        wanted = [f"strided Conv2d with at least {min_channels} input channels"] * replace_convs
        wanted += ["MaxPool2d with a stride"] * replace_maxpools
        warn_no_effect("BlurPool", model, " and ".join(wanted))


def _blur_maxpool(module: nn.Module, index: int) -> nn.Module | None:
    if not isinstance(module, nn.MaxPool2d) or module.return_indices:
        return None
    stride = module.stride
    if (max(stride) if isinstance(stride, Sequence) else stride) == 1:
        return None
    return BlurMaxPool2d.from_maxpool2d(module, index)


def _check(replace_convs: bool, replace_maxpools: bool, min_channels: int) -> None:
    check_flags(replace_convs=replace_convs, replace_maxpools=replace_maxpools)
    if not (replace_convs or replace_maxpools):
        raise ConfigError(
            "replace_convs and replace_maxpools are both False, so there is nothing to do; set one "
            "of them, or leave BlurPool out"
        )
    check_whole("min_channels", min_channels, 0)


class BlurPool(Algorithm):
    """Add blurs to strided convolutions and max pooling layers; see :func:`apply_blurpool`.

    Logs the hyperparameters ``blurpool/num_blurpool_layers`` and ``blurpool/num_blurconv_layers``.

    Args:
        replace_convs: blur strided ``Conv2d``.
        replace_maxpools: blur ``MaxPool2d`` with a stride.
        blur_first: blur before the convolution, see `BlurConv2d`.
        min_channels: convolutions with fewer input channels stay as they are.

    Raises:
        ValueError: both kinds are off, or ``min_channels`` is negative.
    """

    events: Mapping[Event, str] = {Event.INIT: "blur"}
    writes = ("model", "optimizers")

    def __init__(
        self,
        replace_convs: bool = True,
        replace_maxpools: bool = True,
        blur_first: bool = True,
        min_channels: int = 16,
    ) -> None:
        _check(replace_convs, replace_maxpools, min_channels)
        check_flags(blur_first=blur_first)
        self.replace_convs = replace_convs
        self.replace_maxpools = replace_maxpools
        self.blur_first = blur_first
        self.min_channels = min_channels

    @staticmethod
    def required_on_load() -> bool:
        """Return True: the weights of blurred convolutions have other names."""
        return True

    def blur(self, state: State, logger: Logger) -> None:
        """Add the blurs and log how many there are."""
        apply_blurpool(
            state.model,
            self.replace_convs,
            self.replace_maxpools,
            self.blur_first,
            self.min_channels,
            state.optimizers,
        )
        logger.log_hyperparameters(
            {
                "blurpool/num_blurpool_layers": count_module_instances(state.model, BlurMaxPool2d),
                "blurpool/num_blurconv_layers": count_module_instances(state.model, BlurConv2d),
            }
        )
