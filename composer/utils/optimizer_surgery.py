"""Replace parameters in optimizers that have begun to use them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from composer.errors import StateError
from composer.utils.iter_helpers import ensure_tuple

__all__ = ["swap_parameters", "update_params_in_optimizer"]

Group = dict[str, Any]


def update_params_in_optimizer(
    old_params: Iterable[Parameter],
    new_params: Iterable[Parameter],
    optimizers: Optimizer | Sequence[Optimizer],
) -> None:
    """Replace parameters in the optimizers that have them.

    New parameters take the place of the old ones in the same group; the state kept for the old
    ones (momentum and the like) is dropped. Parameters in both lists stay as they are. Without old
    parameters, new ones go to the only group there is; where old ones are in no optimizer, the new
    ones are not trained either.

    Args:
        old_params: parameters to remove.
        new_params: parameters to add; there may be more or fewer.
        optimizers: the optimizer or optimizers.

    Raises:
        RuntimeError: there are several groups and it is not clear which one the new parameters
            belong to.
    """
    old = {f"old {number}": parameter for number, parameter in enumerate(old_params)}
    new = {f"new {number}": parameter for number, parameter in enumerate(new_params)}
    swap_parameters(old, new, ensure_tuple(optimizers))


def swap_parameters(
    old: Mapping[str, Parameter],
    new: Mapping[str, Parameter],
    optimizers: Sequence[Optimizer],
    in_use: Collection[Tensor] = (),
) -> None:
    """Replace the parameters of one module by those of another, matched by name.

    A new parameter goes to the group of the old one of the same name; else, where the old ones are
    in several groups, to the one that has old parameters most like it: the same last name
    (``weight``) and number of dimensions, or the same number of dimensions.

    Args:
        old: parameters by name.
        new: parameters by name.
        optimizers: the optimizers.
        in_use: parameters that stay although they are old, because the model has them elsewhere
            too. A set, where it is large.

    Raises:
        RuntimeError: no group fits better than another.
    """
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    members = [set(group["params"]) for group in groups]
    added = {
        name: parameter
        for name, parameter in new.items()
        if not any(parameter in each for each in members)
    }
    home = {
        name: number
        for number, each in enumerate(members)
        for name, parameter in old.items()
        if parameter in each
    }
    arriving: dict[int, dict[str, Parameter]] = {}
    if home or not old:
        for name, parameter in added.items():
            number = _home_of(name, parameter, old, home, len(groups))
            arriving.setdefault(number, {})[name] = parameter

    staying = {*new.values(), *in_use}
    gone = {parameter for parameter in old.values() if parameter not in staying}
    for number, group in enumerate(groups):
        _rewrite(group, old, gone, arriving.get(number, {}))
    for optimizer in optimizers:
        for parameter in gone:
            optimizer.state.pop(parameter, None)


def _home_of(
    name: str,
    parameter: Parameter,
    old: Mapping[str, Parameter],
    home: Mapping[str, int],
    num_groups: int,
) -> int:
    """Return the number of the group to which a new parameter belongs."""
    if name in home:
        return home[name]
    last = name.rpartition(".")[2]
    same_dim = [each for each in home if old[each].dim() == parameter.dim()]
    most_like = [each for each in same_dim if each.rpartition(".")[2] == last]
    for likely in (list(home), most_like, same_dim):
        numbers = {home[each] for each in likely}
        if len(numbers) == 1:
            return numbers.pop()
    if not home and num_groups == 1:
        return 0
    raise StateError(
        f"it is not clear to which of {num_groups} parameter groups the new parameter {name!r} of "
        f"shape {tuple(parameter.shape)} belongs; the old ones are in {dict(home)}. Make the "
        "optimizer after the layers are replaced."
    )


def _rewrite(
    group: Group,
    old: Mapping[str, Parameter],
    gone: Collection[Parameter],
    added: Mapping[str, Parameter],
) -> None:
    """Put new parameters where the first old one is, or last, and leave out what is gone."""
    before: list[Parameter] = list(group["params"])
    old_names = {parameter: name for name, parameter in old.items()}
    spots = [spot for spot, parameter in enumerate(before) if parameter in old_names]
    if not spots and not added:
        return
    first = spots[0] if spots else len(before)
    kept = [spot for spot, parameter in enumerate(before) if parameter not in gone]
    head = [spot for spot in kept if spot < first]
    tail = [spot for spot in kept if spot >= first]
    if "param_names" in group:
        full: list[str] = list(group["param_names"])
        prefix = full[first].removesuffix(old_names[before[first]]) if spots else ""
        group["param_names"] = [
            *(full[spot] for spot in head),
            *(prefix + name for name in added),
            *(full[spot] for spot in tail),
        ]
    # The list object stays: some optimizers keep a reference to it.
    group["params"][:] = [
        *(before[spot] for spot in head),
        *added.values(),
        *(before[spot] for spot in tail),
    ]
