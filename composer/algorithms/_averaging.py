"""Averages of weights: which tensors take part, and one step of the average for all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from composer.core.weight_view import swap_tensors
from composer.errors import StateError

__all__ = [
    "LatestSets",
    "WeightPairs",
    "copies_like",
    "has_average",
    "named_tensors",
    "select_tensors",
    "trained_tensors",
]

# Layers whose buffers are running statistics, always finite.
_NORMS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)


def named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Return the names and tensors of all parameters and buffers, each tensor once."""
    yield from model.named_parameters()
    yield from model.named_buffers()


def trained_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return what training moves: parameters that are not frozen, and stored buffers.

    Integers and truth values are left out: a counter has no average.
    """
    tensors: dict[str, Tensor] = {n: p for n, p in model.named_parameters() if p.requires_grad}
    derived = {
        id(buffer)
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
        if name in module._non_persistent_buffers_set
    }
    tensors.update((n, b) for n, b in model.named_buffers() if id(b) not in derived)
    return {name: tensor for name, tensor in tensors.items() if has_average(tensor)}


def has_average(tensor: Tensor) -> bool:
    """Whether the numbers of a tensor can be averaged."""
    return tensor.is_floating_point() or tensor.is_complex()


def select_tensors(model: nn.Module, names: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the model's parameters and buffers of these names.

    Raises:
        RuntimeError: the model lacks some.
    """
    tensors = dict(named_tensors(model))
    missing = sorted(names.keys() - tensors.keys())
    if missing:
        raise StateError(
            f"{type(model).__name__} has no {', '.join(map(repr, missing[:5]))} "
            f"({len(missing)} of {len(names)} averaged tensors are missing); averages only fit the "
            "model they were made with"
        )
    return {name: tensors[name] for name in names}


@torch.no_grad()
def copies_like(values: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return copies of ``values`` on the devices and in the formats of the model's tensors."""
    tensors = select_tensors(model, values)
    return {n: torch.empty_like(t.detach()).copy_(values[n]) for n, t in tensors.items()}


class LatestSets:
    """A model's weights, the latest sets of them and the mean of these, each in one list.

    Args:
        model: the model.
        mean: what is overwritten with the mean, by name.
        sets: at least one, the oldest first, with the same names, shapes, devices and number
            formats.

    Raises:
        RuntimeError: the model lacks some of the names.
    """

    def __init__(
        self, model: nn.Module, mean: Mapping[str, Tensor], sets: Sequence[Mapping[str, Tensor]]
    ) -> None:
        self._weights = [_local(each) for each in select_tensors(model, mean).values()]
        self._mean = [_local(each) for each in mean.values()]
        self._sets = [[_local(each[name]) for name in mean] for each in sets]

    def take(self) -> None:
        """Put the weights in the place of the oldest set, and set the mean anew."""
        # All of these are detached, so nothing is recorded.
        sets, mean = self._sets, self._mean
        sets.append(sets.pop(0))
        torch._foreach_copy_(sets[-1], self._weights)
        torch._foreach_copy_(mean, sets[0])
        for each in sets[1:]:
            torch._foreach_add_(mean, each)
        if len(sets) > 1:
            torch._foreach_div_(mean, len(sets))


class WeightPairs:
    """A model's weights and their averages, in groups that one fused operation can treat.

    Args:
        model: the model.
        averages: averages of its parameters and buffers, by name, of the same shapes, devices and
            number formats.

    Raises:
        RuntimeError: the model lacks some of the names.
    """

    def __init__(self, model: nn.Module, averages: Mapping[str, Tensor]) -> None:
        groups: dict[Any, tuple[list[Tensor], list[Tensor]]] = defaultdict(lambda: ([], []))
        finite = {id(tensor) for tensor in _finite_tensors(model)}
        for name, weight in select_tensors(model, averages).items():
            kind = _kind(weight, id(weight) in finite)
            local = _local(weight)
            group = groups[kind, local.device, local.dtype]
            group[0].append(local)
            group[1].append(_local(averages[name]))
        self._groups = [(kind, *tensors) for (kind, *_), tensors in groups.items()]

    def average(self, smoothing: float) -> None:
        """Set averages to ``smoothing * average + (1 - smoothing) * weight``.

        Integers and truth values are copied.
        """
        # All of these are detached, so nothing is recorded and no context is needed for that.
        for kind, weights, averages in self._groups:
            if kind == "finite":
                torch._foreach_lerp_(averages, weights, 1 - smoothing)
            elif kind == "any":
                # No lerp: masks may hold infinities, whose difference is no number.
                torch._foreach_mul_(averages, smoothing)
                torch._foreach_add_(averages, weights, alpha=1 - smoothing)
            else:
                torch._foreach_copy_(averages, weights)

    def swap(self) -> None:
        """Exchange weights and averages."""
        for _, weights, averages in self._groups:
            swap_tensors(weights, averages)


def _finite_tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    for module in model.modules():
        if isinstance(module, _NORMS):
            yield from module.buffers(recurse=False)


def _kind(tensor: Tensor, is_finite: bool) -> str:
    if not has_average(tensor):
        return "counter"
    return "finite" if is_finite else "any"


def _local(tensor: Tensor) -> Tensor:
    """This rank's part of a sharded tensor, sharing its storage: averages need no other part."""
    tensor = tensor.detach()
    to_local = getattr(tensor, "to_local", None)
    return tensor if to_local is None else to_local()
