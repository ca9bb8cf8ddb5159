"""The frame of a step that our optimizers share: the closure, the groups, the gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

from composer.errors import TrainingError

__all__ = ["GroupOptimizer"]


class GroupOptimizer(Optimizer):
    """Base of optimizers that step one parameter group at a time, all its tensors together.

    Subclasses fill in :meth:`step_group`.
    """

    def check_step(self) -> None:
        """Refuse a step that may not be done now; here all may."""

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
        self.check_step()
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params, grads = self._with_gradients(group["params"])
            if params:
                self.step_group(group, params, grads)
        return loss

    def _with_gradients(self, params: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        chosen: list[Tensor] = []
        grads: list[Tensor] = []
        for param in params:
            grad = param.grad
            if grad is None:
                continue
            if grad.is_sparse:
                raise TrainingError(
                    f"{type(self).__name__} takes no sparse gradients, because a step moves every "
                    "weight. Use sparse=False in the embedding, or torch.optim.SparseAdam."
                )
            chosen.append(param)
            grads.append(grad)
        return chosen, grads
