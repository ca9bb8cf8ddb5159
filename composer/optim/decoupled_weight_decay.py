"""SGD and AdamW whose weight decay follows the schedule but not the learning rate itself.

Papers: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2017, arXiv:1711.05101,
where the factor ``lr / initial_lr`` is the schedule multiplier eta_t. Cautious decay: Chen et al.,
"Cautious Weight Decay", 2025, arXiv:2510.12402. Decay by the size of gradients, called stable
there: Xie et al., "On the Overlooked Pitfalls of Weight Decay and How to Mitigate Them", 2023,
arXiv:2011.11152.

Idea: in ``torch.optim.AdamW`` a step shrinks the weights by ``lr * weight_decay``, so whoever tunes
the learning rate tunes the decay too. Here it shrinks them by ``(lr / initial_lr) * weight_decay``:
``weight_decay`` alone says how much, the schedule says when. Decay can also be *cautious*, leaving
alone the weights that a step makes larger, and it can follow something else than the learning rate:
nothing, or, with AdamW, the size of gradients.

When it helps: wherever learning rate and decay are tuned. Both classes use torch's own kernels and
keep torch's state layout, so checkpoints move between these classes, Composer's and torch's. For
``cautious`` its paper reports lower final losses of language models and better image classifiers,
with the decay that was tuned for AdamW.

When it hurts: with a ``weight_decay`` that was meant for torch's classes, which is a hundred to
ten thousand times too large here. ``decay_follows='gradient'`` needs a decay of its own, too, and
no sharded parameters.

Suggested values: the ``weight_decay`` of torch's class times its learning rate, so 1e-4 for 0.1 at
1e-3. ``cautious=True`` with the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, AdamW
from torch.optim.adamw import adamw as torch_adamw
from torch.optim.optimizer import ParamsT
from torch.optim.sgd import sgd as torch_sgd

from composer.errors import ConfigError, TrainingError
from composer.optim.decoupled_optimizer import DecoupledOptimizer, schedule_factor
from composer.optim.kernels import choose_kernel, shrink
from composer.optim.update_norms import (
    NORM_PREFIX,
    count_copies,
    mean_square,
    parameter_norms,
    sum_over_ranks,
)

__all__ = ["DecoupledAdamW", "DecoupledSGDW"]


class DecoupledSGDW(DecoupledOptimizer, SGD):
    """SGD with momentum and decoupled weight decay.

    One step, with gradient ``g`` and momentum buffer ``v``::

        p <- p * (1 - (lr / initial_lr) * weight_decay)
        v <- momentum * v + (1 - dampening) * g         the first time: v <- g
        p <- p - lr * v                                 nesterov: p <- p - lr * (g + momentum * v)

    Args:
        params: parameters, named parameters, or dicts that describe parameter groups. A group may
            have an ``lr`` and a ``weight_decay`` of its own.
        lr: learning rate; it must be given. The first one a group has is its ``initial_lr``.
        momentum: share of the old momentum that is kept, at least 0.
        dampening: share of the new gradient that is left out of the momentum.
        weight_decay: share of the weights taken away by a step at the initial learning rate. Values
            of 1e-3 and more are rarely meant; they are usual for ``torch.optim.SGD``, which
            multiplies them by ``lr``.
        nesterov: whether to look one step ahead.
        foreach: use the kernel for lists of tensors.
        fused: use the fused kernel. With neither given, torch chooses on accelerators; on the CPU
            the fused kernel runs wherever the tensors allow it.
        cautious: decay only weights that the step makes no larger (arXiv 2510.12402).
        decay_follows: ``'lr'``, as in the formula; or ``'nothing'``: every step takes away
            ``weight_decay``, whatever the schedule.

    Raises:
        ValueError: ``lr`` is missing, or a number is out of range.
        RuntimeError: (at a step) a gradient is sparse.

    Source: arXiv 1711.05101, algorithm 1.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor | None = None,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        foreach: bool | None = None,
        fused: bool | None = None,
        cautious: bool = False,
        decay_follows: str = "lr",
    ) -> None:
        if lr is None:
            raise ConfigError(
                "DecoupledSGDW needs lr, e.g. DecoupledSGDW(model.parameters(), lr=0.1)"
            )
        super().__init__(
            params, lr, momentum, dampening, weight_decay, nesterov, foreach=foreach, fused=fused
        )
        self.set_decay(cautious, decay_follows)

    def step_group(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        """Update the parameters of one group in place; see the base class."""
        has_momentum = group["momentum"] != 0
        buffers = [self.state[p].get("momentum_buffer") for p in params] if has_momentum else []
        foreach, fused = _choose_sgd_kernel(group, params, grads, buffers)
        decay = self.decay(
            group,
            params,
            lambda: _sgd_directions(group, self.seen_gradients(group, grads), buffers),
        )
        self.sgdw(
            params,
            grads,
            buffers,
            weight_decay=decay,
            momentum=group["momentum"],
            lr=group["lr"],
            initial_lr=group["initial_lr"],
            dampening=group["dampening"],
            nesterov=group["nesterov"],
            maximize=group["maximize"],
            foreach=foreach,
            fused=fused,
            grad_scale=getattr(self, "grad_scale", None),
            found_inf=getattr(self, "found_inf", None),
        )
        if has_momentum:
            for param, buffer in zip(params, buffers, strict=True):
                self.state[param]["momentum_buffer"] = buffer

    @staticmethod
    def sgdw(
        params: list[Tensor],
        d_p_list: list[Tensor],
        momentum_buffer_list: list[Tensor | None],
        *,
        weight_decay: float,
        momentum: float,
        lr: float | Tensor,
        initial_lr: float,
        dampening: float,
        nesterov: bool,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        grad_scale: Tensor | None = None,
        found_inf: Tensor | None = None,
    ) -> None:
        """Update parameters and momentum buffers in place; see the class for the formula.

        Args:
            params: the parameters.
            d_p_list: their gradients.
            momentum_buffer_list: their momentum; ``None`` entries are filled in. Empty without
                momentum.
            weight_decay: share taken away at the initial learning rate.
            momentum: as in the class.
            lr: learning rate.
            initial_lr: the rate that ``lr`` is compared with; 0 means full decay.
            dampening: as in the class.
            nesterov: as in the class.
            maximize: climb instead of descend.
            foreach: as in the class.
            fused: as in the class.
            grad_scale: (fused only) what the gradients must be divided by.
            found_inf: (fused only) 1 if a gradient is not finite and nothing may change, else 0.
        """
        if weight_decay != 0:
            shrink(params, schedule_factor(lr, initial_lr) * weight_decay, found_inf)
        torch_sgd(
            params,
            d_p_list,
            momentum_buffer_list,
            foreach=foreach,
            fused=fused,
            grad_scale=grad_scale,
            found_inf=found_inf,
            weight_decay=0,
            momentum=momentum,
            lr=lr,  # pyright: ignore[reportArgumentType]
            dampening=dampening,
            nesterov=nesterov,
            maximize=maximize,
        )


class DecoupledAdamW(DecoupledOptimizer, AdamW):
    """Adam with decoupled weight decay.

    Step ``t``, with gradient ``g``::

        p <- p * (1 - (lr / initial_lr) * weight_decay)
        m <- beta1 * m + (1 - beta1) * g
        v <- beta2 * v + (1 - beta2) * g^2              amsgrad: the largest v so far is used below
        p <- p - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    Args:
        params: parameters, named parameters, or dicts that describe parameter groups. A group may
            have an ``lr`` and a ``weight_decay`` of its own.
        lr: learning rate. The first one a group has is its ``initial_lr``.
        betas: how much of the old first and second moment is kept, each in [0, 1).
        eps: added to the denominator.
        weight_decay: share of the weights taken away by a step at the initial learning rate. Values
            of 1e-3 and more are rarely meant; they are usual for ``torch.optim.AdamW``, which
            multiplies them by ``lr``.
        amsgrad: use the largest second moment so far (arXiv 1904.09237).
        foreach: use the kernel for lists of tensors.
        fused: use the fused kernel. With neither given, torch chooses on accelerators; on the CPU
            the fused kernel runs wherever the tensors allow it.
        capturable: keep step counts on the device, so that a step can be captured in a CUDA graph.
        cautious: decay only weights that the step makes no larger (arXiv 2510.12402).
        decay_follows: ``'lr'``, as in the formula; ``'nothing'``: every step takes away
            ``weight_decay``, whatever the schedule; ``'gradient'``: as ``'lr'``, divided by the
            root of the mean of ``v / (1 - beta2^t)`` over all weights of the group, so that decay
            and Adam's step keep their proportion while gradients shrink (arXiv 2011.11152). Roots
            around 1e-3 are usual, so ``weight_decay`` must be that much smaller. Not for sharded
            parameters.

    Raises:
        ValueError: a number is out of range.
        RuntimeError: (at a step) a gradient is sparse, or a graph is being captured without
            ``capturable``.

    Source: arXiv 1711.05101, algorithm 2.
    """

    followed = ("lr", "nothing", "gradient")

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 1e-5,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        fused: bool | None = None,
        capturable: bool = False,
        cautious: bool = False,
        decay_follows: str = "lr",
    ) -> None:
        self._num_copies: dict[str, int] = {}
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            fused=fused,
            capturable=capturable,
        )
        self.set_decay(cautious, decay_follows)

    def step_group(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        """Update the parameters of one group in place; see the base class."""
        _check_graph_capture(group, params[0])
        states = [self.state[p] or self._new_state(p, group) for p in params]
        moments = [s["exp_avg"] for s in states]
        variances = [s["exp_avg_sq"] for s in states]
        maxima = [s["max_exp_avg_sq"] for s in states] if group["amsgrad"] else []
        beta1, beta2 = group["betas"]
        foreach, fused = choose_kernel(group, params, grads, moments, variances, maxima)
        decay = self._decay_adam(group, params, grads, states)
        self.adamw(
            params,
            grads,
            moments,
            variances,
            maxima,
            [s["step"] for s in states],
            amsgrad=group["amsgrad"],
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            initial_lr=group["initial_lr"],
            weight_decay=decay,
            eps=group["eps"],
            maximize=group["maximize"],
            foreach=foreach,
            fused=fused,
            capturable=group["capturable"],
            grad_scale=getattr(self, "grad_scale", None),
            found_inf=getattr(self, "found_inf", None),
        )

    def _decay_adam(
        self,
        group: dict[str, Any],
        params: list[Tensor],
        grads: list[Tensor],
        states: list[dict[str, Tensor]],
    ) -> float:
        beta1, beta2 = group["betas"]
        scale: float | Tensor = 1.0
        if group["decay_follows"] == "gradient" and group["weight_decay"]:
            variances = [s["exp_avg_sq"] for s in states]
            seen = self.seen_gradients(group, grads)
            scale = mean_square(seen, variances, beta2, states[0]["step"]).rsqrt()

        def find_directions() -> list[Tensor]:
            moments = [s["exp_avg"] for s in states]
            seen = self.seen_gradients(group, grads)
            return list(torch._foreach_lerp(moments, seen, 1 - beta1))

        return self.decay(group, params, find_directions, scale)

    def _new_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        # As in torch: counting on the host is cheaper, unless a kernel needs the count.
        on_device = group["capturable"] or group["fused"]
        state = self.state[param]
        state["step"] = torch.zeros(
            (), dtype=torch.float32, device=param.device if on_device else "cpu"
        )
        moments = ["exp_avg", "exp_avg_sq"] + ["max_exp_avg_sq"] * group["amsgrad"]
        for name in moments:
            state[name] = torch.zeros_like(param, memory_format=torch.preserve_format)
        return state

    @staticmethod
    def adamw(
        params: list[Tensor],
        grads: list[Tensor],
        exp_avgs: list[Tensor],
        exp_avg_sqs: list[Tensor],
        max_exp_avg_sqs: list[Tensor],
        state_steps: list[Tensor],
        *,
        amsgrad: bool,
        beta1: float,
        beta2: float,
        lr: float | Tensor,
        initial_lr: float,
        weight_decay: float,
        eps: float,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        capturable: bool = False,
        grad_scale: Tensor | None = None,
        found_inf: Tensor | None = None,
    ) -> None:
        """Update parameters and moments in place; see the class for the formula.

        Args:
            params: the parameters.
            grads: their gradients.
            exp_avgs: their first moments.
            exp_avg_sqs: their second moments.
            max_exp_avg_sqs: the largest second moments; empty without ``amsgrad``.
            state_steps: their step counts before this step, tensors without dimensions.
            amsgrad: as in the class.
            beta1: share of the first moment that is kept.
            beta2: share of the second moment that is kept.
            lr: learning rate.
            initial_lr: the rate that ``lr`` is compared with; 0 means full decay.
            weight_decay: share taken away at the initial learning rate.
            eps: added to the denominator.
            maximize: climb instead of descend.
            foreach: as in the class.
            fused: as in the class.
            capturable: as in the class.
            grad_scale: (fused only) what the gradients must be divided by.
            found_inf: (fused only) 1 if a gradient is not finite and nothing may change, else 0.
        """
        if initial_lr == 0:
            shrink(params, weight_decay, found_inf)
            coupled_decay = 0.0
        else:
            # Torch shrinks the weights by lr * decay inside its kernels, which skip it together
            # with the step when a gradient is not finite. Divided like this, it is our decay.
            coupled_decay = weight_decay / initial_lr
        torch_adamw(
            params,
            grads,
            exp_avgs,
            exp_avg_sqs,
            max_exp_avg_sqs,
            state_steps,
            foreach=foreach,
            capturable=capturable,
            fused=fused,
            grad_scale=grad_scale,
            found_inf=found_inf,
            has_complex=any(map(torch.is_complex, params)),
            amsgrad=amsgrad,
            beta1=beta1,
            beta2=beta2,
            lr=lr,
            weight_decay=coupled_decay,
            eps=eps,
            maximize=maximize,
        )

    def report_per_parameter_metrics(
        self, param: Tensor, name: str, optimizer_metrics: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Add the norms of a parameter, its gradient, moment and last update.

        Args:
            param: the parameter. One that has not been stepped yet adds nothing.
            name: its name, the last part of the metrics' names.
            optimizer_metrics: where the metrics are added.

        Returns:
            ``optimizer_metrics``, with ``l2_norm/{moment,param,update,grad}/<name>``.
        """
        moments = self.state.get(param)
        if moments:
            group = self._group_of(param)
            decay = self.scheduled_decay(group)
            for metric, value in parameter_norms(param, moments, group, decay).items():
                optimizer_metrics[f"{metric}/{name}"] = value
                self._num_copies[f"{metric}/{name}"] = count_copies(param)
        return optimizer_metrics

    def _group_of(self, param: Tensor) -> dict[str, Any]:
        return next(g for g in self.param_groups if any(p is param for p in g["params"]))

    def pre_reduce_metrics(self, optimizer_metrics: dict[str, Tensor]) -> dict[str, Tensor]:
        """Square the norms, so that the sum over ranks is the squared norm of the whole.

        Parts that several ranks hold are counted once.
        """
        for name, value in optimizer_metrics.items():
            if name.startswith(NORM_PREFIX):
                optimizer_metrics[name] = value**2 / self._num_copies.get(name, 1)
        return optimizer_metrics

    def dist_reduce_metrics(self, optimizer_metrics: dict[str, Tensor]) -> dict[str, Tensor]:
        """Turn what :meth:`pre_reduce_metrics` made on each rank into norms over all ranks.

        Every rank must call it.
        """
        squares = {k: v for k, v in optimizer_metrics.items() if k.startswith(NORM_PREFIX)}
        sums = sum_over_ranks(squares)
        optimizer_metrics.update((name, value.sqrt()) for name, value in sums.items())
        return optimizer_metrics


def _choose_sgd_kernel(
    group: dict[str, Any], params: list[Tensor], grads: list[Tensor], buffers: list[Tensor | None]
) -> tuple[bool | None, bool | None]:
    """Choose the kernel, and complete the momentum for it.

    The fused kernel starts either all buffers or none. A parameter that gets its first gradient
    later than others starts from zero there, which without dampening is the same.
    """
    existing = [buffer for buffer in buffers if buffer is not None]
    foreach, fused = choose_kernel(group, params, grads, existing)
    if fused and 0 < len(existing) < len(buffers):
        if group["dampening"] != 0:
            return False, False
        for index, buffer in enumerate(buffers):
            if buffer is None:
                buffers[index] = torch.zeros_like(params[index])
    return foreach, fused


def _sgd_directions(
    group: dict[str, Any], grads: list[Tensor], buffers: list[Tensor | None]
) -> list[Tensor]:
    """Return what a step will subtract, up to the learning rate."""
    momentum, dampening = group["momentum"], group["dampening"]
    if momentum == 0:
        return grads
    new_share = 1 - dampening
    fresh = grads if new_share == 1 else torch._foreach_mul(grads, new_share)
    # A first gradient becomes the momentum undampened: so it does from such an old one.
    old = [
        grad * (dampening / momentum) if buffer is None else buffer
        for grad, buffer in zip(grads, buffers, strict=True)
    ]
    new = torch._foreach_add(fresh, old, alpha=momentum)
    return list(torch._foreach_add(grads, new, alpha=momentum) if group["nesterov"] else new)


def _check_graph_capture(group: dict[str, Any], param: Tensor) -> None:
    """Refuse to record a step whose step count would stay what it is now in every replay."""
    if param.is_cuda and not group["capturable"] and torch.cuda.is_current_stream_capturing():
        raise TrainingError(
            "DecoupledAdamW is being captured in a CUDA graph; make it with capturable=True"
        )
