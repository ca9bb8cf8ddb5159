"""The loss of each sample, for methods that treat samples differently."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor

from composer.core.state import State
from composer.errors import ConfigError, DataError

__all__ = ["check_sample_losses", "sample_losses"]


def check_sample_losses(method: str, model: Any) -> None:
    """Refuse a model whose loss cannot be had per sample.

    Args:
        method: the method's name.
        model: the model, whose ``loss`` must take ``reduction``.

    Raises:
        ValueError: it does not.
    """
    loss: Callable[..., Any] = model.loss
    parameters = inspect.signature(loss).parameters.values()
    if not any(p.name == "reduction" or p.kind is p.VAR_KEYWORD for p in parameters):
        raise ConfigError(
            f"{method} needs the loss of each sample: let {type(model).__name__}.loss take "
            "reduction='none' and pass it on"
        )


def sample_losses(method: str, state: State) -> Tensor:
    """Return the losses of ``state.outputs``, shape (N,), with their graph.

    Args:
        method: the method's name.
        state: the run's state, with a microbatch and its outputs.

    Raises:
        ValueError: the model's loss does not give one number for each sample.
    """
    losses: Any = state.model.loss(state.outputs, state.batch, reduction="none")
    if isinstance(losses, Tensor) and losses.ndim == 1:
        return losses
    found = f"shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else repr(type(losses))
    raise DataError(
        f"{method} needs one loss for each sample, a tensor of shape (N,), and with "
        f"reduction='none' {type(state.model).__name__}.loss gives {found}: let it average over "
        "what belongs to one sample (tokens that count, pixels)"
    )
