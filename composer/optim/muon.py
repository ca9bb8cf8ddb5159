"""Muon: momentum whose matrices are made orthogonal, with AdamW for what is no hidden matrix.

Papers: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; Liu et al.,
"Muon is Scalable for LLM Training", 2025, arXiv:2502.16982, for weight decay and the scale that
lets it share AdamW's learning rate. Ours: equal shapes are orthogonalised in one batch; one
optimizer holds both parts, so that schedules, accumulation, precision and checkpoints see a single
one.

Idea: the momentum of a weight matrix is often close to low rank, so that a few directions get all
the learning. Replacing its singular values by about 1 gives every direction its share. A few steps
of a polynomial iteration do this with matrix products alone.

When it helps: training transformers and convolutional networks from the beginning. Wen et al.,
"Fantastic Pretraining Optimizers and Where to Find Them", 2025, arXiv:2509.02046, find 1.4 times
AdamW's speed at 0.1 billion parameters, and 1.1 times at 1.2 billion, all tuned alike.

When it hurts: models whose weights lie in embeddings; small batches, whose steps cost little beside
the iteration. Where AdamW trained the model, fine-tuning gains little (arXiv:2502.16982).

Suggested values: the learning rate and weight decay that AdamW would get; ``momentum=0.95``,
``num_steps=5``. Small models bear more: ``lr=0.02, adamw_lr=0.01``. Read the split, which is
logged, and ``exclude`` what is no hidden layer in spite of its shape.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw as torch_adamw

from composer.errors import ConfigError
from composer.optim.group_optimizer import GroupOptimizer
from composer.optim.kernels import choose_kernel, shrink, shrink_where_it_agrees
from composer.optim.parameter_split import ParameterSplit, split_parameters

__all__ = ["Muon", "orthogonalize"]

log = logging.getLogger(__name__)

# Steepest at 0 among those that bring singular values to about 1 (from 0.7 to 1.2) in five steps.
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)

# A Gram matrix has squares of singular values. Rounding leaves some a little below 0, and a step
# makes those twelve times as large: harmless in float32 for so many steps, then it is made anew.
_STEPS_AT_ONCE = 5

# Entries of matrices that a CPU's core keeps at hand from one step of the iteration to the next.
_CACHED = 2**16


def orthogonalize(matrices: Tensor, num_steps: int = 5) -> Tensor:
    """Bring the singular values of matrices close to 1 and keep their directions.

    Args:
        matrices: shape (..., M, N), floating point. Computed in bfloat16 on accelerators and in
            the matrices' own type on the CPU.
        num_steps: steps of the iteration; with 5 singular values end between 0.7 and 1.2.

    Returns:
        Matrices of the same shape and type.

    Example:
        >>> values = torch.linalg.svdvals(orthogonalize(torch.randn(8, 16)))
        >>> bool(((values > 0.6) & (values < 1.3)).all())
        True
    """
    x = matrices if matrices.device.type == "cpu" else matrices.bfloat16()
    is_tall = x.shape[-2] > x.shape[-1]
    if is_tall:
        x = x.mT
    x = x.reshape(-1, *x.shape[-2:])
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    is_long = x.shape[-1] >= 2 * x.shape[-2]
    if is_long and x.dtype in (torch.float32, torch.float64):
        for done in range(0, num_steps, _STEPS_AT_ONCE):
            x = _do_steps(x, min(_STEPS_AT_ONCE, num_steps - done))
    else:
        for _ in range(num_steps):
            x = torch.baddbmm(x, _polynomial(x @ x.mT), x, beta=_COEFFICIENTS[0])
    return (x.mT if is_tall else x).reshape(matrices.shape).to(matrices.dtype)


def _do_steps(x: Tensor, num_steps: int) -> Tensor:
    """Do steps of the iteration on the Gram matrix alone.

    A step multiplies ``x`` by a polynomial of its Gram matrix, and these commute: however many
    steps, ``x`` itself, which has the long rows, is read twice.
    """
    gram, product = x @ x.mT, None
    for step in range(num_steps):
        factor = _polynomial(gram)
        factor.diagonal(dim1=-2, dim2=-1).add_(_COEFFICIENTS[0])
        product = factor if product is None else factor @ product
        if step < num_steps - 1:
            gram = factor @ gram @ factor
    return x if product is None else product @ x


def _polynomial(gram: Tensor) -> Tensor:
    """Return ``b * gram + c * gram @ gram``, shape (K, M, M), in one call."""
    _, b, c = _COEFFICIENTS
    return torch.baddbmm(gram, gram, gram, beta=b, alpha=c)


class Muon(GroupOptimizer):
    """Muon for hidden matrices and AdamW for the rest, as one optimizer.

    One step of a matrix ``W`` (M x N) with gradient ``G`` and momentum ``B``::

        B <- momentum * B + (1 - momentum) * G
        U <- orthogonalize(momentum * B + (1 - momentum) * G)      nesterov=False: of B
        W <- W * (1 - lr * weight_decay) - lr * scale * U          scale = 0.2 * sqrt(max(M, N))

    With this scale an update has the size of AdamW's, so that both parts share learning rate and
    weight decay.

    Args:
        model: the model, whose parameters are split by :func:`split_parameters`; or parameter
            groups, of which those with ``"is_matrix": True`` are Muon's.
        lr: learning rate of both parts.
        momentum: share of the old momentum that is kept, in [0, 1).
        nesterov: whether to look one step ahead.
        weight_decay: multiplied by ``lr``, as in ``torch.optim.AdamW``.
        cautious: decay a weight only where the step also makes it smaller (arXiv 2510.12402).
        num_steps: steps of the orthogonalisation.
        betas: AdamW's, each in [0, 1).
        eps: AdamW's.
        adamw_lr: learning rate of AdamW's part; ``lr`` by default.
        exclude: glob patterns of parameters to leave to AdamW.

    Attributes:
        split: the split, with a reason for every parameter that is not Muon's; ``None`` where
            groups were given. It is logged at INFO.

    Raises:
        ValueError: a number is out of range, or the model has no hidden matrix.
        RuntimeError: (at a step) a gradient is sparse.
    """

    def __init__(
        self,
        model: nn.Module | Iterable[dict[str, Any]],
        lr: float = 3e-3,
        momentum: float = 0.95,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        cautious: bool = False,
        num_steps: int = 5,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        adamw_lr: float | None = None,
        exclude: Sequence[str] = (),
    ) -> None:
        _check(lr=lr, momentum=momentum, weight_decay=weight_decay, num_steps=num_steps)
        self.split: ParameterSplit | None = None
        if isinstance(model, nn.Module):
            self.split = split_parameters(model, exclude)
            groups = _groups_of(self.split)
            log.info("Muon: %s", self.split)
        else:
            groups = [{"is_matrix": False, **group} for group in model]
        if not any(group["is_matrix"] for group in groups):
            raise ConfigError(
                "Muon found no hidden matrix to train, so it would be AdamW alone: use AdamW, or "
                f"give groups with 'is_matrix': True. Found: {self.split or groups}"
            )
        if adamw_lr is not None:
            groups = [g if g["is_matrix"] else {"lr": adamw_lr, **g} for g in groups]
        defaults = {
            "lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay,
            "cautious": cautious, "num_steps": num_steps, "betas": betas, "eps": eps,
            "foreach": None, "fused": None,
        }  # fmt: skip
        super().__init__(groups, defaults)

    def step_group(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        """Update the parameters of one group in place; see the base class."""
        update = self._step_matrices if group["is_matrix"] else self._step_others
        update(group, params, grads)

    def _step_matrices(
        self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]
    ) -> None:
        buffers = [self._state_of(p, "momentum_buffer") for p in params]
        momentum = group["momentum"]
        torch._foreach_lerp_(buffers, grads, 1 - momentum)
        ahead = torch._foreach_lerp(grads, buffers, momentum) if group["nesterov"] else buffers
        updates = _orthogonalize_all(list(ahead), group["num_steps"])
        decay = group["lr"] * group["weight_decay"]
        if decay:
            (shrink_where_it_agrees(params, updates, decay) if group["cautious"]
             else shrink(params, decay))  # fmt: skip
        scales = [-group["lr"] * _scale(p) for p in params]
        torch._foreach_mul_(updates, scales)
        torch._foreach_add_(params, updates)

    def _step_others(
        self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]
    ) -> None:
        firsts = [self._state_of(p, "exp_avg") for p in params]
        seconds = [self._state_of(p, "exp_avg_sq") for p in params]
        steps = [self._count_of(p) for p in params]
        beta1, beta2 = group["betas"]
        decay = group["weight_decay"]
        if group["cautious"] and decay:
            directions = torch._foreach_lerp(firsts, grads, 1 - beta1)
            shrink_where_it_agrees(params, list(directions), group["lr"] * decay)
            decay = 0.0
        foreach, fused = choose_kernel(group, params, grads, firsts, seconds)
        torch_adamw(
            params, grads, firsts, seconds, [], steps, foreach=foreach, fused=fused,
            amsgrad=False, beta1=beta1, beta2=beta2, lr=group["lr"], weight_decay=decay,
            eps=group["eps"], maximize=False,
        )  # fmt: skip

    def _state_of(self, param: Tensor, name: str) -> Tensor:
        state = self.state[param]
        if name not in state:
            state[name] = torch.zeros_like(param, memory_format=torch.preserve_format)
        return state[name]

    def _count_of(self, param: Tensor) -> Tensor:
        state = self.state[param]
        if "step" not in state:
            state["step"] = torch.zeros((), dtype=torch.float32)
        return state["step"]


def _groups_of(split: ParameterSplit) -> list[dict[str, Any]]:
    parts = ((split.matrices, True), (split.others, False))
    return [
        {"params": list(part.items()), "is_matrix": is_matrix} for part, is_matrix in parts if part
    ]


def _orthogonalize_all(updates: list[Tensor], num_steps: int) -> list[Tensor]:
    """Orthogonalise updates, those of one shape together: one batch costs less than its parts."""
    by_shape: dict[tuple[torch.Size, torch.dtype, torch.device], list[int]] = {}
    for index, update in enumerate(updates):
        by_shape.setdefault((update.shape, update.dtype, update.device), []).append(index)
    done: list[Tensor] = list(updates)
    for (shape, _, device), indices in by_shape.items():
        most = max(1, _CACHED // shape.numel()) if device.type == "cpu" else len(indices)
        for first in range(0, len(indices), most):
            together = indices[first : first + most]
            stacked = torch.stack([_columns_last(updates[i]).flatten(1) for i in together])
            for index, matrix in zip(together, orthogonalize(stacked, num_steps), strict=True):
                update = matrix.view(_columns_last(updates[index]).shape)
                done[index] = update if update.shape == shape else update.movedim(-1, 1)
    return done


def _columns_last(filters: Tensor) -> Tensor:
    """Return filters that lie channels last as they lie, so that nothing is copied.

    The order of a matrix's columns makes no difference to what is orthogonal.
    """
    return filters if filters.is_contiguous() else filters.movedim(1, -1)


def _scale(param: Tensor) -> float:
    rows = param.shape[0]
    return 0.2 * math.sqrt(max(rows, param.numel() // rows))


def _check(lr: float, momentum: float, weight_decay: float, num_steps: int) -> None:
    if not (math.isfinite(lr) and lr >= 0):
        raise ConfigError(f"lr={lr} must be finite and at least 0")
    if not 0 <= momentum < 1:
        raise ConfigError(f"momentum={momentum} must be in [0, 1)")
    if not (math.isfinite(weight_decay) and weight_decay >= 0):
        raise ConfigError(f"weight_decay={weight_decay} must be finite and at least 0")
    if num_steps < 1:
        raise ConfigError(f"num_steps={num_steps} must be at least 1")
