"""No-op model: replace the model by a single number, to time everything else.

Source: a measuring tool of the original Composer, not a training method.

Idea: one parameter takes the place of the model. What a step still costs then is data loading,
moving batches, other methods, callbacks, loggers and the loop.

When it helps: to learn whether the data pipeline or the model sets the pace, without changing
anything else in a run. When it hurts: always, as training; nothing is learnt.

Suggested values: none, there is nothing to set. Other methods replace layers of the real model
first; methods that look at outputs (label smoothing, mixing of targets) have none to look at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from composer.core.algorithm import Algorithm, Order
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.models.base import ComposerModel

__all__ = ["NoOpModel", "NoOpModelClass"]


class NoOpModelClass(ComposerModel):
    """A model of one parameter that looks at no batch.

    Args:
        original_model: what it stands for; its device is taken over and nothing else.
    """

    def __init__(self, original_model: torch.nn.Module) -> None:
        super().__init__()
        device = next((each.device for each in original_model.parameters()), None)
        self.weights = torch.nn.Parameter(torch.ones((), device=device))

    def forward(self, batch: Any) -> Tensor:
        """Return the parameter, shape ()."""
        del batch
        return self.weights * 1.0

    def loss(self, outputs: Tensor, batch: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Return the parameter's square, so that there is a gradient."""
        del batch, args, kwargs
        return outputs.square()


class NoOpModel(Algorithm):
    """Replace the model by one parameter, to time the rest of a step; see `NoOpModelClass`."""

    # After methods that replace layers: they shall find the layers they look for.
    order = Order.LAST
    events: Mapping[Event, str] = {Event.INIT: "replace"}
    writes = ("model", "optimizers")

    def __init__(self) -> None:
        pass

    @staticmethod
    def required_on_load() -> bool:
        """Return True: the checkpoint holds the one parameter instead of a model."""
        return True

    def replace(self, state: State, logger: Logger) -> None:
        """Replace the model, and all parameters in the optimizers."""
        model = NoOpModelClass(state.model)
        model.logger = logger
        groups = [group for optimizer in state.optimizers for group in optimizer.param_groups]
        for group in groups:
            group["params"].clear()
            group.pop("param_names", None)
        for group in groups[:1]:
            group["params"].append(model.weights)
        for optimizer in state.optimizers:
            optimizer.state.clear()
        state.model = model
