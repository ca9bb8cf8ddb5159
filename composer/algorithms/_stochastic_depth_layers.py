"""Residual blocks that leave their main path out at random."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from composer.algorithms._eager import run_eagerly
from composer.errors import ConfigError
from composer.utils.model_helpers import model_eval_mode

__all__ = [
    "BlockStochasticModule",
    "StochasticBlock",
    "StochasticLayer",
    "StochasticResNetBlock",
    "is_resnet_block",
    "make_resnet_bottleneck_stochastic",
    "make_stochastic",
    "rate_of_layer",
]

# Arguments that collect keys and values from block to block, which a trial must not touch.
_CACHES = ("cache", "past_key_values", "past_key_value")


@run_eagerly
def _is_dropped(drop_rate: float) -> bool:
    # A draw on the host: whether a block runs at all is for Python to know.
    return torch.rand(1).tolist()[0] < drop_rate


def _keeps(like: Tensor, drop_rate: float) -> Tensor:
    """Draw which samples keep their main path: truth values, shape (N, 1, ...)."""
    shape = (like.shape[0], *(1,) * (like.ndim - 1))
    return torch.rand(shape, device=like.device) >= drop_rate


def _choose(x: Tensor, y: Tensor, is_y: Tensor) -> Tensor:
    """Return ``y`` where that is said and ``x`` elsewhere, both to the bit if they are finite."""
    # Under autocast the types may differ.
    dtype = torch.promote_types(x.dtype, y.dtype)
    # Four times as fast as torch.where for rows, in both passes.
    return torch.lerp(x.to(dtype), y.to(dtype), is_y.to(dtype))


def rate_of_layer(index: int, count: int, drop_rate: float, distribution: str) -> float:
    """Return the drop rate of a layer: that of the last one, or growing linearly up to it.

    Args:
        index: the layer's number, from 0.
        count: how many layers there are.
        drop_rate: rate of the last layer.
        distribution: ``'linear'`` or ``'uniform'``.

    Source:
        Huang et al. 2016, section 3, "linear decay": ``p_l = l / L * p_L``.
    """
    return drop_rate * (index + 1) / count if distribution == "linear" else drop_rate


class StochasticLayer(nn.Module):
    """Base of all of them.

    Attributes:
        drop_rate: probability of leaving the main path out, in [0, 1].
        method: ``'block'`` decides for a whole batch and saves its time; ``'sample'`` decides for
            each sample.
    """

    def __init__(self, drop_rate: float, method: str) -> None:
        super().__init__()
        self.drop_rate = drop_rate
        self.method = method

    def extra_repr(self) -> str:
        """Return what is shown of the layer."""
        return f"drop_rate={self.drop_rate}, method={self.method!r}"


class _SplitLayer(StochasticLayer):
    """``after(shortcut(x) + main(x))``, of which the parts are known."""

    @abstractmethod
    def _main(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def _shortcut(self, x: Tensor) -> Tensor: ...

    def _after(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block.

        Args:
            x: shape (N, ...).
        """
        if self.training and self.method == "block":
            if _is_dropped(self.drop_rate):
                return self._after(self._shortcut(x))
            return self._after(self._shortcut(x) + self._main(x))
        main = self._main(x)
        share = _keeps(main, self.drop_rate) if self.training else 1.0 - self.drop_rate
        return self._after(self._shortcut(x) + main * share)


class BlockStochasticModule(_SplitLayer):
    """A residual block of two parts, ``residual(x) + main(x)``, to be used in models of one's own.

    In training the main path is left out with a probability; in evaluation it counts by the
    probability that it was there.

    Args:
        main: the main path.
        residual: the shortcut; the identity if ``None``.
        drop_rate: probability of leaving the main path out, in [0, 1].
    """

    def __init__(
        self, main: nn.Module, residual: nn.Module | None = None, drop_rate: float = 0.2
    ) -> None:
        super().__init__(drop_rate, "block")
        self.main = main
        self.residual = residual

    def _main(self, x: Tensor) -> Tensor:
        return self.main(x)

    def _shortcut(self, x: Tensor) -> Tensor:
        return x if self.residual is None else self.residual(x)


class StochasticResNetBlock(_SplitLayer):
    """A ``Bottleneck`` or ``BasicBlock`` as torchvision writes it.

    The layers keep their names, so weights fit with and without the method.

    Args:
        block: the block; its layers become this one's.
        drop_rate: probability of leaving the main path out, in [0, 1].
        method: ``'block'`` or ``'sample'``.
    """

    def __init__(self, block: nn.Module, drop_rate: float, method: str) -> None:
        super().__init__(drop_rate, method)
        for name, child in block.named_children():
            self.add_module(name, child)
        self._num_convs = 3 if hasattr(block, "conv3") else 2

    def _main(self, x: Tensor) -> Tensor:
        for number in range(1, self._num_convs + 1):
            x = getattr(self, f"conv{number}")(x)
            x = getattr(self, f"bn{number}")(x)
            if number < self._num_convs:
                x = self._after(x)
        return x

    def _shortcut(self, x: Tensor) -> Tensor:
        downsample: Any = getattr(self, "downsample", None)
        return x if downsample is None else downsample(x)

    def _after(self, x: Tensor) -> Tensor:
        relu: Any = self.relu
        return relu(x)


