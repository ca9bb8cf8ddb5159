"""Schedule-Free SGD and AdamW: averaging inside the optimizer in place of a falling rate.

Paper: Defazio et al., "The Road Less Scheduled", 2024, arXiv:2405.15682, algorithm 1.

Idea: there are three sequences. ``z`` takes the steps, ``x`` is the average that is evaluated and
saved, and the gradient is computed at ``y`` between them::

    y = (1 - beta) * z + beta * x
    z <- z - lr * g(y)                              AdamW: g / (sqrt(v) + eps), plus decay of y
    x <- (1 - c) * x + c * z                        c = lr^2 / (sum of all lr^2 so far)

There is no schedule and no end to be known beforehand: any step's ``x`` is as good as a run that
was meant to end there. The model holds ``y`` while it trains. ``x`` is a *weight view* of the run:
the Trainer shows it to evaluation, checkpoints and exports by itself.

When it helps: runs whose end is not known, or that are judged all along. It won the self-tuning
track of AlgoPerf, about 8 % faster than the baseline (Kasimbeg et al., 2025, arXiv:2502.15015).

When it hurts: with batch norm, whose running statistics belong to ``y``. Where a model has any,
evaluate with care (the paper, section 4): a few batches through the model in training mode, with
``x`` shown, mend them. SGD keeps one more copy of the weights, AdamW two, as AdamW itself does.

Suggested values: no scheduler, but a warmup, ``num_warmup_steps``. AdamW: one to ten times the
learning rate of AdamW with a schedule; SGD: ten to fifty times. ``beta`` (AdamW: ``betas[0]``) 0.9,
in very long runs 0.95 or 0.98.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import ParamsT

from composer.errors import ConfigError, StateError
from composer.optim.group_optimizer import GroupOptimizer

__all__ = ["ScheduleFreeAdamW", "ScheduleFreeSGD"]

# What the training weights are kept under while the average is in the model. It is part of the
# optimizer's state, so that a checkpoint, which is written then, has both.
_ASIDE = "training_weights"


class _ScheduleFree(GroupOptimizer):
    """What both share: the three sequences and the view of the average."""

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        if not (math.isfinite(defaults["lr"]) and defaults["lr"] > 0):
            raise ConfigError(f"lr={defaults['lr']} must be positive and finite")
        if not 0 < defaults["beta"] < 1:
            raise ConfigError(f"beta={defaults['beta']} must be in (0, 1)")
        if defaults["num_warmup_steps"] < 0:
            raise ConfigError(f"num_warmup_steps={defaults['num_warmup_steps']} must be at least 0")
        if not defaults["weight_decay"] >= 0:
            raise ConfigError(f"weight_decay={defaults['weight_decay']} must be at least 0")
        super().__init__(params, {**defaults, "num_steps": 0, "sum_of_weights": 0.0})

    def direction(
        self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]
    ) -> tuple[list[Tensor], float]:
        """Return what ``z`` moves along, decay left out: tensors, and a factor on all of them.

        Where there is decay, the tensors are new ones.

        Args:
            group: the parameter group.
            params: those of its parameters that have a gradient.
            grads: their gradients.
        """
        raise NotImplementedError

    def check_step(self) -> None:
        """Refuse to train with the averaged weights.

        Raises:
            RuntimeError: the model holds the average; it must train with the training weights.
        """
        if self.is_shown:
            raise StateError(
                "the model holds the averaged weights, which are for evaluation; call hide(model) "
                "before training goes on"
            )

    def step_group(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        """Update the parameters of one group in place; see the base class."""
        group["num_steps"] += 1
        rate = self._rate(group)
        weight = rate**2
        group["sum_of_weights"] += weight
        share = weight / group["sum_of_weights"] if weight else 0.0
        fronts = [self._state_of(p, "z", p) for p in params]
        steps, factor = self.direction(group, params, grads)
        if group["weight_decay"]:
            torch._foreach_add_(steps, params, alpha=group["weight_decay"] / factor)
        # x is not stored: y and z say where it is, and both updates are done on y at once.
        torch._foreach_lerp_(params, fronts, share)
        rate *= factor
        torch._foreach_add_(params, steps, alpha=rate * (group["beta"] * (1 - share) - 1))
        torch._foreach_add_(fronts, steps, alpha=-rate)

    def _rate(self, group: dict[str, Any]) -> float:
        warmup = group["num_warmup_steps"]
        return group["lr"] * min(1.0, group["num_steps"] / warmup if warmup else 1.0)

    def _state_of(self, param: Tensor, name: str, like: Tensor | None = None) -> Tensor:
        state = self.state[param]
        if name not in state:
            state[name] = torch.zeros_like(param) if like is None else like.detach().clone()
        return state[name]

    # The weight view.

    @property
    def is_shown(self) -> bool:
        """Whether the model holds the average now."""
        return any(_ASIDE in state for state in self.state.values())

    @property
    def is_ready(self) -> bool:
        """Whether there is an average yet: after the first step."""
        return any("z" in state for state in self.state.values())

    @torch.no_grad()
    def show(self, model: nn.Module) -> None:
        """Put the average ``x`` into the parameters and keep the training weights aside.

        Args:
            model: the model whose parameters this optimizer has.
        """
        del model
        if self.is_shown:
            return
        for group in self.param_groups:
            for param in group["params"]:
                state = self.state.get(param, {})
                if "z" in state:
                    state[_ASIDE] = param.detach().clone()
                    param.lerp_(state["z"], 1 - 1 / group["beta"])

    @torch.no_grad()
    def hide(self, model: nn.Module) -> None:
        """Put the training weights back.

        Args:
            model: the model whose parameters this optimizer has.
        """
        del model
        for param, state in self.state.items():
            if _ASIDE in state:
                param.copy_(state.pop(_ASIDE))


class ScheduleFreeSGD(_ScheduleFree):
    """Schedule-Free SGD.

    Args:
        params: parameters, named parameters, or dicts that describe groups.
        lr: learning rate, kept to the end; larger ones than usual do well.
        beta: how near to the average the gradient is computed, in (0, 1); takes momentum's place.
        weight_decay: multiplied by ``lr``.
        num_warmup_steps: steps over which the rate rises from 0.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1.0,
        beta: float = 0.9,
        weight_decay: float = 0.0,
        num_warmup_steps: int = 0,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "beta": beta,
                "weight_decay": weight_decay,
                "num_warmup_steps": num_warmup_steps,
            },
        )

    def direction(
        self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]
    ) -> tuple[list[Tensor], float]:
        """Return the gradients."""
        del params
        return [grad.clone() for grad in grads] if group["weight_decay"] else grads, 1.0


