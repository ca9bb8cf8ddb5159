"""Ways to fill the weights of a model before training."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import init

from composer.utils.string_enum import StringEnum

__all__ = ["Initializer"]

_CONVOLUTIONS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class Initializer(StringEnum):
    """A way to fill the parameters of one kind of layer.

    The Kaiming and Xavier ones fill the weights of linear layers and convolutions, not their
    biases. The others fill weight and bias of batch normalisation (weights uniform in [0, 1) or
    one, biases zero), and the bias of linear layers with N outputs (-log N, so that a sigmoid
    classifier starts near the probability 1 / N).

    Source:
        He et al. 2015 (arXiv 1502.01852) for Kaiming; Glorot and Bengio 2010 for Xavier.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8))
        >>> for name in ("kaiming_normal", "bn_ones"):
        ...     model = model.apply(Initializer(name).get_initializer())
        >>> bool((model[1].weight == 1).all())
        True
    """

    KAIMING_NORMAL = "kaiming_normal"
    KAIMING_UNIFORM = "kaiming_uniform"
    BN_UNIFORM = "bn_uniform"
    BN_ONES = "bn_ones"
    XAVIER_UNIFORM = "xavier_uniform"
    XAVIER_NORMAL = "xavier_normal"
    LINEAR_LOG_CONSTANT_BIAS = "linear_log_constant_bias"

    def get_initializer(self) -> Callable[[nn.Module], None]:
        """Return the function for :meth:`torch.nn.Module.apply`.

        It fills the parameters of the one module it is given in place, and leaves a module of
        another kind alone.
        """
        return _INITIALIZERS[self]


def _fill_weight(fill: Callable[[torch.Tensor], object]) -> Callable[[nn.Module], None]:
    def initialize(module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, *_CONVOLUTIONS)):
            fill(module.weight)

    return initialize


def _fill_batch_norm(fill: Callable[[torch.Tensor], object]) -> Callable[[nn.Module], None]:
    def initialize(module: nn.Module) -> None:
        # affine=False leaves both at None.
        if isinstance(module, _BATCH_NORMS) and module.weight is not None:
            fill(module.weight)
            init.zeros_(module.bias)

    return initialize


def _fill_linear_bias(module: nn.Module) -> None:
    if isinstance(module, nn.Linear) and module.bias is not None:
        init.constant_(module.bias, -math.log(module.out_features))


_INITIALIZERS: dict[Initializer, Callable[[nn.Module], None]] = {
    Initializer.KAIMING_NORMAL: _fill_weight(init.kaiming_normal_),
    Initializer.KAIMING_UNIFORM: _fill_weight(init.kaiming_uniform_),
    Initializer.BN_UNIFORM: _fill_batch_norm(init.uniform_),
    Initializer.BN_ONES: _fill_batch_norm(init.ones_),
    Initializer.XAVIER_UNIFORM: _fill_weight(init.xavier_uniform_),
    Initializer.XAVIER_NORMAL: _fill_weight(init.xavier_normal_),
    Initializer.LINEAR_LOG_CONSTANT_BIAS: _fill_linear_bias,
}
