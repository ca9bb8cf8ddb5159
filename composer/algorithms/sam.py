"""SAM: sharpness-aware minimisation, which looks for weights whose neighbours are good as well.

Paper: Foret, Kleiner, Mobahi, Neyshabur, "Sharpness-Aware Minimization for Efficiently Improving
Generalization", 2020, arXiv:2010.01412.

Idea: with the gradient ``g`` climb to ``w + rho * g / |g|``, take the gradient there, go back, and
let the optimizer step with it. Each rank climbs by the gradient of its own samples (the paper's
m-sharpness, section 4.1), so the first gradient is not averaged over ranks; the second one is.

When it helps: image models that overfit, fine-tuning, noisy labels. When it hurts: each step costs
two forward and backward passes; at equal time plain training often does as well, so measure.
Batch norm sees each batch twice.

Suggested values: ``rho=0.05``, up to 0.2 for vision transformers. ``interval=10`` costs 10 % and
keeps part of the gain. Gradient clipping acts on both gradients: by norm it leaves the direction
of the climb as it is. With ``amp_fp16`` all ranks share the first gradient too, so that all of them
skip a step whose gradients overflow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from composer.algorithms._checks import check_number, check_whole
from composer.algorithms._foreach import prefers_foreach
from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError, StateError

__all__ = ["SAM", "SAMOptimizer"]


class SAMOptimizer(Optimizer):
    """Wraps an optimizer so that it steps with the gradient at the top of a small climb.

    Parameter groups and state are those of the wrapped optimizer, so schedules, checkpoints and
    surgery see no difference. While it steps, one copy of the weights is kept.

    Args:
        base_optimizer: the optimizer that steps.
        rho: length of the climb, >= 0.
        epsilon: added to the gradient's norm, >= 0.
        interval: climb on every n-th step, >= 1; the others are plain steps.
        kwargs: more entries for the parameter groups.

    Raises:
        ValueError: an argument is out of range.
    """

    # The Trainer then gives `step` a closure, in every number format.
    _step_supports_amp_closure = True

    def __init__(
        self,
        base_optimizer: Optimizer,
        rho: float = 0.05,
        epsilon: float = 1e-12,
        interval: int = 1,
        **kwargs: Any,
    ) -> None:
        _check(rho, epsilon, interval)
        self.base_optimizer = base_optimizer
        self.rho = rho
        self.epsilon = epsilon
        self.interval = interval
        # Steps done; every `interval`-th one climbs.
        self.global_step = 0
        self._weights: list[tuple[Tensor, Tensor]] = []
        super().__init__(base_optimizer.param_groups, dict(kwargs))
        self._share()

    def _share(self) -> None:
        """Take the base optimizer's groups and state, which loading replaces by new objects."""
        self.param_groups = self.base_optimizer.param_groups
        self.state = self.base_optimizer.state

    def __getstate__(self) -> dict[str, Any]:
        names = ("base_optimizer", "rho", "epsilon", "interval", "global_step", "defaults")
        return {name: self.__dict__[name] for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        shared = state["base_optimizer"]
        super().__setstate__(
            {**state, "param_groups": shared.param_groups, "state": shared.state, "_weights": []}
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the base optimizer."""
        return self.base_optimizer.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Give the base optimizer a state.

        Args:
            state_dict: what :meth:`state_dict` or the base optimizer's returned.
        """
        self.base_optimizer.load_state_dict(state_dict)
        self._share()

    def _with_gradients(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"] if p.grad is not None]

    @torch.no_grad()
    def first_step(self) -> None:
        """Climb by the gradients there are, and remember the weights.

        The gradients are used up: they hold the climb afterwards.

        Source:
            Foret et al. 2020, equation (2) with p = 2.
        """
        parameters = self._with_gradients()
        if not parameters:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients, foreach=prefers_foreach(gradients[0]))
        scale = self.rho / (norm + self.epsilon)
        # Copies, because adding the climb and taking it away again would not give the same bits,
        # and ranks that climb differently would drift apart.
        kept = [torch.empty_like(parameter) for parameter in parameters]
        torch._foreach_copy_(kept, parameters)
        self._weights = list(zip(parameters, kept, strict=True))
        for weights, climbs in _by_device(parameters, gradients):
            torch._foreach_mul_(climbs, scale.to(climbs[0].device))
            torch._foreach_add_(weights, climbs)

    @torch.no_grad()
    def sub_e_w(self) -> None:
        """Go back to the weights from before the climb."""
        if self._weights:
            parameters, kept = zip(*self._weights, strict=True)
            torch._foreach_copy_(list(parameters), list(kept))
            self._weights = []

    @torch.no_grad()
    def second_step(self) -> None:
        """Go back, and let the base optimizer step with the gradients there are."""
        self.sub_e_w()
        self.base_optimizer.step()

    @torch.no_grad()
    def step(self, closure: Callable[..., Any] | None = None) -> Any:
        """Do one step.

        Args:
            closure: clears the gradients, computes them anew and returns the loss, or ``None``
                where they are not finite; then weights stay as they are. It is called as
                ``closure(ddp_sync=False)`` where ranks need not average.

        Returns:
            The loss before the climb.

        Raises:
            RuntimeError: there is no closure.
        """
        if closure is None:
            raise StateError(
                "SAMOptimizer computes gradients twice in a step and needs a closure that does so: "
                "optimizer.step(closure)"
            )
        closure = torch.enable_grad()(closure)
        is_climbing = (self.global_step + 1) % self.interval == 0
        self.global_step += 1
        if not is_climbing:
            loss = closure()
            if loss is not None:
                self.base_optimizer.step()
            return loss
        loss = closure(ddp_sync=False)
        if loss is None:
            return None
        self.first_step()
        try:
            # Losses at the top are not the batch's.
            is_finite = closure(loss_dict={}) is not None
        finally:
            self.sub_e_w()
        if is_finite:
            self.base_optimizer.step()
        return loss


def _by_device(left: list[Tensor], right: list[Tensor]) -> list[tuple[list[Tensor], list[Tensor]]]:
    """Group pairs of tensors by device, for operations on many tensors at once."""
    groups: dict[torch.device, tuple[list[Tensor], list[Tensor]]] = {}
    for a, b in zip(left, right, strict=True):
        group = groups.setdefault(a.device, ([], []))
        group[0].append(a)
        group[1].append(b)
    return list(groups.values())


def _check(rho: float, epsilon: float, interval: int) -> None:
    check_number("rho", rho, 0)
    check_number("epsilon", epsilon, 0)
    check_whole("interval", interval, 1)


class SAM(Algorithm):
    """Wrap the run's optimizer in a :class:`SAMOptimizer`.

    The optimizer keeps its name and the form of its state, so that checkpoints with and without
    this method can be loaded into each other. Which steps climb follows from the batch number.

    Args:
        rho: length of the climb, >= 0.
        epsilon: added to the gradient's norm, >= 0.
        interval: climb on every n-th batch, >= 1.

    Raises:
        ValueError: an argument is out of range.
    """

    events: Mapping[Event, str] = {Event.AFTER_LOAD: "wrap", Event.FIT_START: "count"}
    writes = ("optimizers",)

    def __init__(self, rho: float = 0.05, epsilon: float = 1e-12, interval: int = 1) -> None:
        _check(rho, epsilon, interval)
        self.rho = rho
        self.epsilon = epsilon
        self.interval = interval

    def wrap(self, state: State, logger: Logger) -> None:
        """Wrap the optimizer."""
        optimizers = state.named_optimizers
        if len(optimizers) != 1:
            raise ConfigError(
                f"SAM works with one optimizer, and there are {len(optimizers)}: "
                f"{list(optimizers)}. Put all parameters into groups of one optimizer"
            )
        ((name, optimizer),) = optimizers.items()
        if not isinstance(optimizer, SAMOptimizer):
            optimizer = SAMOptimizer(optimizer, self.rho, self.epsilon, self.interval)
            state.optimizers = {name: optimizer}

    def count(self, state: State, logger: Logger) -> None:
        """Let the optimizer count from where training stands."""
        for optimizer in state.optimizers:
            if isinstance(optimizer, SAMOptimizer):
                optimizer.global_step = state.timestamp.batch.value
