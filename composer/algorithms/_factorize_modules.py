"""The layers of Factorize: a linear layer and a convolution through a narrow middle.

Each counts the multiplications it saves, and can lower its rank after training with the weights
that `_factorize_core` finds.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from composer.algorithms._factorize_core import (
    LowRankSolution,
    factorize_conv2d,
    factorize_matrix,
    latent_size,
)
from composer.errors import ConfigError

__all__ = ["FactorizedConv2d", "FactorizedLinear", "factorizing_could_speedup"]


def _largest_useful_rank(fan_in: int, out_size: int) -> int:
    """Return the largest rank at which two thin layers multiply less than one layer.

    ``rank * (fan_in + out) < fan_in * out``; 0 where no rank does.
    """
    return math.ceil(fan_in * out_size / (fan_in + out_size) - 1)


def factorizing_could_speedup(module: nn.Module, latent_size: float) -> bool:
    """Whether a layer would multiply less with this latent size.

    Args:
        module: a ``Linear`` or ``Conv2d``, or one that is factorized already.
        latent_size: whole, or as a share of the smaller of input and output size.

    Raises:
        ValueError: the layer is of another kind.

    Example:
        >>> factorizing_could_speedup(nn.Linear(64, 64), 31)
        True
        >>> factorizing_could_speedup(nn.Linear(64, 64), 32)
        False
    """
    if isinstance(module, _FactorizedModule):
        return module.should_factorize(latent_size)
    if isinstance(module, nn.Linear):
        return _pays(module.in_features, module.in_features, module.out_features, latent_size)
    if isinstance(module, nn.Conv2d):
        if module.groups > 1:
            return False
        fan_in = module.in_channels * math.prod(module.kernel_size)
        return _pays(module.in_channels, fan_in, module.out_channels, latent_size)
    raise ConfigError(
        f"a {type(module).__name__} cannot be factorized; Linear and Conv2d can, and nothing else"
    )


def _pays(in_size: int, fan_in: int, out_size: int, size: float) -> bool:
    return latent_size(size, in_size, out_size) <= _largest_useful_rank(fan_in, out_size)


Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


class _FactorizedModule(nn.Module, Generic[Layer]):
    """Two layers in the place of one, with few features between them."""

    module0: Layer
    module1: Layer | None

    def __init__(self, in_size: int, fan_in: int, out_size: int, size: float) -> None:
        super().__init__()
        self.in_size = in_size
        self.fan_in = fan_in
        self.out_size = out_size
        self.latent_size = latent_size(size, in_size, out_size)

    def forward(self, input: Tensor) -> Tensor:
        """Return what the two layers make of the input."""
        hidden = self.module0(input)
        return hidden if self.module1 is None else self.module1(hidden)

    def reset_parameters(self) -> None:
        """Draw fresh weights for both layers."""
        for module in self.children():
            module.reset_parameters()  # pyright: ignore[reportCallIssue]

    def should_factorize(self, proposed_rank: float) -> bool:
        """Whether a rank makes the two layers multiply less than one would."""
        return _pays(self.in_size, self.fan_in, self.out_size, proposed_rank)

    def set_rank(self, input: Tensor, rank: float) -> None:
        """Lower the rank, with the weights that change the outputs for ``input`` least.

        Weights become new parameters; make the optimizer afterwards.

        Args:
            input: what the layer may see, such as one batch.
            rank: the new rank: whole, or as a share of the smaller size.

        Raises:
            ValueError: the rank is not positive, or higher than the present one.
        """
        self.apply_solution(self.solution_for_rank(input, rank))

    @abstractmethod
    def solution_for_rank(self, input: Tensor, rank: float) -> LowRankSolution:
        """Return the weights that :meth:`set_rank` would set."""

    @abstractmethod
    def apply_solution(self, solution: LowRankSolution) -> None:
        """Take over weights found by :meth:`solution_for_rank`."""

    def _last_bias(self) -> Tensor | None:
        last = self.module0 if self.module1 is None else self.module1
        return last.bias


class FactorizedLinear(_FactorizedModule[nn.Linear]):
    """A ``Linear`` through fewer features: ``Linear(in, latent)``, then ``Linear(latent, out)``.

    Args:
        in_features: size of each input.
        out_features: size of each output.
        bias: whether the second layer has a bias.
        latent_features: size between the two: whole, or as a share of the smaller size.

    Raises:
        ValueError: ``latent_features`` is not positive.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        latent_features: float = 0.25,
    ) -> None:
        super().__init__(in_features, in_features, out_features, latent_features)
        self.module0 = nn.Linear(in_features, self.latent_size, bias=False)
        self.module1 = nn.Linear(self.latent_size, out_features, bias=bias)

    @property
    def in_features(self) -> int:
        """Size of each input."""
        return self.in_size

    @property
    def out_features(self) -> int:
        """Size of each output."""
        return self.out_size

    @property
    def latent_features(self) -> int:
        """Size between the two layers."""
        return self.latent_size

    @staticmethod
    def max_allowed_latent_channels(in_features: int, out_features: int) -> int:
        """Return the largest size between the layers at which they multiply less than one."""
        return _largest_useful_rank(in_features, out_features)

    @staticmethod
    def from_linear(module: nn.Linear, module_ix: int = -1, **kwargs: Any) -> FactorizedLinear:
        """Return a factorized layer, with fresh weights, of the sizes of a ``Linear``.

        Args:
            module: the layer.
            module_ix: not used.
            kwargs: more arguments of `FactorizedLinear`.
        """
        del module_ix
        has_bias = module.bias is not None
        return FactorizedLinear(module.in_features, module.out_features, has_bias, **kwargs)

    def solution_for_rank(self, input: Tensor, rank: float) -> LowRankSolution:
        """Return the weights that :meth:`set_rank` would set, for inputs of shape (..., in)."""
        inputs = input.flatten(0, -2)
        second = None if self.module1 is None else self.module1.weight.T
        with torch.no_grad():
            outputs = self(inputs)
        return factorize_matrix(
            inputs, outputs, self.module0.weight.T, second, self._last_bias(), rank
        )

    def apply_solution(self, solution: LowRankSolution) -> None:
        """Take over weights found by :meth:`solution_for_rank`."""
        self.latent_size = solution.rank
        middle = self.out_size if solution.Wb is None else solution.rank
        has_bias = solution.bias is not None
        self.module0 = nn.Linear(self.in_size, middle, bias=solution.Wb is None and has_bias)
        self.module1 = None
        if solution.Wb is not None:
            self.module1 = nn.Linear(middle, self.out_size, bias=has_bias)
            _set(self.module1, solution.Wb.T, solution.bias)
        _set(self.module0, _given(solution.Wa).T, solution.bias if solution.Wb is None else None)


