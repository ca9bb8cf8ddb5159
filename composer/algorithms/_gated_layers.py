"""Gated feed-forward layers, and how one is made of a plain one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from composer.errors import ArgumentTypeError, ConfigError, unknown_name

__all__ = [
    "Activation",
    "BERTGatedFFOutput",
    "GatedLinear",
    "gate_feed_forward",
    "name_of_activation",
    "resolve_activation",
]

Activation = Callable[[Tensor], Tensor]

# Where blocks keep an activation that is no module.
_ACTIVATION_NAMES = ("activation", "activation_fn", "act", "act_fn", "intermediate_act_fn")


def resolve_activation(act_fn: str | Activation | None) -> Activation | None:
    """Return the function that a name such as ``'gelu'`` means in ``torch.nn.functional``.

    Args:
        act_fn: a name, a function, or ``None``, which stays.

    Raises:
        ValueError: no such function.
        TypeError: neither a name nor a function.
    """
    if act_fn is not None and not isinstance(act_fn, str) and not callable(act_fn):
        raise ArgumentTypeError(f"act_fn must be a function or its name, got {act_fn!r}")
    if not isinstance(act_fn, str):
        return act_fn
    function = getattr(F, act_fn, None)
    if not callable(function):
        known = [name for name in dir(F) if name.islower() and not name.startswith("_")]
        raise unknown_name("function of torch.nn.functional", act_fn, known)
    return cast("Activation", function)


def name_of_activation(act_fn: str | Activation | None) -> str | None:
    """Return a name by which a checkpoint can keep an activation function."""
    if act_fn is None or isinstance(act_fn, str):
        return act_fn
    name = getattr(act_fn, "__name__", type(act_fn).__name__)
    if getattr(F, name, None) is act_fn:
        return name
    return f"{getattr(act_fn, '__module__', type(act_fn).__module__)}.{name}"


class GatedLinear(nn.Module):
    """``act(gate(x)) * value(x)``, in place of ``act(linear(x))``.

    Args:
        in_features: size of the last dimension of the input.
        out_features: size of the last dimension of the output.
        act_fn: the activation function.
        gate_bias: whether the gate has a bias.
        value_bias: whether the other layer has one.
        like: gives device and number format.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        act_fn: Activation,
        gate_bias: bool,
        value_bias: bool,
        like: Tensor,
    ) -> None:
        super().__init__()
        place: dict[str, Any] = {"device": like.device, "dtype": like.dtype}
        self.gate = nn.Linear(in_features, out_features, bias=gate_bias, **place)
        self.value = nn.Linear(in_features, out_features, bias=value_bias, **place)
        self.act = act_fn

    def forward(self, x: Tensor) -> Tensor:
        """Compute the layer.

        Args:
            x: shape (..., in_features).

        Returns:
            Shape (..., out_features).
        """
        return self.act(self.gate(x)) * self.value(x)


class BERTGatedFFOutput(nn.Module):
    """The feed-forward part of a BERT layer, gated: both of its halves and what follows them.

    Args:
        d_embed: width of the model.
        d_ff: width inside.
        dropout_rate: dropout of what is inside, in [0, 1].
        act_fn: the activation function.
        layernorm_eps: added to variances.
        gated_layer_bias: whether the gate has a bias.
        non_gated_layer_bias: whether the other layer has one.
    """

    def __init__(
        self,
        d_embed: int,
        d_ff: int,
        dropout_rate: float,
        act_fn: Activation,
        layernorm_eps: float,
        gated_layer_bias: bool = False,
        non_gated_layer_bias: bool = False,
    ) -> None:
        super().__init__()
        self.gated_layer = nn.Linear(d_embed, d_ff, bias=gated_layer_bias)
        self.non_gated_layer = nn.Linear(d_embed, d_ff, bias=non_gated_layer_bias)
        self.wo = nn.Linear(d_ff, d_embed)
        self.dropout = nn.Dropout(dropout_rate)
        self.act = act_fn
        self.layernorm = nn.LayerNorm(d_embed, eps=layernorm_eps)

    def forward(self, hidden_states: Tensor, residual_connection: Tensor) -> Tensor:
        """Compute the layer.

        Args:
            hidden_states: shape (..., d_embed).
            residual_connection: what is added before the normalisation, of the same shape.

        Returns:
            ``layernorm(wo(dropout(act(gated(x)) * non_gated(x))) + residual)``, of the same shape.
        """
        hidden = self.act(self.gated_layer(hidden_states)) * self.non_gated_layer(hidden_states)
        return self.layernorm(self.wo(self.dropout(hidden)) + residual_connection)

    @torch.no_grad()
    def take_weights(self, dense: nn.Module, norm: nn.Module) -> None:
        """Take over the output layer and normalisation of the layer that this one replaces.

        Args:
            dense: its linear layer, from ``d_ff`` to ``d_embed``.
            norm: its layer norm.
        """
        self.wo.load_state_dict(dense.state_dict())
        self.layernorm.load_state_dict(norm.state_dict())
        for layer in (self.gated_layer, self.non_gated_layer):
            layer.weight.copy_(_shuffled(self.wo.weight).view_as(layer.weight))