class StochasticBlock(StochasticLayer):
    """Any block with an identity shortcut, ``x + f(x)``, whose parts are not known.

    What the block adds is ``block(x) - x``. The block may take more arguments and return more than
    one thing, of which the first is meant; where it is left out, the others are ``None``.

    Args:
        block: the block.
        drop_rate: probability of leaving it out, in [0, 1].
        method: ``'block'`` or ``'sample'``.
    """

    def __init__(self, block: nn.Module, drop_rate: float, method: str) -> None:
        super().__init__(drop_rate, method)
        self.block = block
        # How many things the block returns beside the first; None where it returns one tensor.
        self._num_others: int | None = None
        self._was_tried = False

    def __getattr__(self, name: str) -> Any:
        # Models look at attributes of their blocks.
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("block"), name)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Compute the block.

        Args:
            x: what the shortcut carries, shape (N, ...).
            args: the block's other arguments.
            kwargs: the block's other arguments.

        Raises:
            ValueError: the block changes the shape, so its shortcut is not the identity.
        """
        if self.training and self.method == "block":
            if _is_dropped(self.drop_rate):
                return self._left_out(x, args, kwargs)
            return self.block(x, *args, **kwargs)
        outputs = self.block(x, *args, **kwargs)
        y = outputs[0] if isinstance(outputs, tuple) else outputs
        self._check_shape(x, y)
        if self.training:
            y = _choose(x, y, _keeps(x, self.drop_rate))
        else:
            y = x + (y - x) * (1.0 - self.drop_rate)
        return (y, *outputs[1:]) if isinstance(outputs, tuple) else y

    @run_eagerly
    def _left_out(self, x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self._was_tried:
            self._try(x, args, kwargs)
        return x if self._num_others is None else (x, *(None,) * self._num_others)

    @torch.no_grad()
    def _try(self, x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Run the block once to see what it returns, and leave no trace of that.

        Always before it is left out for the first time, so that a resumed run draws the same random
        numbers as one that was not interrupted.
        """
        kwargs = {name: value for name, value in kwargs.items() if name not in _CACHES}
        devices = [x.device] if x.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), model_eval_mode(self.block):
            outputs = self.block(x, *args, **kwargs)
        is_tuple = isinstance(outputs, tuple)
        self._check_shape(x, outputs[0] if is_tuple else outputs)
        self._num_others = len(outputs) - 1 if is_tuple else None
        self._was_tried = True

    def _check_shape(self, x: Tensor, y: Tensor) -> None:
        if x.shape != y.shape:
            raise ConfigError(
                f"{type(self.block).__name__} makes {tuple(y.shape)} of {tuple(x.shape)}, so it is "
                "no block with an identity shortcut and cannot be left out; point at other blocks "
                "with target_layer_name, or build them of BlockStochasticModule"
            )


def is_resnet_block(module: nn.Module) -> bool:
    """Whether a module is built as torchvision's ``BasicBlock`` and ``Bottleneck`` are."""
    needed = ("conv1", "bn1", "conv2", "bn2", "relu")
    return all(isinstance(getattr(module, name, None), nn.Module) for name in needed) and hasattr(
        module, "downsample"
    )


def make_stochastic(module: nn.Module, drop_rate: float, method: str) -> StochasticLayer:
    """Return a block that leaves out the main path of ``module`` at random.

    Args:
        module: the block.
        drop_rate: probability of leaving the main path out, in [0, 1].
        method: ``'block'`` or ``'sample'``.
    """
    wrapper = StochasticResNetBlock if is_resnet_block(module) else StochasticBlock
    return wrapper(module, drop_rate, method)


def make_resnet_bottleneck_stochastic(
    module: nn.Module,
    module_index: int,
    module_count: int,
    drop_rate: float,
    drop_distribution: str,
    stochastic_method: str = "block",
) -> StochasticLayer:
    """Return a stochastic form of one of a model's blocks.

    Args:
        module: the block.
        module_index: its number among the blocks, from 0.
        module_count: how many blocks there are.
        drop_rate: rate of the last block.
        drop_distribution: ``'linear'`` or ``'uniform'``.
        stochastic_method: ``'block'`` or ``'sample'``.
    """
    rate = rate_of_layer(module_index, module_count, drop_rate, drop_distribution)
    return make_stochastic(module, rate, stochastic_method)
