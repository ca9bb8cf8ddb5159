"""Methods that replace layers: the forward and backward pass of such a layer.

The version by hand computes with the parameters of the replaced layer and must give the same.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable

import torch
import torch.nn.functional as F
from _contest import Contest, Entries, Step
from torch import Tensor, nn

from composer import functional

__all__ = ["ENTRIES", "SETTING", "on_layer", "step_of_layer"]

SAMPLES, CHANNELS, SIDE = 32, 64, 8
TOKENS, LENGTH, WIDTH, HEADS = 256, 64, 128, 4
RATE = 0.2
SETTING = (
    f"Layers: {SAMPLES} images of {CHANNELS} x {SIDE} x {SIDE}, or {TOKENS} tokens of width "
    f"{WIDTH}; forward and backward pass."
)

Function = Callable[[Tensor], Tensor]


class ByHand(nn.Module):
    """A layer written by hand."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def step_of_layer(function: Function, inputs: Tensor, parameters: list[Tensor]) -> Step:
    """A forward and backward pass."""
    gradient = torch.ones_like(function(inputs))
    wanted = [inputs, *parameters]

    def step() -> None:
        # A block that is left out uses no parameters.
        torch.autograd.grad(function(inputs), wanted, gradient, allow_unused=True)

    return step


def on_layer(
    layer: nn.Module,
    change: Callable[[nn.Module], object],
    by_hand: Callable[[nn.Module], Function],
    inputs: Tensor,
) -> Contest:
    """The contest of a method that replaces layers.

    Args:
        layer: what is replaced.
        change: replaces layers inside a model.
        by_hand: takes the model with the replaced layer and returns a function that computes the
            same with the same parameters.
        inputs: what the layer is given.
    """
    model = nn.Sequential(layer)
    change(model)
    hand, parameters = nn.Sequential(ByHand(by_hand(model))), list(model.parameters())
    inputs = inputs.requires_grad_()
    torch.manual_seed(0)
    expected = hand(inputs)
    torch.manual_seed(0)
    torch.testing.assert_close(model(inputs), expected)
    return Contest(
        method=step_of_layer(model, inputs, parameters),
        by_hand=step_of_layer(hand, inputs, parameters),
    )


def images() -> Tensor:
    return torch.rand(SAMPLES, CHANNELS, SIDE, SIDE)


def tokens() -> Tensor:
    return torch.rand(TOKENS, WIDTH)


# By hand.


def blur_max_pool(model: nn.Module) -> Function:
    kernel = triangle()
    return lambda x: F.conv2d(
        F.max_pool2d(x, 2, stride=1), kernel, stride=2, padding=1, groups=CHANNELS
    )


def triangle() -> Tensor:
    line = torch.tensor([1.0, 2.0, 1.0])
    return (torch.outer(line, line) / 16).expand(CHANNELS, 1, 3, 3).contiguous()


def blur_conv(model: nn.Module) -> Function:
    kernel, (weight, bias) = triangle(), model.parameters()
    return lambda x: F.conv2d(
        F.conv2d(x, kernel, padding=1, groups=CHANNELS), weight, bias, stride=2, padding=1
    )


def squeeze_excite(model: nn.Module) -> Function:
    weight, bias, down, up = model.parameters()

    def forward(x: Tensor) -> Tensor:
        x = F.conv2d(x, weight, bias)
        shares = F.linear(F.relu(F.linear(x.mean((2, 3)), down)), up).sigmoid()
        return x * shares[:, :, None, None]

    return forward


