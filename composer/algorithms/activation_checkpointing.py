"""Selective activation checkpointing: forget activations, and compute them again when needed.

Papers: Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016, arXiv:1604.06174; what
to keep: Korthikanti et al., "Reducing Activation Recomputation in Large Transformer Models", 2022,
arXiv:2205.05198.

Idea: the backward pass needs what the forward pass computed. Of the modules that are pointed at,
only the inputs are kept, and their forward pass runs again in the backward pass. ``save`` says
which results are dear and kept anyway: with those of matrix products and attention kept, what is
computed again is cheap.

When it helps: models whose activations, not whose weights, fill the memory; a larger microbatch or
a longer context then fits. When it hurts: where memory suffices, it only costs time: about a third
of a step with ``save='nothing'``.

Suggested values: the blocks of a transformer, with ``save='matmuls'``; ``save='nothing'`` where
that does not suffice. Models of transformers say themselves what their blocks are.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
    noop_context_fn,
)

from composer.algorithms._checks import warn_no_effect
from composer.algorithms._targets import Target, check_target, find_targets
from composer.core.algorithm import Algorithm, Order
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ArgumentTypeError, ConfigError, unknown_name

__all__ = ["ActivationCheckpointing", "apply_activation_checkpointing"]

log = logging.getLogger(__name__)

Policy = Callable[..., CheckpointPolicy]
Saved = str | Sequence[str] | Policy

_ATTENTION = (
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_flash_attention_forward",
    "_efficient_attention_forward",
)
_MATMULS = (*_ATTENTION, "mm", "addmm", "bmm", "baddbmm", "convolution", "_scaled_mm")
_SETS: dict[str, tuple[str, ...]] = {"nothing": (), "attention": _ATTENTION, "matmuls": _MATMULS}


def apply_activation_checkpointing(
    model: nn.Module,
    modules: Target | Sequence[Target] | None = None,
    save: Saved = "matmuls",
) -> None:
    """Checkpoint modules of a model in training, in place.

    Names of weights stay, and evaluation is not touched. A `NoEffectWarning` says so where no
    module is found. Modules inside a checkpointed one are not checkpointed again.

    Args:
        model: the model.
        modules: which: a class, the name of one, a pattern of names in the model such as
            ``'blocks.*'``, or several of these; by default the blocks of a transformers model.
        save: whose results are kept: those of ``'matmuls'`` (matrix products, convolutions and
            attention), of ``'attention'`` alone, of ``'nothing'``; names of torch operators such as
            ``['mm', 'aten.bmm']``; or a policy as
            ``torch.utils.checkpoint.create_selective_checkpoint_contexts`` takes it.

    Raises:
        ValueError: ``save`` is not known, or a module holds batch norm, whose running statistics
            would see each batch twice.

    Example:
        >>> model = nn.Sequential(nn.Sequential(nn.Linear(2, 4), nn.GELU()), nn.Linear(4, 2))
        >>> apply_activation_checkpointing(model, "0", save="nothing")
        >>> model(torch.rand(3, 2)).shape
        torch.Size([3, 2])
    """
    contexts = _contexts(save)
    found = _find(model, modules)
    for name, module in found.items():
        _check(name, module)
        module.forward = _Checkpointed(module, contexts)
    if not found:
        wanted = "the blocks of a transformers model" if modules is None else repr(modules)
        warn_no_effect("activation checkpointing", model, wanted)
        return
    # A cache of keys and values would be filled twice, and is of no use in training. Generation
    # asks for it by itself.
    for config in {id(c): c for m in model.modules() if (c := getattr(m, "config", None))}.values():
        if getattr(config, "use_cache", False):
            config.use_cache = False
            log.info("activation checkpointing: use_cache is off in the model's configuration")


class _Checkpointed:
    """A module's forward pass, done again in the backward pass."""

    def __init__(self, module: nn.Module, contexts: Callable[[], Any]) -> None:
        self._module, self._contexts = module, contexts

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        module = self._module
        forward = functools.partial(type(module).forward, module)
        if not (module.training and torch.is_grad_enabled()):
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, context_fn=self._contexts, **kwargs)


