"""What SGD and AdamW with decoupled weight decay share: ``initial_lr`` and the frame of a step."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

from composer.errors import TrainingError

__all__ = ["DecoupledOptimizer", "schedule_factor"]

log = logging.getLogger(__name__)

HIGH_WEIGHT_DECAY = 1e-3


def schedule_factor(lr: float | Tensor, initial_lr: float) -> float | Tensor:
    """Return the share of the initial learning rate that is in force; 1 if that rate is 0."""
    return lr / initial_lr if initial_lr else 1.0


class DecoupledOptimizer(Optimizer):
    """Base of optimizers whose decay is ``(lr / initial_lr) * weight_decay``.

    Every parameter group gets an ``initial_lr``, whenever it is added and whatever checkpoint it
    is loaded from. Subclasses also derive from a torch optimizer and fill in :meth:`step_group`.
    """

    def step_group(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        """Update the parameters of one group in place.

        Args:
            group: the parameter group.
            params: those of its parameters that have a gradient; at least one.
            grads: their gradients, none of them sparse.
        """
        raise NotImplementedError

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Do one step.

        Args:
            closure: computes the loss and the gradients, and returns the loss.

        Returns:
            The loss, if there is a closure.

        Raises:
            RuntimeError: a gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self.step_group(group, params, [self._dense_gradient(p) for p in params])
        return loss

    def _dense_gradient(self, param: Tensor) -> Tensor:
        grad = param.grad
        if grad is None or grad.is_sparse:
            raise TrainingError(
                f"{type(self).__name__} takes no sparse gradients, because decay moves every "
                "weight. Use sparse=False in the embedding, or torch.optim.SparseAdam."
            )
        return grad

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; its learning rate becomes its ``initial_lr`` unless it brings one.

        Args:
            param_group: ``params`` and, where it differs from the others, ``lr``,
                ``weight_decay`` and so on.
        """
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        _set_initial_lr(group)
        weight_decay = group["weight_decay"]
        if weight_decay >= HIGH_WEIGHT_DECAY:
            log.warning(
                "weight_decay=%s is high for %s: it is not multiplied by the learning rate, so a "
                "step at the initial rate multiplies the weights by %s. Coming from torch.optim, "
                "give lr * weight_decay.",
                weight_decay,
                type(self).__name__,
                1 - weight_decay,
            )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        # Checkpoints of torch's own optimizers come without one.
        for group in self.param_groups:
            _set_initial_lr(group)


def _set_initial_lr(group: dict[str, Any]) -> None:
    # A number even where the rate is a tensor: read here once, so that no step has to.
    group["initial_lr"] = float(group.get("initial_lr", group["lr"]))
