"""What SGD and AdamW with decoupled weight decay share: ``initial_lr`` and what decay follows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from composer.errors import unknown_name
from composer.optim.group_optimizer import GroupOptimizer
from composer.optim.kernels import shrink, shrink_where_it_agrees

__all__ = ["DecoupledOptimizer", "schedule_factor"]

log = logging.getLogger(__name__)

HIGH_WEIGHT_DECAY = 1e-3

# How decay is done unless a group says otherwise; so it is in Composer and in old checkpoints.
_USUAL_DECAY = {"cautious": False, "decay_follows": "lr"}


def schedule_factor(lr: float | Tensor, initial_lr: float) -> float | Tensor:
    """Return the share of the initial learning rate that is in force; 1 if that rate is 0."""
    return lr / initial_lr if initial_lr else 1.0


class DecoupledOptimizer(GroupOptimizer):
    """Base of optimizers whose decay is ``(lr / initial_lr) * weight_decay``, or another share.

    Every parameter group gets an ``initial_lr``, whenever it is added and whatever checkpoint it
    is loaded from. Subclasses also derive from a torch optimizer, and end their constructor with
    :meth:`set_decay`.

    Attributes:
        followed: what decay may follow.
    """

    followed: tuple[str, ...] = ("lr", "nothing")

    def set_decay(self, cautious: bool, decay_follows: str) -> None:
        """Say how decay is done in groups that do not say it themselves.

        Args:
            cautious: only where the step makes a weight no larger.
            decay_follows: one of ``followed``.

        Raises:
            ValueError: decay shall follow something else.
        """
        self.defaults.update(cautious=cautious, decay_follows=decay_follows)
        for group in self.param_groups:
            self._complete(group)

    def decay(
        self,
        group: dict[str, Any],
        params: list[Tensor],
        find_directions: Callable[[], list[Tensor]],
        scale: float | Tensor = 1.0,
    ) -> float:
        """Do the decay that a step's kernel cannot do.

        Args:
            group: the parameter group.
            params: those of its parameters that have a gradient.
            find_directions: returns what the step will subtract, up to a positive factor.
            scale: multiplies the decay; a number, or a tensor without dimensions.

        Returns:
            The decay that is left for the kernel.
        """
        decay = group["weight_decay"]
        if not decay or all(group[name] == usual for name, usual in _USUAL_DECAY.items()):
            return decay
        share = self.scheduled_decay(group) * scale
        found_inf = getattr(self, "found_inf", None)
        if group["cautious"]:
            shrink_where_it_agrees(params, find_directions(), share, found_inf)
        else:
            shrink(params, share, found_inf)
        return 0.0

    def scheduled_decay(self, group: dict[str, Any]) -> float | Tensor:
        """Return the share of the weights that the schedule lets a step take away.

        Args:
            group: the parameter group.
        """
        if group["decay_follows"] == "nothing":
            return group["weight_decay"]
        return schedule_factor(group["lr"], group["initial_lr"]) * group["weight_decay"]

    def seen_gradients(self, group: dict[str, Any], grads: list[Tensor]) -> list[Tensor]:
        """Return gradients as a step sees them, after what its kernel does to them first.

        Args:
            group: the parameter group.
            grads: its gradients.
        """
        scale = getattr(self, "grad_scale", None)
        if scale is not None:
            grads = list(torch._foreach_div(grads, scale))
        return list(torch._foreach_neg(grads)) if group["maximize"] else grads

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; its learning rate becomes its ``initial_lr`` unless it brings one.

        Args:
            param_group: ``params`` and, where it differs from the others, ``lr``,
                ``weight_decay`` and so on.
        """
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        self._complete(group)
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
        # Checkpoints of torch's own optimizers come without what we add.
        self.defaults = {**_USUAL_DECAY, **self.defaults}
        for group in self.param_groups:
            self._complete(group)

    def _complete(self, group: dict[str, Any]) -> None:
        # A number even where the rate is a tensor: read here once, so that no step has to.
        group["initial_lr"] = float(group.get("initial_lr", group["lr"]))
        for name in _USUAL_DECAY.keys() & self.defaults.keys():
            group.setdefault(name, self.defaults[name])
        follows = group.get("decay_follows", "lr")
        if follows not in self.followed:
            raise unknown_name("decay_follows", follows, self.followed)
