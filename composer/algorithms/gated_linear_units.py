"""Gated linear units: feed-forward layers in which one half decides how much of the other passes.

Paper: Shazeer, "GLU Variants Improve Transformer", 2020, arXiv:2002.05202.

Idea: ``act(x W)`` in front of the output projection becomes ``act(x W_g) * (x W_v)``. With GELU as
activation it is called GEGLU, with SiLU SwiGLU.

When it helps: transformers trained from scratch; the paper finds lower perplexity at equal
parameters and compute, and most language models since have gated layers. When it hurts: the layer
has half as many parameters again, so compare with a width inside of two thirds; models that were
pretrained without it lose what their feed-forward layers knew.

Suggested values: no biases, the model's own activation, ``d_ff`` two thirds of what it would be.
A checkpoint trained with it needs it on load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torch.nn import Parameter
from torch.optim import Optimizer

from composer.algorithms._checks import check_flags, warn_no_effect
from composer.algorithms._gated_layers import (
    Activation,
    BERTGatedFFOutput,
    GatedLinear,
    gate_feed_forward,
    name_of_activation,
    resolve_activation,
)
from composer.algorithms._targets import (
    Target,
    check_target,
    find_targets,
    in_words,
    transformers_class,
)
from composer.core.algorithm import Algorithm, Order
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError
from composer.utils.iter_helpers import ensure_tuple
from composer.utils.optimizer_surgery import swap_parameters

__all__ = [
    "BERTGatedFFOutput",
    "GatedLinearUnits",
    "apply_gated_linear_units",
    "from_BertIntermediate",
    "from_BertOutput",
]

# Layers with an intermediate and an output part, and feed-forward blocks that are known.
_PAIRS = (
    ("bert.modeling_bert", "BertIntermediate", "BertOutput"),
    ("roberta.modeling_roberta", "RobertaIntermediate", "RobertaOutput"),
)
_BLOCKS = (("gpt2.modeling_gpt2", "GPT2MLP"),)
_TORCH_BLOCKS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


def apply_gated_linear_units(
    model: nn.Module,
    optimizers: Optimizer | Sequence[Optimizer] | None = None,
    act_fn: str | Activation | None = None,
    gated_layer_bias: bool = False,
    non_gated_layer_bias: bool = False,
    feed_forward: Target | None = None,
) -> None:
    """Gate the feed-forward layers of a model, in place.

    Weights that have a place in the gated layers are kept; those of the gates are drawn from the
    weights of the layer they stand beside.

    Args:
        model: the model. A `NoEffectWarning` says so if it has no such layer.
        optimizers: optimizers of the model's parameters.
        act_fn: the activation function, or its name in ``torch.nn.functional``; each layer's own
            if ``None``.
        gated_layer_bias: whether gates have a bias.
        non_gated_layer_bias: whether the layers beside them have one.
        feed_forward: which blocks to gate: a class, the name of one, or a pattern of the blocks'
            names in the model such as ``'blocks.*.feed_forward'``. A block has two linear layers,
            to a width inside and back, and an activation. By default those of BERT, RoBERTa and
            GPT-2 in transformers, and torch's transformer layers.

    Raises:
        ValueError: no such activation function, or a block that cannot be gated.

    Example:
        >>> model = nn.Sequential(nn.Sequential(nn.Linear(2, 4), nn.GELU(), nn.Linear(4, 2)))
        >>> apply_gated_linear_units(model, feed_forward="0")
        >>> type(model[0][0]).__name__
        'GatedLinear'

    Source:
        Shazeer 2020, equation (6).
    """
    function = resolve_activation(act_fn)
    biases = (gated_layer_bias, non_gated_layer_bias)
    blocks = _find_blocks(model, feed_forward)
    replaced: list[tuple[nn.Module, nn.Module]] = [
        gate_feed_forward(block, function, *biases) for block in blocks
    ]
    if feed_forward is None:
        for layer in _bert_layers(model):
            replaced += _gate_bert(layer, function, *biases)
    in_use = set(model.parameters())
    for old, new in replaced:
        swap_parameters(_named(old), _named(new), ensure_tuple(optimizers), in_use)
    if not replaced and not any(_is_gated(module) for module in model.modules()):
        if feed_forward is not None:
            warn_no_effect("GatedLinearUnits", model, in_words(feed_forward))
        else:
            known = "the layers of BERT, RoBERTa, GPT-2 and torch.nn.Transformer"
            warn_no_effect("GatedLinearUnits", model, known, "point at others with feed_forward=")


def _named(module: nn.Module) -> dict[str, Parameter]:
    return dict(module.named_parameters())


def _is_gated(module: nn.Module) -> bool:
    return isinstance(module, GatedLinear | BERTGatedFFOutput)


def _find_blocks(model: nn.Module, feed_forward: Target | None) -> list[nn.Module]:
    """Return the blocks to gate, without those that are gated already."""
    if feed_forward is not None:
        found = list(dict.fromkeys(find_targets(model, feed_forward).values()))
    else:
        hf = [transformers_class(module, name) for module, name in _BLOCKS]
        classes = (*_TORCH_BLOCKS, *(cls for cls in hf if cls is not None))
        found = [module for module in model.modules() if isinstance(module, classes)]
    return [each for each in found if not any(_is_gated(child) for child in each.children())]


def _bert_layers(model: nn.Module) -> list[Any]:
    """Return modules whose parts ``intermediate`` and ``output`` are those of a known pair."""
    pairs = [
        (transformers_class(module, first), transformers_class(module, second))
        for module, first, second in _PAIRS
    ]
    return [
        module
        for module in model.modules()
        for first, second in pairs
        if first is not None
        and second is not None
        and isinstance(getattr(module, "intermediate", None), first)
        and isinstance(getattr(module, "output", None), second)
    ]


def _gate_bert(
    layer: Any, act_fn: Activation | None, gate_bias: bool, value_bias: bool
) -> list[tuple[nn.Module, nn.Module]]:
    """Gate one layer, and return what was replaced, each with its replacement."""
    intermediate, output = layer.intermediate, layer.output
    act_fn = act_fn or intermediate.intermediate_act_fn
    if not callable(act_fn):
        raise ConfigError(f"{type(layer).__name__} has no activation function; give act_fn")
    layer.intermediate = from_BertIntermediate(intermediate, 0)
    layer.output = from_BertOutput(output, 0, act_fn, gate_bias, value_bias)
    # Both together, because the new output has the weights of both.
    return [(nn.ModuleList([intermediate, output]), nn.ModuleList([nn.Identity(), layer.output]))]


def from_BertIntermediate(layer: nn.Module, module_index: int) -> nn.Identity:  # noqa: N802
    """Return what replaces the first half of a BERT feed-forward layer: nothing.

    Args:
        layer: the first half.
        module_index: its number.
    """
    del layer, module_index
    return nn.Identity()


def from_BertOutput(  # noqa: N802 - Composer's name
    layer: nn.Module,
    module_index: int,
    act_fn: Activation,
    gated_layer_bias: bool = False,
    non_gated_layer_bias: bool = False,
) -> BERTGatedFFOutput:
    """Return what replaces the second half of a BERT feed-forward layer: all of it, gated.

    Args:
        layer: the second half: ``dense``, ``dropout`` and ``LayerNorm``.
        module_index: its number.
        act_fn: the activation function.
        gated_layer_bias: whether the gate has a bias.
        non_gated_layer_bias: whether the layer beside it has one.
    """
    del module_index
    parts: Any = layer
    new = BERTGatedFFOutput(
        parts.dense.out_features,
        parts.dense.in_features,
        parts.dropout.p,
        act_fn,
        parts.LayerNorm.eps,
        gated_layer_bias,
        non_gated_layer_bias,
    )
    weight = parts.dense.weight
    new.to(device=weight.device, dtype=weight.dtype).train(layer.training)
    new.take_weights(parts.dense, parts.LayerNorm)
    return new


class GatedLinearUnits(Algorithm):
    """Gate the feed-forward layers; see :func:`apply_gated_linear_units`.

    Args:
        act_fn: the activation function, or its name in ``torch.nn.functional``; each layer's own
            if ``None``. A checkpoint can bring the method along only where it has such a name.
        gated_layer_bias: whether gates have a bias.
        non_gated_layer_bias: whether the layers beside them have one.
        feed_forward: which blocks to gate: the name of a class or a pattern of names in the model.

    Raises:
        ValueError: no such activation function.
    """

    # Before methods that replace single layers, of which blocks would not be known again.
    order = Order.FIRST
    events: Mapping[Event, str] = {Event.INIT: "convert"}
    writes = ("model", "optimizers")

    def __init__(
        self,
        act_fn: str | Activation | None = None,
        gated_layer_bias: bool = False,
        non_gated_layer_bias: bool = False,
        feed_forward: str | None = None,
    ) -> None:
        resolve_activation(act_fn)
        check_flags(gated_layer_bias=gated_layer_bias, non_gated_layer_bias=non_gated_layer_bias)
        if feed_forward is not None:
            check_target("feed_forward", feed_forward)
        self.act_fn = act_fn
        self.gated_layer_bias = gated_layer_bias
        self.non_gated_layer_bias = non_gated_layer_bias
        self.feed_forward = feed_forward

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values."""
        return {**super().arguments(), "act_fn": name_of_activation(self.act_fn)}

    @staticmethod
    def required_on_load() -> bool:
        """Return True: the layers have other weights."""
        return True

    def convert(self, state: State, logger: Logger) -> None:
        """Gate the layers."""
        apply_gated_linear_units(
            state.model,
            state.optimizers,
            self.act_fn,
            self.gated_layer_bias,
            self.non_gated_layer_bias,
            self.feed_forward,
        )
