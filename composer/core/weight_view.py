"""A second set of weights, used wherever a model is judged or given away.

Averaged weights (EMA, SWA) and optimizers that train one set of weights and evaluate another share
one protocol. The state knows the view; evaluation, checkpoints and export open it, so the right
weights are always the ones that are measured and saved, and training always goes on from its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch

from composer.errors import ConfigError

if TYPE_CHECKING:
    from composer.core.state import State

__all__ = ["WeightView", "evaluation_weights", "set_weight_view", "swap_tensors"]


@runtime_checkable
class WeightView(Protocol):
    """Exchanges the weights a model trains with for those it is judged by, and back."""

    @property
    def is_shown(self) -> bool:
        """Whether the model holds the view's weights now."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether there are weights to show yet."""
        ...

    def show(self, model: torch.nn.Module) -> None:
        """Put the view's weights into the model and keep the training weights aside."""
        ...

    def hide(self, model: torch.nn.Module) -> None:
        """Put the training weights back."""
        ...


def set_weight_view(state: State, view: WeightView) -> None:
    """Make ``view`` the run's weight view.

    Raises:
        ValueError: the run has another one already: two averages of one model have no order.
    """
    current = state.weight_view
    if current is not None and current is not view:
        raise ConfigError(
            f"{type(view).__name__} and {type(current).__name__} both replace the weights used for "
            "evaluation and checkpoints; use one of them"
        )
    state.weight_view = view


@contextlib.contextmanager
def evaluation_weights(state: State) -> Iterator[None]:
    """Show the run's weight view while the context is open; nested uses do nothing."""
    view = state.weight_view
    if view is None or view.is_shown or not view.is_ready:
        yield
        return
    view.show(state.model)
    try:
        yield
    finally:
        view.hide(state.model)


@torch.no_grad()
def swap_tensors(left: list[torch.Tensor], right: list[torch.Tensor]) -> None:
    """Exchange the contents of two lists of tensors, pair by pair, in place.

    Contents move and storage stays, because optimizers, compiled graphs and gradient buckets hold
    on to the tensors themselves. One extra tensor is alive at a time.
    """
    for a, b in zip(left, right, strict=True):
        kept = a.clone()
        a.copy_(b)
        b.copy_(kept)