def ghost_norm(model: nn.Module) -> Function:
    (weight, bias), (mean, variance, _) = model.parameters(), model.buffers()

    def forward(x: Tensor) -> Tensor:
        parts = [
            F.batch_norm(part, mean, variance, weight, bias, training=True, momentum=0.05)
            for part in x.split(SAMPLES // 2)
        ]
        return torch.cat(parts)

    return forward


def thin_linear(model: nn.Module) -> Function:
    down, up, bias = model.parameters()
    return lambda x: F.linear(F.linear(x, down), up, bias)


def thin_conv(model: nn.Module) -> Function:
    down, up, bias = model.parameters()
    return lambda x: F.conv2d(F.conv2d(x, down, padding=1), up, bias)


def gated(model: nn.Module) -> Function:
    gate, value, out, bias = model.parameters()
    return lambda x: F.linear(F.gelu(F.linear(x, gate)) * F.linear(x, value), out, bias)


class Residual(nn.Module):
    """``x + branch(x)``."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


def leave_out_block(model: nn.Module) -> Function:
    weight, bias = model.parameters()

    def forward(x: Tensor) -> Tensor:
        if torch.rand(1).item() < RATE:
            return x
        return x + F.linear(x, weight, bias)

    return forward


def leave_out_samples(model: nn.Module) -> Function:
    weight, bias = model.parameters()
    return lambda x: x + F.linear(x, weight, bias) * (torch.rand(len(x), 1) >= RATE)


def standardized(model: nn.Module) -> Function:
    bias, weight = model.parameters()

    def forward(x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(weight, (1, 2, 3), correction=0, keepdim=True)
        return F.conv2d(x, (weight - mean) * torch.rsqrt(variance + 1e-10), bias, padding=1)

    return forward


def low_precision(norm: Callable[..., Tensor]) -> Callable[[nn.Module], Function]:
    """A normalisation in bfloat16 under an autocast that would widen it."""

    def by_hand(model: nn.Module) -> Function:
        weight, bias = model.parameters()

        def forward(x: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                x, scale, shift = x.bfloat16(), weight.bfloat16(), bias.bfloat16()
                with torch.autocast("cpu", enabled=False):
                    return norm(x, scale, shift)

        return forward

    return by_hand


class Autocast(nn.Module):
    """A layer under bfloat16 autocast, as in a run with ``amp_bf16``."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.layer(x)


class SelfAttention(nn.Module):
    """torch's attention of sequences to themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=False)[0]


def biased_attention(model: nn.Module) -> Function:
    # With the same parameters, but without the hook that gives it biases.
    attention = copy.copy(model.get_submodule("0.attention"))
    attention._forward_pre_hooks = OrderedDict()
    slopes = torch.tensor([2.0 ** (-8 * (head + 1) / HEADS) for head in range(HEADS)])
    places = torch.arange(LENGTH)
    bias = slopes[:, None, None] * -(places[:, None] - places).abs()
    bias = bias.repeat(TOKENS // LENGTH, 1, 1)
    return lambda x: attention(x, x, x, attn_mask=bias, need_weights=False)[0]


ENTRIES: Entries = {
    "Alibi": lambda: on_layer(
        SelfAttention(),
        lambda model: functional.apply_alibi(model, max_sequence_length=LENGTH),
        biased_attention,
        tokens().view(-1, LENGTH, WIDTH),
    ),
    "BlurPool, convolution": lambda: on_layer(
        nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1),
        functional.apply_blurpool,
        blur_conv,
        images(),
    ),
    "BlurPool, pooling": lambda: on_layer(
        nn.MaxPool2d(2), functional.apply_blurpool, blur_max_pool, images()
    ),
    "Factorize, convolution": lambda: on_layer(
        nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
        lambda model: functional.apply_factorization(model, min_channels=CHANNELS),
        thin_conv,
        images(),
    ),
    "Factorize, linear": lambda: on_layer(
        nn.Linear(WIDTH, WIDTH),
        lambda model: functional.apply_factorization(
            model, min_features=WIDTH, latent_features=0.25
        ),
        thin_linear,
        tokens(),
    ),
    "GatedLinearUnits": lambda: on_layer(
        nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)),
        lambda model: functional.apply_gated_linear_units(model, feed_forward="0"),
        gated,
        tokens(),
    ),
    "GhostBatchNorm": lambda: on_layer(
        nn.BatchNorm2d(CHANNELS),
        lambda model: functional.apply_ghost_batchnorm(model, SAMPLES // 2),
        ghost_norm,
        images(),
    ),
    "LowPrecisionGroupNorm": lambda: on_layer(
        Autocast(nn.GroupNorm(8, CHANNELS)),
        functional.apply_low_precision_groupnorm,
        low_precision(lambda x, *weights: F.group_norm(x, 8, *weights)),
        images(),
    ),
    "LowPrecisionLayerNorm": lambda: on_layer(
        Autocast(nn.LayerNorm(WIDTH)),
        functional.apply_low_precision_layernorm,
        low_precision(lambda x, *weights: F.layer_norm(x, (WIDTH,), *weights)),
        tokens(),
    ),
    "SqueezeExcite": lambda: on_layer(
        nn.Conv2d(CHANNELS, CHANNELS, 1),
        lambda model: functional.apply_squeeze_excite(model, 0.5, min_channels=CHANNELS),
        squeeze_excite,
        images(),
    ),
    "StochasticDepth, block": lambda: on_layer(
        Residual(),
        lambda model: functional.apply_stochastic_depth(model, "Residual", "block", RATE),
        leave_out_block,
        tokens(),
    ),
    "StochasticDepth, sample": lambda: on_layer(
        Residual(),
        lambda model: functional.apply_stochastic_depth(model, "Residual", "sample", RATE),
        leave_out_samples,
        tokens(),
    ),
    "WeightStandardization": lambda: on_layer(
        nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
        functional.apply_weight_standardization,
        standardized,
        images(),
    ),
}
