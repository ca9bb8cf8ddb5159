"""What methods that average weights share: the second set of weights, its view, its state."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from composer.algorithms._averaging import (
    WeightPairs,
    copies_like,
    has_average,
    named_tensors,
    select_tensors,
    trained_tensors,
)
from composer.algorithms._checks import check_number, read_time
from composer.core.algorithm import Algorithm, Order
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.core.units import Time, TimeUnit
from composer.core.weight_view import set_weight_view
from composer.errors import CheckpointError, ConfigError, StateError

__all__ = [
    "UPDATE_EVENTS",
    "WeightAverage",
    "has_passed",
    "is_due",
    "read_interval",
    "read_start",
]

UPDATE_EVENTS = {TimeUnit.BATCH: Event.BATCH_END, TimeUnit.EPOCH: Event.EPOCH_END}
"""Unit of the time between updates -> event on which they may be due."""


def read_interval(name: str, given: str | Time[Any]) -> Time[int]:
    """Return an argument as a whole number of batches or epochs, >= 1.

    Raises:
        ValueError: it is something else.
    """
    time = read_time(name, given, UPDATE_EVENTS)
    if time.value < 1:
        raise ConfigError(f"{name}={given!r} must be at least '1{time.unit.value}'")
    return time


def read_start(name: str, given: str | Time[Any]) -> Time[Any]:
    """Return an argument as a moment in batches, epochs or as a share of the run.

    Raises:
        ValueError: it is something else.
    """
    time = read_time(name, given, (*UPDATE_EVENTS, TimeUnit.DURATION))
    if time.unit is TimeUnit.DURATION:
        check_number(name, time.value, 0, 1)
    return time


def is_due(state: State, interval: Time[int]) -> bool:
    """Return whether a whole number of intervals has gone by since the start of training."""
    return state.timestamp.count(interval.unit) % interval.value == 0


def has_passed(state: State, time: Time[Any]) -> bool:
    """Return whether a run has reached a time in ``ba``, ``ep`` or ``dur``."""
    if time.unit is not TimeUnit.DURATION:
        return state.timestamp >= time
    elapsed = state.get_elapsed_duration()
    return elapsed is not None and elapsed >= time


class WeightAverage(Algorithm):
    """Base of methods that keep an average of the weights and are judged by it.

    ``state.model`` holds the training weights, except while evaluation, a checkpoint or an export
    is under way. So the model in a checkpoint is the average, and the method's own state has the
    training weights, from which a resumed run goes on. Counters and frozen weights have no average.

    Subclasses map :meth:`register` to INIT, :meth:`take_over` to AFTER_LOAD and :meth:`go_on` to
    FIT_START, and call :meth:`begin` and :meth:`average`.
    """

    # After methods that replace layers, whose weights are the ones to average.
    order = Order.LAST
    writes = ("model", "weight_view")

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Leave an earlier run behind."""
        self._model: weakref.ref[nn.Module] | None = None
        # The averages; while shown, the training weights.
        self._shadow: dict[str, Tensor] | None = None
        self._is_shown = False
        self._pairs: WeightPairs | None = None
        self._loaded: tuple[dict[str, Tensor], bool] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A copy must find the model it belongs to and that model's tensors itself.
        return {**self.__dict__, "_pairs": None, "_model": None}

    # Events.

    def register(self, state: State, logger: Logger) -> None:
        """Become the run's weight view, with nothing left of an earlier run."""
        if state.weight_view is not self:
            set_weight_view(state, self)
            self.forget()
        self._model = weakref.ref(state.model)

    def take_over(self, state: State, logger: Logger) -> None:
        """Go on with the weights of a checkpoint: training weights in the model, averages here."""
        self._model = weakref.ref(state.model)
        if self._loaded is None:
            return
        weights, was_shown = self._loaded
        self._loaded = None
        averaged = {name: value for name, value in weights.items() if has_average(value)}
        self._shadow = copies_like(averaged, state.model)
        self._pairs = None
        self._is_shown = was_shown
        self.hide(state.model)

    def go_on(self, state: State, logger: Logger) -> None:
        """Get ready for a ``fit``, with training weights in the model."""
        self.hide(state.model)
        self.take_over(state, logger)
        # The model's tensors may be other ones than in the last fit.
        self._pairs = None

    # The average.

    def begin(self, model: nn.Module) -> Mapping[str, Tensor]:
        """Begin with the weights as they are, and return what has an average, by name."""
        tensors = trained_tensors(model)
        self._shadow = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        self._pairs = None
        return tensors

    def average(self, model: nn.Module, smoothing: float) -> None:
        """Set the average to ``smoothing * average + (1 - smoothing) * weights``."""
        self._bound(model).average(smoothing)

    def end(self, model: nn.Module) -> None:
        """Let the model train on from the average, which is given up."""
        self._bound(model).swap()
        self.give_up()

    def give_up(self) -> None:
        """Have no average any more."""
        self._shadow = self._pairs = None

    def check_not_shown(self) -> None:
        """Refuse to train while the model holds the average.

        Raises:
            RuntimeError: it does.
        """
        if self._is_shown:
            raise StateError(
                "the model was trained with averaged weights: after "
                "algorithm.get_averaged_model(model) call algorithm.get_training_model(model) "
                "before training goes on"
            )

    def _bound(self, model: nn.Module) -> WeightPairs:
        """Return the model's tensors with their averages; looked up once per fit."""
        if self._pairs is None:
            self._pairs = WeightPairs(model, self._started())
        return self._pairs

    def _started(self) -> dict[str, Tensor]:
        if self._shadow is None:
            raise StateError(f"there is no average yet: {self!r} begins it in fit")
        return self._shadow

    # The weight view.

    @property
    def is_shown(self) -> bool:
        """Whether the model holds the averages now."""
        return self._is_shown

    @property
    def is_ready(self) -> bool:
        """Whether there is an average."""
        return self._shadow is not None

    def show(self, model: nn.Module) -> None:
        """Put the averages into the model and keep its training weights aside."""
        if not self._is_shown:
            self._pairs = None
            self._bound(model).swap()
            self._is_shown = True

    def hide(self, model: nn.Module) -> None:
        """Put the training weights back."""
        if self._is_shown:
            self._bound(model).swap()
            self._is_shown = False

    def get_averaged_model(self, model: nn.Module) -> nn.Module:
        """Put the averaged weights into a model and return it.

        Args:
            model: a model of the same structure, or the run's own, whose training weights are kept
                until :meth:`get_training_model` or the next ``fit`` puts them back.

        Raises:
            RuntimeError: the average has not begun.
        """
        if model is self._own_model():
            self.show(model)
        else:
            self._copy_to(model, averaged=True)
        return model

    def get_training_model(self, model: nn.Module) -> nn.Module:
        """Put the training weights into a model and return it.

        Args:
            model: a model of the same structure, or the run's own.

        Raises:
            RuntimeError: the average has not begun.
        """
        if model is self._own_model():
            self.hide(model)
        else:
            self._copy_to(model, averaged=False)
        return model

    def _own_model(self) -> nn.Module | None:
        return None if self._model is None else self._model()

    @torch.no_grad()
    def _copy_to(self, model: nn.Module, averaged: bool) -> None:
        source: dict[str, Tensor] = self._started()
        own = self._own_model()
        if own is not None:
            held = dict(named_tensors(own))
            # What the run's model holds of the averages or training weights now, or of neither.
            source = held if averaged == self._is_shown else held | source
        elif averaged == self._is_shown:
            raise StateError("the run's own model, which has these weights, is gone")
        for name, tensor in select_tensors(model, source).items():
            tensor.copy_(source[name])

    # Checkpoints.

    def state_dict(self) -> dict[str, Any]:
        """Return the set of weights that the model does not hold at this moment, and which it is.

        While a checkpoint is written the model holds the averages, so these are training weights.
        """
        state = {**super().state_dict(), "is_shown": self._is_shown}
        if self._shadow is not None:
            state["weights"] = dict(self._shadow)
        return state

    def load_state_dict(self, state: dict[str, Any], strict: bool = False) -> None:
        """Keep a state for the event AFTER_LOAD, which has the model it belongs to.

        Args:
            state: what :meth:`state_dict` returned.
            strict: refuse a state without weights.

        Raises:
            CheckpointError: ``strict``, and there are no weights.
        """
        weights = state.get("weights")
        if weights is None and strict:
            name = type(self).__name__
            raise CheckpointError(f"the state of {name} has no 'weights', only {sorted(state)}")
        self._loaded = None if weights is None else (dict(weights), bool(state["is_shown"]))
