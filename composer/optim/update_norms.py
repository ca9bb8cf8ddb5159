"""Norms of what an Adam step does to one parameter, and their sums over ranks.

:class:`~composer.optim.decoupled_weight_decay.DecoupledAdamW` offers them to the callback
``OptimizerMonitor``. All values stay tensors on their device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from composer.distributed import comm
from composer.errors import TrainingError

__all__ = [
    "NORM_PREFIX",
    "count_copies",
    "gradient_norms",
    "local_shard",
    "mean_square",
    "parameter_norms",
    "sum_over_ranks",
]

NORM_PREFIX = "l2_norm/"


def parameter_norms(
    param: Tensor, moments: dict[str, Any], group: dict[str, Any], decay: float | Tensor
) -> dict[str, Tensor]:
    """Measure a parameter, its gradient, its moment and the change made by the last step.

    Of a sharded parameter only the shard of this rank is measured.

    Args:
        param: the parameter, any shape.
        moments: the optimizer's state of this parameter.
        group: the parameter group it belongs to.
        decay: the share of the weights that one step takes away.

    Returns:
        L2 norms, tensors without dimensions: ``l2_norm/moment``, ``l2_norm/param``,
        ``l2_norm/update`` and, where there is a gradient, ``l2_norm/grad``.
    """
    weight, moment = local_shard(param.detach()), local_shard(moments["exp_avg"])
    update = _update(weight, moment, moments, group, decay)
    measured = {"moment": moment, "param": weight, "update": update}
    if param.grad is not None:
        measured["grad"] = local_shard(param.grad)
    norm = torch.linalg.vector_norm
    return {f"{NORM_PREFIX}{name}": norm(value) for name, value in measured.items()}


def _update(
    weight: Tensor,
    moment: Tensor,
    moments: dict[str, Any],
    group: dict[str, Any],
    decay: float | Tensor,
) -> Tensor:
    """Return the change of the weights, up to its sign.

    The decay acted on the weights before the step; those after it are close enough for a norm.
    """
    beta1, beta2 = group["betas"]
    step: Tensor = moments["step"]
    variance = local_shard(moments["max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"])
    denominator = (variance / (1 - beta2**step)).sqrt_().add_(group["eps"])
    adam = (moment / denominator).mul_(group["lr"] / (1 - beta1**step))
    return adam.add_(weight * decay)


def mean_square(grads: list[Tensor], variances: list[Tensor], beta2: float, step: Tensor) -> Tensor:
    """Return the mean of Adam's second moments as they will be after a step, bias corrected.

    Args:
        grads: gradients, none of them sharded.
        variances: their second moments before the step.
        beta2: share of the second moment that is kept.
        step: steps done before.

    Raises:
        RuntimeError: a gradient is sharded: this rank's part of it has another mean.
    """
    if any(hasattr(grad, "device_mesh") for grad in grads):
        raise TrainingError(
            "decay_follows='gradient' needs whole gradients, and these are sharded; use 'lr'"
        )
    kept = torch.stack(list(torch._foreach_norm(variances, 1))).sum()
    added = torch.stack(list(torch._foreach_norm(grads))).square().sum()
    total = beta2 * kept + (1 - beta2) * added
    return total / (sum(g.numel() for g in grads) * (1 - beta2 ** (step + 1)))


@torch.no_grad()
def gradient_norms(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Measure every gradient, those of sharded parameters as a whole.

    Every rank must call it; where parameters are sharded it costs one exchange.

    Args:
        parameters: name -> parameter, with its gradient averaged over ranks.

    Returns:
        L2 norms of those gradients that exist, tensors without dimensions, by the same names.
    """
    grads = {name: p.grad for name, p in parameters.items() if p.grad is not None}
    if not grads:
        return {}
    shards = [local_shard(grad) for grad in grads.values()]
    if len({(shard.device, shard.dtype) for shard in shards}) == 1:
        norms = list(torch._foreach_norm(shards))
    else:
        norms = [torch.linalg.vector_norm(shard) for shard in shards]
    if any(hasattr(grad, "device_mesh") for grad in grads.values()):
        norms = _norms_of_all_shards(norms, [count_copies(grad) for grad in grads.values()])
    return dict(zip(grads, norms, strict=True))


def _norms_of_all_shards(norms: Sequence[Tensor], copies: Sequence[int]) -> list[Tensor]:
    squares = torch.stack([norm.float() for norm in norms]) ** 2
    squares = squares / torch.tensor(copies, device=squares.device)
    comm.all_reduce(squares, "SUM")
    return list(squares.sqrt().unbind())


def local_shard(tensor: Tensor) -> Tensor:
    """Return the part of a sharded tensor that lies on this rank; a plain one as it is."""
    to_local = getattr(tensor, "to_local", None)  # only sharded tensors have it
    return tensor if to_local is None else to_local()


def count_copies(param: Tensor) -> int:
    """Return how many ranks hold the same part of ``param``: all of them if it is not sharded."""
    mesh = getattr(param, "device_mesh", None)
    if mesh is None:
        return comm.get_world_size()
    copies = 1
    for axis, placement in enumerate(param.placements):  # pyright: ignore[reportAttributeAccessIssue]
        if placement.is_replicate():
            copies *= mesh.size(axis)
    return copies


def sum_over_ranks(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add up values by name over all ranks; a name that a rank lacks counts as zero there.

    Every rank must call it. It costs one exchange of names and one of numbers.

    Args:
        values: tensors without dimensions.

    Returns:
        The sums, under the names of all ranks.
    """
    names = sorted(set().union(*comm.all_gather_object(list(values))))
    if not names:
        return {}
    zero = torch.zeros((), device=next(iter(values.values())).device if values else None)
    total = torch.stack([values.get(name, zero).float() for name in names])
    comm.all_reduce(total, "SUM")
    return dict(zip(names, total.unbind(), strict=True))