def _contexts(save: Saved) -> Callable[[], Any]:
    """Return what makes the contexts of the forward pass and of its repetition."""
    if callable(save):
        return functools.partial(create_selective_checkpoint_contexts, save)
    operators = _operators(save)
    if not operators:
        return noop_context_fn
    return functools.partial(create_selective_checkpoint_contexts, operators)


def _operators(save: str | Sequence[str]) -> list[Any]:
    """Return the operators, with all their overloads.

    Raises:
        UnknownNameError: no such set or operator.
        TypeError: no text.
    """
    if not isinstance(save, Sequence):
        raise ArgumentTypeError(
            f"save must be one of {', '.join(_SETS)}, a list of operators' names, or a policy, got "
            f"{save!r}"
        )
    if isinstance(save, str):
        if save not in _SETS:
            raise unknown_name("save", save, _SETS, "A list may name torch operators")
        names: Sequence[str] = [name for name in _SETS[save] if hasattr(torch.ops.aten, name)]
    else:
        names = save
    return [overload for name in names for overload in _overloads(name)]


def _overloads(name: object) -> list[Any]:
    if not isinstance(name, str):
        raise ArgumentTypeError(
            f"save names operators as text, such as 'mm' or 'aten.mm', got {name!r}"
        )
    library, _, rest = name.rpartition(".")
    packet = getattr(getattr(torch.ops, library or "aten"), rest, None)
    if packet is None or not hasattr(packet, "overloads"):
        raise ConfigError(f"save names {name!r}, and torch has no such operator; 'mm' is one")
    return [getattr(packet, each) for each in packet.overloads()]


def _find(model: nn.Module, modules: Target | Sequence[Target] | None) -> dict[str, nn.Module]:
    """Return the modules by name, outermost only."""
    targets = _targets(modules)
    if modules is None:
        blocks = (getattr(each, "_no_split_modules", None) for each in model.modules())
        targets = [name for names in blocks for name in names or ()]
    found: dict[str, nn.Module] = {}
    for target in targets:
        found |= find_targets(model, target)
    return {
        name: module
        for name, module in found.items()
        if not any(name.startswith(f"{other}.") for other in found)
    }


def _targets(modules: Target | Sequence[Target] | None) -> list[Target]:
    """Return them as a list.

    Raises:
        TypeError: something that points at no module.
    """
    if modules is None:
        return []
    targets: list[Any] = [*modules] if isinstance(modules, list | tuple) else [modules]
    for target in targets:
        check_target("modules", target)
    return targets


def _check(name: str, module: nn.Module) -> None:
    norms = [each for each in module.modules() if isinstance(each, _NormBase)]
    if any(norm.track_running_stats for norm in norms):
        raise ConfigError(
            f"{name} ({type(module).__name__}) holds batch norm, whose running statistics would "
            "see each batch twice; point at modules without it"
        )


class ActivationCheckpointing(Algorithm):
    """Checkpoint modules; see :func:`apply_activation_checkpointing`.

    Args:
        modules: which: the name of a class, a pattern of names in the model, or several; the blocks
            of a transformers model if ``None``.
        save: whose results are kept: ``'matmuls'``, ``'attention'``, ``'nothing'``, names of
            operators, or a policy.

    Raises:
        ValueError: ``save`` is not known.
    """

    # After methods that replace blocks.
    order = Order.LAST
    events: Mapping[Event, str] = {Event.INIT: "convert"}
    writes = ("model",)

    def __init__(self, modules: str | Sequence[str] | None = None, save: Saved = "matmuls") -> None:
        _targets(modules)
        _contexts(save)
        self.modules = modules
        self.save = save

    def __repr__(self) -> str:
        return f"ActivationCheckpointing(modules={self.modules!r}, save={self.save!r})"

    def convert(self, state: State, logger: Logger) -> None:
        """Checkpoint the modules."""
        apply_activation_checkpointing(state.model, self.modules, self.save)