class ScheduleFreeAdamW(_ScheduleFree):
    """Schedule-Free AdamW.

    Args:
        params: parameters, named parameters, or dicts that describe groups.
        lr: learning rate, kept to the end; one to ten times AdamW's with a schedule.
        betas: ``beta`` of the class's formulas, in (0, 1), and the share of the old second moment
            that is kept, in [0, 1).
        eps: added to the denominator.
        weight_decay: multiplied by ``lr``; applied at ``y``.
        num_warmup_steps: steps over which the rate rises from 0.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 2.5e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        num_warmup_steps: int = 0,
    ) -> None:
        if not 0 <= betas[1] < 1:
            raise ConfigError(f"betas={betas}: the second must be in [0, 1)")
        super().__init__(
            params,
            {
                "lr": lr,
                "beta": betas[0],
                "beta2": betas[1],
                "eps": eps,
                "weight_decay": weight_decay,
                "num_warmup_steps": num_warmup_steps,
            },
        )

    def direction(
        self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]
    ) -> tuple[list[Tensor], float]:
        """Return the gradients over the root of their second moments; updates the moments."""
        moments = [self._state_of(p, "exp_avg_sq") for p in params]
        torch._foreach_mul_(moments, group["beta2"])
        torch._foreach_addcmul_(moments, grads, grads, 1 - group["beta2"])
        correction = math.sqrt(1 - group["beta2"] ** group["num_steps"])
        # g / (sqrt(v) / correction + eps), with the correction in two numbers and in place: new
        # memory for all weights takes longer than a pass over them.
        steps = torch._foreach_sqrt(moments)
        torch._foreach_add_(steps, group["eps"] * correction)
        torch._foreach_reciprocal_(steps)
        torch._foreach_mul_(steps, grads)
        return list(steps), correction
