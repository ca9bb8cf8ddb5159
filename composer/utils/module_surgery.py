"""Replace layers of a model, and their parameters in the optimizers.

Methods such as BlurPool change a model that already has its optimizer. They say which class of
module becomes what; the walk through the model, shared layers, devices, number formats and the
optimizers are handled here.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch.nn import Module, Parameter
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from composer.errors import ArgumentTypeError, StateError
from composer.utils.iter_helpers import ensure_tuple
from composer.utils.optimizer_surgery import swap_parameters, update_params_in_optimizer

__all__ = [
    "ReplacementFunction",
    "count_module_instances",
    "replace_module_classes",
    "update_params_in_optimizer",
]

log = logging.getLogger(__name__)

ReplacementFunction = Callable[[Module, int], Module | None]
"""Takes a module and its number among the modules of its policy; returns what replaces it."""

# A policy that always returns a module of its own class would replace its own result for ever.
_MAX_CHAIN = 100


def replace_module_classes(
    module: Module,
    policies: Mapping[type[Module], ReplacementFunction],
    optimizers: Optimizer | Sequence[Optimizer] | None = None,
    recurse_on_replacements: bool = False,
    indices: MutableMapping[Any, int] | None = None,
) -> dict[Module, Module]:
    """Replace modules inside a model, in place.

    Modules are visited from the top down in the order in which they are registered; ``module``
    itself is not replaced. A module used in several places is asked about once and replaced in all
    of them. A replacement gets the device, number format and training mode of the module it
    replaces; weights are its own business.

    Args:
        module: the model.
        policies: class -> function that gets a module of this class (or of a subclass) and its
            number, and returns the replacement or ``None``. The first policy that returns a
            replacement wins.
        optimizers: optimizers whose parameters follow, see :func:`update_params_in_optimizer`.
            A new parameter goes where the old one of the same name was, so that weights and biases
            may be in different groups. Parameters that the model still uses elsewhere stay.
        recurse_on_replacements: apply the policies to the replacements too, and to what they
            contain.
        indices: class -> number of the next module, counted up here; shared between calls it
            numbers on.

    Returns:
        ``{old module: its replacement}``, in the order of the visits.

    Raises:
        TypeError: the model is already wrapped or sharded, or a policy does not return a module.
        RuntimeError: a policy goes on replacing its own result, or it is not clear to which
            parameter group new parameters belong.

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.ReLU(), nn.Linear(2, 2))
        >>> _ = replace_module_classes(model, {nn.ReLU: lambda module, index: nn.GELU()})
        >>> model[0]
        GELU(approximate='none')
    """
    _refuse_wrapped(module)
    surgery = _Surgery(module, policies, recurse_on_replacements, indices)
    surgery.visit(module)
    if optimizers:
        in_use = set(module.parameters())
        for old, new in surgery.replaced.items():
            swap_parameters(_by_name(old), _by_name(new), ensure_tuple(optimizers), in_use)
    elif surgery.replaced:
        log.info("layers were replaced and no optimizer was given; make the optimizer afterwards")
    return surgery.replaced


def count_module_instances(
    module: Module, module_class: type[Module] | tuple[type[Module], ...]
) -> int:
    """Count the modules of a class inside a model; a shared one counts once, the model not.

    Args:
        module: the model.
        module_class: the class, or several; subclasses count.

    Example:
        >>> from torch import nn
        >>> count_module_instances(nn.Sequential(nn.ReLU(), nn.ReLU()), nn.ReLU)
        2
    """
    inside = chain.from_iterable(child.modules() for child in module.children())
    return len({each for each in inside if isinstance(each, module_class)})


class _Surgery:
    """One walk through a model: asks the policies and puts in what they return."""

    def __init__(
        self,
        root: Module,
        policies: Mapping[type[Module], ReplacementFunction],
        recurse: bool,
        indices: MutableMapping[Any, int] | None,
    ) -> None:
        self._policies = policies
        self._recurse = recurse
        self._indices = indices if indices is not None else dict.fromkeys(policies, 0)
        self._default = _Look(root)
        self._seen: set[Module] = set()
        # Replacements whose inside is being visited, and modules that live on inside their own
        # replacement.
        self._open: set[Module] = set()
        self._wrapped: set[Module] = set()
        self.replaced: dict[Module, Module] = {}

    def visit(self, parent: Module) -> None:
        """Replace children, or go into them."""
        for name, child in list(parent._modules.items()):
            if child is None:
                continue
            if child in self.replaced:
                self._visit_again(parent, name, child)
            elif child not in self._seen:
                self._visit_child(parent, name, child)

    def _visit_child(self, parent: Module, name: str, child: Module) -> None:
        self._seen.add(child)
        current = child
        for _ in range(_MAX_CHAIN):
            new = self._ask_policies(current)
            if new is None or new is current:
                break
            (_Look(current) or self._default).give_to(new, keep=current)
            self.replaced[current] = current = new
            self._seen.add(new)
            if not self._recurse:
                break
        else:
            raise StateError(
                f"the policy for {type(current).__name__} replaced its own result {_MAX_CHAIN} "
                "times; let it return None at some point, or use recurse_on_replacements=False"
            )
        if current is child:
            self.visit(child)
            return
        setattr(parent, name, current)
        if self._recurse:
            self._open.add(current)
            self.visit(current)
            self._open.remove(current)

    def _visit_again(self, parent: Module, name: str, child: Module) -> None:
        """Put the replacement in another place, but not inside itself, where it would be a loop."""
        new = child
        while new in self.replaced:
            new = self.replaced[new]
        if new not in self._open:
            setattr(parent, name, new)
        elif child not in self._wrapped:
            self._wrapped.add(child)
            self.visit(child)

    def _ask_policies(self, module: Module) -> Module | None:
        for policy_class, policy in self._policies.items():
            if not isinstance(module, policy_class):
                continue
            index = self._indices.setdefault(policy_class, 0)
            new = policy(module, index)
            self._indices[policy_class] = index + 1
            if new is None:
                continue
            if not isinstance(new, Module):
                raise ArgumentTypeError(
                    f"the policy for {policy_class.__name__} returned {new!r}; "
                    "it must return a module, or None to keep the old one"
                )
            return new
        return None


class _Look:
    """Device, number format and training mode of a module, to be given to another one."""

    def __init__(self, module: Module) -> None:
        parameters, buffers = list(module.parameters()), list(module.buffers())
        first = next(iter([*parameters, *buffers]), None)
        self.device = None if first is None else first.device
        self.parameter_dtype = _only_dtype(parameters)
        floating = [buffer for buffer in buffers if buffer.is_floating_point()]
        self.buffer_dtype = _only_dtype(floating) if floating else self.parameter_dtype

    def __bool__(self) -> bool:
        return self.device is not None

    def give_to(self, new: Module, keep: Module) -> None:
        """Give them to ``new``; parts of ``keep`` that live on inside it keep their own."""
        if self.device is not None and _is_elsewhere(new, self.device):
            new.to(self.device)
        kept = set(keep.modules())
        for module in new.modules():
            if module in kept:
                continue
            module.training = keep.training
            _cast(module._parameters.values(), self.parameter_dtype)
            _cast(module._buffers.values(), self.buffer_dtype)


def _only_dtype(tensors: Sequence[torch.Tensor]) -> torch.dtype | None:
    """The number format that all floating-point tensors have; ``None`` where they differ."""
    dtypes = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    return dtypes.pop() if len(dtypes) == 1 else None


def _is_elsewhere(module: Module, device: torch.device) -> bool:
    return any(each.device != device for each in chain(module.parameters(), module.buffers()))


def _cast(tensors: Iterable[torch.Tensor | None], dtype: torch.dtype | None) -> None:
    for tensor in tensors:
        if tensor is not None and dtype is not None and tensor.is_floating_point():
            # Through .data, so that parameters stay the objects they are.
            tensor.data = tensor.data.to(dtype)


def _by_name(module: Module) -> dict[str, Parameter]:
    return dict(module.named_parameters())


def _refuse_wrapped(module: Module) -> None:
    fsdp = sys.modules.get("torch.distributed.fsdp")
    sharded: tuple[type, ...] = () if fsdp is None else (fsdp.FSDPModule,)
    for each in module.modules():
        if isinstance(each, DistributedDataParallel):
            raise ArgumentTypeError(
                "the model is wrapped in DistributedDataParallel, which would not see new "
                "parameters; replace layers of `model.module`, then wrap it"
            )
        if isinstance(each, sharded):
            raise ArgumentTypeError(
                "the model is sharded, and new layers would not be; replace layers before sharding"
            )
