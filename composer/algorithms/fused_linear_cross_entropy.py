"""Fused linear cross-entropy: never hold the scores of all tokens at once.

Papers: Wijmans et al., "Cut Your Losses in Large-Vocabulary Language Models", 2024,
arXiv:2411.09009; Hsu et al., "Liger Kernel", 2024, arXiv:2410.10989; for the z-loss Chowdhery et
al., "PaLM", 2022, arXiv:2204.02311, section 5.

Idea: the last layer of a language model scores every word for every token, and the loss wants one
number of each token. Here the layer's scores are deferred: the loss goes through the tokens in
chunks, and takes losses and gradients from the scores of a chunk before the next are computed.
Values are those of the layer and ``cross_entropy`` apart, but for rounding.

When it helps: large vocabularies and long batches, in which scores and their gradients are what
fills the memory; a larger microbatch then fits. When it hurts: with a small vocabulary there is
nothing to save, and chunks cost a little time. A model or a loss that does anything else with its
scores in training than reshape them and take ``cross_entropy`` with class indices gets them whole:
the numbers are right, nothing is saved, and a warning in the log says so.

Suggested values: the defaults. ``z_loss=1e-4`` where scores drift away in low precision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeGuard

from torch import nn
from torch.optim import Optimizer

from composer.algorithms._checks import check_choice, check_number, warn_no_effect
from composer.algorithms._deferred_scores import DeferredLinear
from composer.algorithms._targets import check_target, find_targets
from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError
from composer.utils.module_surgery import replace_module_classes

__all__ = ["FusedLinearCrossEntropy", "apply_fused_linear_cross_entropy"]

_KERNELS = ("auto", "torch", "cut", "liger")


def apply_fused_linear_cross_entropy(
    model: nn.Module,
    optimizers: Optimizer | Sequence[Optimizer] | None = None,
    head: str | None = None,
    z_loss: float = 0.0,
    kernel: str = "auto",
) -> None:
    """Let a model's output layer defer its scores in training, in place; weights stay.

    Evaluation gets scores as always. A `NoEffectWarning` says so where there is no linear layer.

    Args:
        model: the model.
        optimizers: optimizers of its parameters, which need no change: parameters stay the objects
            they are.
        head: the output layer's name in the model, such as ``'model.lm_head'``; by default what
            transformers calls the output embedding, else the model's last linear layer.
        z_loss: factor on the squared log of the softmax's denominator, added to the loss in
            training.
        kernel: see :func:`composer.loss.linear_cross_entropy`.

    Raises:
        ValueError: ``head`` names no linear layer or several, or a number is out of range.

    Example:
        >>> model = nn.Sequential(nn.Embedding(100, 8), nn.Linear(8, 100))
        >>> apply_fused_linear_cross_entropy(model)
        >>> type(model(torch.tensor([[1, 2]]))).__name__
        'DeferredScores'
    """
    check_number("z_loss", z_loss, low=0)
    check_choice("kernel", kernel, _KERNELS)
    layer = _find_head(model) if head is None else _named_head(model, head)
    if layer is None:
        wanted, advice = "a linear layer at the end", "name it with head=..."
        warn_no_effect("fused linear cross-entropy", model, wanted, advice)
        return

    fused = DeferredLinear.like(layer, z_loss, kernel)
    replace_module_classes(
        model, {nn.Linear: lambda module, index: fused if module is layer else None}, optimizers
    )


def _find_head(model: nn.Module) -> nn.Linear | None:
    for module in model.modules():
        get = getattr(module, "get_output_embeddings", None)
        found = get() if callable(get) else None
        if _is_plain(found):
            return found
    linear = [module for module in model.modules() if _is_plain(module)]
    return linear[-1] if linear else None


def _named_head(model: nn.Module, head: str) -> nn.Linear:
    found = list(dict.fromkeys(find_targets(model, head).values()))
    if len(found) == 1 and _is_plain(found[0]):
        return found[0]
    known = [name for name, module in model.named_modules() if _is_plain(module)]
    raise ConfigError(
        f"head={head!r} must name one linear layer, and fits {[type(each) for each in found]}; the "
        f"model's last linear layers are {known[-3:]}"
    )


def _is_plain(module: object) -> TypeGuard[nn.Linear]:
    """Whether a module computes as torch's linear layer does, and not as one of a library's own."""
    return isinstance(module, nn.Linear) and type(module).forward in (
        nn.Linear.forward,
        DeferredLinear.forward,
    )


class FusedLinearCrossEntropy(Algorithm):
    """Defer the output layer's scores; see :func:`apply_fused_linear_cross_entropy`.

    Args:
        head: the output layer's name in the model; found by itself if ``None``.
        z_loss: factor on the squared log of the softmax's denominator, at least 0.
        kernel: see :func:`composer.loss.linear_cross_entropy`.

    Raises:
        ValueError: an argument is out of range.
    """

    events: Mapping[Event, str] = {Event.INIT: "convert"}
    writes = ("model",)

    def __init__(self, head: str | None = None, z_loss: float = 0.0, kernel: str = "auto") -> None:
        if head is not None:
            check_target("head", head)
        check_number("z_loss", z_loss, low=0)
        check_choice("kernel", kernel, _KERNELS)
        self.head, self.z_loss, self.kernel = head, z_loss, kernel

    def __repr__(self) -> str:
        values = (f"{name}={value!r}" for name, value in self.arguments().items())
        return f"FusedLinearCrossEntropy({', '.join(values)})"

    def convert(self, state: State, logger: Logger) -> None:
        """Replace the output layer."""
        apply_fused_linear_cross_entropy(
            state.model, state.optimizers, self.head, self.z_loss, self.kernel
        )
