"""Free the model's outputs as soon as the loss is there."""

from __future__ import annotations

from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State

__all__ = ["FreeOutputs"]


class FreeOutputs(Callback):
    """Drops ``state.outputs`` after the loss, so that their memory is free in the backward pass.

    It helps where outputs are large, such as logits over a big vocabulary. A model with training
    metrics computes its outputs once more for them.
    """

    def after_loss(self, state: State, logger: Logger) -> None:
        """Drop the outputs."""
        del logger
        state.outputs = None