class FactorizedConv2d(_FactorizedModule[nn.Conv2d]):
    """A ``Conv2d`` through fewer channels: the convolution to them, then a 1x1 convolution.

    Args:
        in_channels: as in ``Conv2d``.
        out_channels: likewise.
        kernel_size: likewise.
        latent_channels: channels between the two: whole, or as a share of the smaller number.
        kwargs: more arguments of ``Conv2d``; ``bias`` is the second one's.

    Raises:
        ValueError: ``latent_channels`` is not positive, or there are groups.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        latent_channels: float = 0.25,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("groups", 1) != 1:
            raise ConfigError("a convolution with groups cannot be factorized; it is thin already")
        has_bias = kwargs.pop("bias", True)
        self._kernel_size = kernel_size
        self._options = kwargs
        fan_in = in_channels * _area(kernel_size)
        super().__init__(in_channels, fan_in, out_channels, latent_channels)
        self.module0 = nn.Conv2d(in_channels, self.latent_size, kernel_size, bias=False, **kwargs)
        self.module1 = nn.Conv2d(self.latent_size, out_channels, 1, bias=has_bias)

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        return self.in_size

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return self.out_size

    @property
    def latent_channels(self) -> int:
        """Channels between the two convolutions."""
        return self.latent_size

    @staticmethod
    def max_allowed_latent_features(
        in_features: int, out_features: int, kernel_size: int | tuple[int, int]
    ) -> int:
        """Return the most channels between the two at which they multiply less than one."""
        return _largest_useful_rank(in_features * _area(kernel_size), out_features)

    @staticmethod
    def from_conv2d(module: nn.Conv2d, module_ix: int = -1, **kwargs: Any) -> FactorizedConv2d:
        """Return a factorized layer, with fresh weights, of the sizes of a ``Conv2d``.

        Args:
            module: the layer.
            module_ix: not used.
            kwargs: more arguments of `FactorizedConv2d`.
        """
        del module_ix
        return FactorizedConv2d(
            module.in_channels,
            module.out_channels,
            module.kernel_size,  # pyright: ignore[reportArgumentType]
            stride=module.stride,
            padding=module.padding,
            dilation=module.dilation,
            padding_mode=module.padding_mode,
            groups=module.groups,
            bias=module.bias is not None,
            **kwargs,
        )

    def solution_for_rank(self, input: Tensor, rank: float) -> LowRankSolution:
        """Return the weights that :meth:`set_rank` would set, for images (N, C, H, W)."""
        first, second = self.module0, self.module1
        images, padding = _padded(input, first)
        return factorize_conv2d(
            images,
            first.weight,
            None if second is None else second.weight,
            latent_size(rank, self.in_size, self.out_size),
            first.bias,
            None if second is None else second.bias,
            stride=first.stride,
            padding=padding,
            dilation=first.dilation,
        )

    def apply_solution(self, solution: LowRankSolution) -> None:
        """Take over weights found by :meth:`solution_for_rank`."""
        self.latent_size = solution.rank
        middle = self.out_size if solution.Wb is None else solution.rank
        has_bias = solution.bias is not None
        self.module0 = nn.Conv2d(
            self.in_size,
            middle,
            self._kernel_size,
            bias=solution.Wb is None and has_bias,
            **self._options,
        )
        self.module1 = None
        if solution.Wb is not None:
            self.module1 = nn.Conv2d(middle, self.out_size, 1, bias=has_bias)
            _set(self.module1, solution.Wb, solution.bias)
        _set(self.module0, _given(solution.Wa), solution.bias if solution.Wb is None else None)


def _area(kernel_size: int | Sequence[int]) -> int:
    return kernel_size**2 if isinstance(kernel_size, int) else math.prod(kernel_size)


def _padded(images: Tensor, conv: nn.Conv2d) -> tuple[Tensor, Any]:
    """Return images as the kernel sees them, and the zeros that are still to be added."""
    if conv.padding_mode == "zeros" and not isinstance(conv.padding, str):
        return images, conv.padding
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    padding = conv._reversed_padding_repeated_twice
    return nn.functional.pad(images, padding, mode=mode), 0


def _set(layer: nn.Linear | nn.Conv2d, weight: Tensor, bias: Tensor | None) -> None:
    """Fill a layer that was made with or without bias as is due."""
    # As parameters of their own, on the device and in the format of the solution.
    layer.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone())


def _given(weight: Tensor | None) -> Tensor:
    if weight is None:
        raise ConfigError("the solution has no weights Wa; make it with solution_for_rank")
    return weight
