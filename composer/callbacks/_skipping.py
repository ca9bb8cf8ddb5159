"""Leave out a parameter update, exactly: nothing moves, no moment decays, no step is counted."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import LBFGS

from composer.core.state import State
from composer.errors import ConfigError

__all__ = ["Skipper"]


class Skipper:
    """Skips the update of a batch, on the device where the optimizers can do so.

    Fused optimizers of torch take a flag, made for gradient scaling, under which they change
    nothing. From others the gradients are taken away, for which the host must know the flag.

    Args:
        state: the run's state.

    Raises:
        ValueError: an optimizer computes gradients itself, so that they cannot be taken away.
    """

    def __init__(self, state: State) -> None:
        self._optimizers: list[Any] = state.optimizers
        for optimizer in self._optimizers:
            if isinstance(optimizer, LBFGS) or getattr(
                optimizer, "_step_supports_amp_closure", False
            ):
                raise ConfigError(
                    f"action='skip' cannot skip the update of {type(optimizer).__name__}, which "
                    "computes gradients itself; use action='warn' or 'rewind'"
                )
        self._on_device = state.scaler is None and all(
            getattr(optimizer, "_step_supports_amp_scaling", False)
            for optimizer in self._optimizers
        )

    def skip_if(self, is_bad: Tensor) -> None:
        """Skip the coming update if the flag is set.

        Args:
            is_bad: a boolean without dimensions.
        """
        if self._on_device:
            for optimizer in self._optimizers:
                optimizer.found_inf = is_bad.float()
                optimizer.grad_scale = None
        elif is_bad.item():
            for optimizer in self._optimizers:
                optimizer.zero_grad(set_to_none=True)

    def finish(self) -> None:
        """Forget the flag, after the update."""
        if self._on_device:
            for optimizer in self._optimizers:
                optimizer.__dict__.pop("found_inf", None)
                optimizer.__dict__.pop("grad_scale", None)
