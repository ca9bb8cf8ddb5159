"""Squeeze-and-excitation: let each image decide how much each channel counts.

Paper: Hu, Shen, Albanie, Sun, Wu, "Squeeze-and-Excitation Networks", 2017, arXiv:1709.01507.

Idea: after a convolution, average each channel over the image (squeeze), put the averages through
two small linear layers and a sigmoid (excite), and multiply each channel by its result.

When it helps: accuracy of image classifiers at equal depth, as the paper reports. When it hurts:
time, which grows by more than the few operations suggest, since channels are read twice more. We
know of no independent recent result in which it gains at equal training time; it is here for
compatibility.

Suggested values: ``latent_channels=64, min_channels=128``: only wide convolutions, where the added
work is a small part. A checkpoint trained with it needs it on load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from composer.algorithms._checks import check_number, check_whole, warn_no_effect
from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError
from composer.utils.module_surgery import count_module_instances, replace_module_classes

__all__ = ["SqueezeExcite", "SqueezeExcite2d", "SqueezeExciteConv2d", "apply_squeeze_excite"]


class SqueezeExcite2d(nn.Module):
    """Multiply each channel by a number in (0, 1) computed from the averages of all channels.

    Args:
        num_features: channels C of the images.
        latent_channels: width of the layer in between: a number of channels if at least 1, a share
            of ``num_features`` below.

    Raises:
        ValueError: ``latent_channels`` is not positive, or neither a share nor a whole number.

    Source:
        Hu et al. 2017, equations (2) to (4); no biases.
    """

    def __init__(self, num_features: int, latent_channels: float = 0.125) -> None:
        super().__init__()
        _check_latent(latent_channels)
        share = latent_channels * num_features if latent_channels < 1 else latent_channels
        self.latent_channels = max(1, int(share))
        self.pool_and_mlp = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(num_features, self.latent_channels, bias=False),
            nn.ReLU(),
            nn.Linear(self.latent_channels, num_features, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, input: Tensor) -> Tensor:
        """Return the images with their channels weighted, shape (N, C, H, W) as the input."""
        return input * self.pool_and_mlp(input)[:, :, None, None]


class SqueezeExciteConv2d(nn.Module):
    """A ``Conv2d`` with a `SqueezeExcite2d` behind it.

    Args:
        args: arguments of ``Conv2d``.
        latent_channels: see `SqueezeExcite2d`.
        conv: a convolution to use instead of making one.
        kwargs: more arguments of ``Conv2d``.

    Raises:
        ValueError: ``latent_channels`` is not allowed.
    """

    def __init__(
        self,
        *args: Any,
        latent_channels: float = 0.125,
        conv: nn.Conv2d | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(*args, **kwargs) if conv is None else conv
        self.se = SqueezeExcite2d(self.conv.out_channels, latent_channels)

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolved images with their channels weighted."""
        return self.se(self.conv(input))

    @staticmethod
    def from_conv2d(
        module: nn.Conv2d, module_index: int, latent_channels: float
    ) -> SqueezeExciteConv2d:
        """Return a convolution, which goes on to live inside, with squeeze-and-excitation."""
        del module_index
        return SqueezeExciteConv2d(conv=module, latent_channels=latent_channels)


def apply_squeeze_excite(
    model: nn.Module,
    latent_channels: float = 64,
    min_channels: int = 128,
    optimizers: Optimizer | Sequence[Optimizer] | None = None,
) -> None:
    """Put squeeze-and-excitation behind the wide convolutions of a model, in place.

    A second call finds nothing left to do. Convolutions keep their weights.

    Args:
        model: the model; itself it is not replaced. A `NoEffectWarning` says so if nothing in it
            could be.
        latent_channels: see `SqueezeExcite2d`.
        min_channels: convolutions with fewer input or fewer output channels stay as they are.
        optimizers: optimizers of the model's parameters, which get the new ones.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(128, 128, 3))
        >>> apply_squeeze_excite(model)
        >>> type(model[0]).__name__
        'SqueezeExciteConv2d'
    """
    _check(latent_channels, min_channels)
    finished = {each.conv for each in model.modules() if isinstance(each, SqueezeExciteConv2d)}

    def excite(module: nn.Module, index: int) -> nn.Module | None:
        if not isinstance(module, nn.Conv2d) or module in finished:
            return None
        if min(module.in_channels, module.out_channels) < min_channels:
            return None
        return SqueezeExciteConv2d.from_conv2d(module, index, latent_channels)

    replace_module_classes(model, {nn.Conv2d: excite}, optimizers)
    if not count_module_instances(model, SqueezeExciteConv2d):
        wanted = f"Conv2d with at least {min_channels} input and output channels"
        warn_no_effect("SqueezeExcite", model, wanted)


def _check(latent_channels: float, min_channels: int) -> None:
    _check_latent(latent_channels)
    check_whole("min_channels", min_channels, 0)


def _check_latent(latent_channels: float) -> None:
    check_number("latent_channels", latent_channels, above=0)
    if latent_channels >= 1 and latent_channels != int(latent_channels):
        raise ConfigError(
            f"latent_channels={latent_channels!r} is neither a share below 1 nor a whole number of "
            "channels"
        )


class SqueezeExcite(Algorithm):
    """Put squeeze-and-excitation behind wide convolutions; see :func:`apply_squeeze_excite`.

    Logs the hyperparameter ``squeeze_excite/num_squeeze_excite_layers``.

    Args:
        latent_channels: see `SqueezeExcite2d`.
        min_channels: convolutions with fewer input or fewer output channels stay as they are.

    Raises:
        ValueError: an argument is out of range.
    """

    events: Mapping[Event, str] = {Event.INIT: "excite"}
    writes = ("model", "optimizers")

    def __init__(self, latent_channels: float = 64, min_channels: int = 128) -> None:
        _check(latent_channels, min_channels)
        self.latent_channels = latent_channels
        self.min_channels = min_channels

    @staticmethod
    def required_on_load() -> bool:
        """Return True: there are more weights, and convolutions have other names."""
        return True

    def excite(self, state: State, logger: Logger) -> None:
        """Add the layers and log how many there are."""
        apply_squeeze_excite(state.model, self.latent_channels, self.min_channels, state.optimizers)
        count = count_module_instances(state.model, SqueezeExciteConv2d)
        logger.log_hyperparameters({"squeeze_excite/num_squeeze_excite_layers": count})
