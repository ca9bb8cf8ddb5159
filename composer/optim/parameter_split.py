"""Which parameters of a model are hidden matrices, for optimizers that treat those on their own.

Muon's update is meant for matrices between hidden features. Embeddings, output layers, gains and
biases are left to another optimizer (Jordan et al. 2024; arXiv 2502.16982, section 2). Nothing is
decided in silence: the split says of every parameter where it went and why.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from composer.errors import ConfigError

__all__ = ["ParameterSplit", "split_parameters"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass
class ParameterSplit:
    """A model's parameters, in two parts. Its text is a table.

    Attributes:
        matrices: name -> parameter of two or more dimensions, of hidden layers.
        others: name -> parameter of all that is left.
        reasons: name -> why it is among the others.
    """

    matrices: dict[str, Tensor] = field(default_factory=dict)
    others: dict[str, Tensor] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        sizes = [sum(p.numel() for p in part.values()) for part in (self.matrices, self.others)]
        lines = [
            f"{len(self.matrices)} hidden matrices ({sizes[0]:,} weights), "
            f"{len(self.others)} others ({sizes[1]:,} weights)"
        ]
        lines += [f"  matrix  {name} {tuple(p.shape)}" for name, p in self.matrices.items()]
        lines += [
            f"  other   {name} {tuple(p.shape)}: {self.reasons[name]}"
            for name, p in self.others.items()
        ]
        return "\n".join(lines)


def split_parameters(model: nn.Module, exclude: Sequence[str] = ()) -> ParameterSplit:
    """Tell a model's hidden matrices from its other parameters.

    A hidden matrix is the weight of a linear or convolutional layer that is not the model's last
    one, or another parameter of two dimensions that no embedding shares. The filters of a
    convolution count as rows of a matrix; a grouped convolution is several small ones, and is left
    out. Frozen parameters are in neither part.

    Args:
        model: the model.
        exclude: glob patterns of names that shall not count as hidden matrices, such as
            ``"*.router.*"``.

    Raises:
        ValueError: a pattern matches no parameter.
    """
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for pattern in exclude:
        if not fnmatch.filter(named, pattern):
            raise ConfigError(
                f"exclude={pattern!r} matches no parameter that is trained; the model has "
                f"{', '.join(list(named)[:8])}{' ...' if len(named) > 8 else ''}"
            )
    owners = _owners(model)
    embedded = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    last = _last_layer(model)
    split = ParameterSplit()
    for name, parameter in named.items():
        reason = _reason(name, parameter, owners[id(parameter)], embedded, last, exclude)
        if reason is None:
            split.matrices[name] = parameter
        else:
            split.others[name], split.reasons[name] = parameter, reason
    return split


def _owners(model: nn.Module) -> dict[int, nn.Module]:
    return {
        id(parameter): module
        for module in model.modules()
        for parameter in module.parameters(recurse=False)
    }


def _last_layer(model: nn.Module) -> nn.Module | None:
    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.Conv1d)]
    return layers[-1] if layers else None


def _reason(
    name: str,
    parameter: Tensor,
    owner: nn.Module,
    embedded: set[int],
    last: nn.Module | None,
    exclude: Sequence[str],
) -> str | None:
    """Say why a parameter is no hidden matrix; ``None`` if it is one."""
    if parameter.ndim < 2:
        return "a vector or a number"
    if id(parameter) in embedded:
        return "an embedding"
    if any(fnmatch.fnmatch(name, pattern) for pattern in exclude):
        return "excluded by name"
    if owner is last:
        return "the output layer"
    if isinstance(owner, _CONVOLUTIONS):
        return None if owner.groups == 1 else "a grouped convolution"
    return None if parameter.ndim == 2 else f"{parameter.ndim} dimensions and no convolution"
