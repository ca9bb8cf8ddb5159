"""Factorize: replace large layers by pairs of thin ones.

Source: low-rank factorisation, as in Jaderberg, Vedaldi, Zisserman, "Speeding up Convolutional
Neural Networks with Low Rank Expansions", 2014, arXiv:1405.3866.

Idea: a linear layer from ``m`` to ``n`` features becomes two, from ``m`` to ``r`` and from ``r`` to
``n``; a convolution becomes one with ``r`` output channels and a 1x1 convolution. Both together
multiply less if ``r < m * n / (m + n)``. Weights are drawn afresh; the pair is trained from the
start.

When it helps: inference of very wide layers, where memory or arithmetic is the limit. When it
hurts: accuracy, at equal training time, in all results we know; two small layers also start two
kernels. No independent gain in training has been found; it is here for compatibility.

Suggested values: ``min_channels=512, min_features=512`` and a quarter as latent size are careful.
:meth:`FactorizedLinear.set_rank` lowers a trained layer's rank with the least change of its
outputs. A checkpoint trained with it needs it on load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn
from torch.optim import Optimizer

from composer.algorithms._checks import check_flags, check_number, check_whole, warn_no_effect
from composer.algorithms._factorize_core import (
    LowRankSolution,
    factorize_conv2d,
    factorize_matrix,
    latent_size,
)
from composer.algorithms._factorize_modules import (
    FactorizedConv2d,
    FactorizedLinear,
    factorizing_could_speedup,
)
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
    "LOG_NUM_CONV2D_REPLACEMENTS_KEY",
    "LOG_NUM_LINEAR_REPLACEMENTS_KEY",
    "Factorize",
    "FactorizedConv2d",
    "FactorizedLinear",
    "LowRankSolution",
    "apply_factorization",
    "factorize_conv2d",
    "factorize_matrix",
    "factorizing_could_speedup",
]

LOG_NUM_CONV2D_REPLACEMENTS_KEY = "factorize/num_conv2d_replacements"
LOG_NUM_LINEAR_REPLACEMENTS_KEY = "factorize/num_linear_replacements"


def apply_factorization(
    model: nn.Module,
    factorize_convs: bool = True,
    factorize_linears: bool = True,
    min_channels: int = 256,
    latent_channels: float = 0.25,
    min_features: int = 256,
    latent_features: float = 128,
    optimizers: Optimizer | Sequence[Optimizer] | None = None,
) -> nn.Module:
    """Factorize the large layers of a model, in place, with fresh weights.

    Only layers that then multiply less are replaced. A second call finds nothing left to do.

    Args:
        model: the model; itself it is not replaced. A `NoEffectWarning` says so if nothing in it
            could be.
        factorize_convs: factorize ``Conv2d`` without groups.
        factorize_linears: factorize ``Linear``.
        min_channels: convolutions with fewer input or output channels stay as they are.
        latent_channels: channels in between: whole, or as a share of the smaller number.
        min_features: linear layers with fewer input or output features stay as they are.
        latent_features: features in between: whole, or as a share of the smaller number.
        optimizers: optimizers of the model's parameters, which get the new ones.

    Returns:
        The model.

    Raises:
        ValueError: an argument is out of range, or both kinds are off.

    Example:
        >>> model = apply_factorization(nn.Sequential(nn.Linear(512, 512)))
        >>> type(model[0]).__name__, model[0].latent_features
        ('FactorizedLinear', 128)
    """
    _check(
        factorize_convs,
        factorize_linears,
        (min_channels, latent_channels),
        (min_features, latent_features),
    )
    finished = {
        layer
        for each in model.modules()
        if isinstance(each, FactorizedConv2d | FactorizedLinear)
        for layer in each.children()
    }

    def thin_conv(module: nn.Module, index: int) -> nn.Module | None:
        if not isinstance(module, nn.Conv2d) or module in finished or module.groups > 1:
            return None
        is_wide = min(module.in_channels, module.out_channels) >= min_channels
        if not is_wide or not factorizing_could_speedup(module, latent_channels):
            return None
        return FactorizedConv2d.from_conv2d(module, index, latent_channels=latent_channels)

    def thin_linear(module: nn.Module, index: int) -> nn.Module | None:
        if not isinstance(module, nn.Linear) or module in finished:
            return None
        is_wide = min(module.in_features, module.out_features) >= min_features
        if not is_wide or not factorizing_could_speedup(module, latent_features):
            return None
        return FactorizedLinear.from_linear(module, index, latent_features=latent_features)

    policies: dict[type[nn.Module], ReplacementFunction] = {}
    if factorize_convs:
        policies[nn.Conv2d] = thin_conv
    if factorize_linears:
        policies[nn.Linear] = thin_linear
    replace_module_classes(model, policies, optimizers)
    if not count_module_instances(model, (FactorizedConv2d, FactorizedLinear)):
        wanted = [f"Conv2d of at least {min_channels} channels"] * factorize_convs
        wanted += [f"Linear of at least {min_features} features"] * factorize_linears
        warn_no_effect("Factorize", model, f"{' and '.join(wanted)} that get cheaper")
    return model


def _check(
    factorize_convs: bool,
    factorize_linears: bool,
    channels: tuple[int, float],
    features: tuple[int, float],
) -> None:
    check_flags(factorize_convs=factorize_convs, factorize_linears=factorize_linears)
    if not (factorize_convs or factorize_linears):
        raise ConfigError(
            "factorize_convs and factorize_linears are both False, so there is nothing to do; set "
            "one of them, or leave Factorize out"
        )
    check_whole("min_channels", channels[0], 0)
    check_whole("min_features", features[0], 0)
    for name, size in (("latent_channels", channels[1]), ("latent_features", features[1])):
        check_number(name, size, above=0)
        latent_size(size, 1, 1)


class Factorize(Algorithm):
    """Factorize large layers before training; see :func:`apply_factorization`.

    Logs the hyperparameters ``factorize/num_conv2d_replacements`` and
    ``factorize/num_linear_replacements``.

    Args:
        factorize_convs: factorize ``Conv2d`` without groups.
        factorize_linears: factorize ``Linear``.
        min_channels: convolutions with fewer input or output channels stay as they are.
        latent_channels: channels in between: whole, or as a share of the smaller number.
        min_features: linear layers with fewer input or output features stay as they are.
        latent_features: features in between: whole, or as a share of the smaller number.

    Raises:
        ValueError: an argument is out of range, or both kinds are off.
    """

    events: Mapping[Event, str] = {Event.INIT: "factorize"}
    writes = ("model", "optimizers")

    def __init__(
        self,
        factorize_convs: bool = True,
        factorize_linears: bool = True,
        min_channels: int = 256,
        latent_channels: float = 0.25,
        min_features: int = 256,
        latent_features: float = 128,
    ) -> None:
        _check(
            factorize_convs,
            factorize_linears,
            (min_channels, latent_channels),
            (min_features, latent_features),
        )
        self.factorize_convs = factorize_convs
        self.factorize_linears = factorize_linears
        self.min_channels = min_channels
        self.latent_channels = latent_channels
        self.min_features = min_features
        self.latent_features = latent_features

    @staticmethod
    def required_on_load() -> bool:
        """Return True: the weights have other names and shapes."""
        return True

    def factorize(self, state: State, logger: Logger) -> None:
        """Factorize the layers and log how many there are."""
        apply_factorization(state.model, **vars(self), optimizers=state.optimizers)
        logger.log_hyperparameters(
            {
                LOG_NUM_CONV2D_REPLACEMENTS_KEY: count_module_instances(
                    state.model, FactorizedConv2d
                ),
                LOG_NUM_LINEAR_REPLACEMENTS_KEY: count_module_instances(
                    state.model, FactorizedLinear
                ),
            }
        )
