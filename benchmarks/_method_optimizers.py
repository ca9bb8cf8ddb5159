"""Optimizers that count as methods: a step of each, on the same parameters and gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from _contest import Contest, Entries, Step
from _method_events import make_model
from torch import Tensor, nn

from composer.optim import DecoupledAdamW, DecoupledSGDW, Muon, ScheduleFreeAdamW, ScheduleFreeSGD

__all__ = ["ENTRIES"]

LR, DECAY = 1e-3, 1e-4


def against(
    make: Callable[[nn.Module], torch.optim.Optimizer], by_hand: Callable[[nn.Module], Step]
) -> Contest:
    """The contest of an optimizer's step."""
    return Contest(method=make(make_model()).step, by_hand=torch.no_grad()(by_hand(make_model())))


def _tensors(model: nn.Module) -> tuple[list[Tensor], Callable[[], list[Tensor]]]:
    """The parameters, and a function that looks up their gradients, which are new in each step."""
    params = list(model.parameters())
    return [each.data for each in params], lambda: [p.grad for p in params if p.grad is not None]


def cautious_adamw(model: nn.Module) -> Step:
    params, find_grads = _tensors(model)
    firsts, seconds = ([torch.zeros_like(p) for p in params] for _ in range(2))
    count = 0

    def step() -> None:
        nonlocal count
        count, grads = count + 1, find_grads()
        torch._foreach_lerp_(firsts, grads, 0.1)
        torch._foreach_mul_(seconds, 0.95)
        torch._foreach_addcmul_(seconds, grads, grads, 0.05)
        scales = torch._foreach_sqrt(seconds)
        torch._foreach_div_(scales, (1 - 0.95**count) ** 0.5)
        torch._foreach_add_(scales, 1e-8)
        for param, first in zip(params, firsts, strict=True):
            param.sub_(param * (param * first >= 0), alpha=DECAY)
        torch._foreach_addcdiv_(params, firsts, scales, -LR / (1 - 0.9**count))

    return step


def cautious_sgd(model: nn.Module) -> Step:
    params, find_grads = _tensors(model)
    buffers = [torch.zeros_like(p) for p in params]

    def step() -> None:
        grads = find_grads()
        torch._foreach_mul_(buffers, 0.9)
        torch._foreach_add_(buffers, grads)
        for param, buffer in zip(params, buffers, strict=True):
            param.sub_(param * (param * buffer >= 0), alpha=DECAY)
        torch._foreach_add_(params, buffers, alpha=-LR)

    return step


def muon(model: nn.Module) -> Step:
    matrices = [p for p in model.parameters() if p.ndim == 2][:-1]
    others = torch.optim.AdamW(
        [p for p in model.parameters() if all(p is not m for m in matrices)], lr=LR, fused=True
    )
    buffers = [torch.zeros_like(p) for p in matrices]

    def step() -> None:
        for matrix, buffer in zip(matrices, buffers, strict=True):
            buffer.lerp_(matrix.grad, 0.05)
            update = newton_schulz(matrix.grad.lerp(buffer, 0.95))
            matrix.data.add_(update, alpha=-LR * 0.2 * max(matrix.shape) ** 0.5)
        others.step()

    return step


def newton_schulz(x: Tensor) -> Tensor:
    """The iteration as it is published, in the matrix's own type."""
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


def schedule_free(model: nn.Module) -> Step:
    params, find_grads = _tensors(model)
    fronts, seconds = [p.clone() for p in params], [torch.zeros_like(p) for p in params]
    count = 0

    def step() -> None:
        nonlocal count
        count, grads = count + 1, find_grads()
        torch._foreach_mul_(seconds, 0.999)
        torch._foreach_addcmul_(seconds, grads, grads, 0.001)
        scales = torch._foreach_sqrt(seconds)
        torch._foreach_div_(scales, (1 - 0.999**count) ** 0.5)
        torch._foreach_add_(scales, 1e-8)
        moves = torch._foreach_div(grads, scales)
        torch._foreach_lerp_(params, fronts, 1 / count)
        torch._foreach_add_(params, moves, alpha=LR * (0.9 * (1 - 1 / count) - 1))
        torch._foreach_add_(fronts, moves, alpha=-LR)

    return step


def schedule_free_sgd(model: nn.Module) -> Step:
    params, find_grads = _tensors(model)
    fronts, count = [p.clone() for p in params], 0

    def step() -> None:
        nonlocal count
        count, grads = count + 1, find_grads()
        torch._foreach_lerp_(params, fronts, 1 / count)
        torch._foreach_add_(params, grads, alpha=LR * (0.9 * (1 - 1 / count) - 1))
        torch._foreach_add_(fronts, grads, alpha=-LR)

    return step


ENTRIES: Entries = {
    "DecoupledAdamW, cautious": lambda: against(
        lambda model: DecoupledAdamW(model.parameters(), LR, weight_decay=DECAY, cautious=True),
        cautious_adamw,
    ),
    "DecoupledSGDW, cautious": lambda: against(
        lambda model: DecoupledSGDW(
            model.parameters(), LR, momentum=0.9, weight_decay=DECAY, cautious=True
        ),
        cautious_sgd,
    ),
    "Muon": lambda: against(lambda model: Muon(model, LR), muon),
    "ScheduleFreeAdamW": lambda: against(
        lambda model: ScheduleFreeAdamW(model.parameters(), LR), schedule_free
    ),
    "ScheduleFreeSGD": lambda: against(
        lambda model: ScheduleFreeSGD(model.parameters(), LR), schedule_free_sgd
    ),
}