def gate_feed_forward(
    block: nn.Module, act_fn: Activation | None, gate_bias: bool, value_bias: bool
) -> tuple[nn.Module, GatedLinear]:
    """Gate a feed-forward block, in place.

    Its first linear layer becomes the second factor, the gate begins with weights of the same
    distribution, and the activation moves into the gate.

    Args:
        block: a module with two linear layers, to a width inside and back, and an activation.
        act_fn: the gate's activation function; the block's own if ``None``.
        gate_bias: whether the gate has a bias.
        value_bias: whether the other layer has one.

    Returns:
        The layer that was replaced, and the one that replaced it.

    Raises:
        ValueError: the block is not of this kind.
    """
    name, up = _first_linear(block)
    own = _take_activation(block)
    in_features, out_features = _sizes(up) or (0, 0)
    weight: Tensor = up.get_parameter("weight")
    gated = GatedLinear(
        in_features, out_features, act_fn or own, gate_bias, value_bias, like=weight
    )
    with torch.no_grad():
        is_transposed = not isinstance(up, nn.Linear)
        gated.value.weight.copy_(weight.T if is_transposed else weight)
        gated.gate.weight.copy_(_shuffled(weight).view_as(gated.gate.weight))
        bias = getattr(up, "bias", None)
        if gated.value.bias is not None and bias is not None:
            gated.value.bias.copy_(bias)
    gated.train(block.training)
    setattr(block, name, gated)
    return up, gated


def _shuffled(weight: Tensor) -> Tensor:
    order = torch.randperm(weight.numel()).to(weight.device)
    return weight.detach().flatten()[order]


def _sizes(module: nn.Module) -> tuple[int, int] | None:
    """Return the input and output sizes of a linear layer; transformers has one of its own."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):
        rows, columns = module.get_parameter("weight").shape
        return rows, columns
    return None


def _first_linear(block: nn.Module) -> tuple[str, nn.Module]:
    linears = [(name, child, _sizes(child)) for name, child in block.named_children()]
    found = [(name, child, sizes) for name, child, sizes in linears if sizes is not None]
    if len(found) == 2 and found[0][2] == found[1][2][::-1]:
        return found[0][0], found[0][1]
    raise ConfigError(
        f"{type(block).__name__} is no feed-forward block that can be gated: it must have two "
        "linear layers, to a width inside and back, and has "
        f"{[(name, sizes) for name, _, sizes in found]}"
    )


def _same(x: Tensor) -> Tensor:
    return x


def _take_activation(block: nn.Module) -> Activation:
    """Take the activation function out of a block and return it."""
    modules = list(_activation_modules(block))
    if len(modules) == 1:
        name, module = modules[0]
        setattr(block, name, nn.Identity())
        return module
    names = [name for name in _ACTIVATION_NAMES if callable(getattr(block, name, None))]
    if modules or len(names) != 1:
        raise ConfigError(
            f"{type(block).__name__} has {len(modules) or len(names)} activations, and one is "
            "needed as a module of the block or as its attribute "
            f"{' or '.join(map(repr, _ACTIVATION_NAMES))}; one that is called by name inside "
            "forward cannot be taken out"
        )
    function: Activation = getattr(block, names[0])
    setattr(block, names[0], _same)
    if hasattr(block, "activation_relu_or_gelu"):
        # torch's transformer layers would compute with kernels of their own otherwise.
        cast("Any", block).activation_relu_or_gelu = 0
    return function


def _activation_modules(block: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, child in block.named_children():
        place = type(child).__module__
        is_plain = not any(True for _ in child.parameters())
        if is_plain and place in ("torch.nn.modules.activation", "transformers.activations"):
            yield name, child
