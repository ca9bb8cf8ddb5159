"""EMA: judge and keep an exponential moving average of the weights.

Papers: Polyak, Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992; as
practised since Tarvainen, Valpola, "Mean teachers are better role models", 2017, arXiv:1703.01780.

Idea: beside the weights that train runs a second set, ``average = s * average + (1 - s) *
weights``. The noise of single steps cancels out in it. Evaluation, checkpoints and export use the
average; training never does.

When it helps: image models and diffusion models; runs with a high learning rate near the end. When
it hurts: short runs, in which the average lags behind (the more, the longer the half-life), and
models for which a second set of weights does not fit in memory.

Suggested values: a half-life of 1 to 10 % of the run, 100 to 10,000 batches.
``update_interval='10ba'`` makes it cheaper. Weights in bfloat16 cannot hold a slow average; keep
them in float32.
"""

from __future__ import annotations

import warnings
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
from composer.algorithms._checks import check_number
from composer.core.algorithm import Algorithm, Order
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.core.units import Time, TimeUnit
from composer.core.weight_view import set_weight_view
from composer.errors import CheckpointError, ConfigError, StateError
from composer.utils.warnings import NotIntendedUseWarning

__all__ = ["EMA", "compute_ema"]

_START_UNITS = (TimeUnit.BATCH, TimeUnit.EPOCH, TimeUnit.DURATION)
_UPDATE_EVENTS = {TimeUnit.BATCH: Event.BATCH_END, TimeUnit.EPOCH: Event.EPOCH_END}


def compute_ema(model: nn.Module, ema_model: nn.Module, smoothing: float = 0.99) -> None:
    """Move the weights of ``ema_model`` towards those of ``model``, in place.

    Parameters and floating-point buffers become ``smoothing * ema + (1 - smoothing) * weights``;
    other buffers, such as counters, are copied.

    Args:
        model: the model that trains.
        ema_model: a model of the same structure, such as a deep copy.
        smoothing: weight of the old average, in [0, 1].

    Raises:
        ValueError: ``smoothing`` is out of range.
        RuntimeError: ``ema_model`` lacks a parameter or buffer.

    Example:
        >>> model, average = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(model.weight, 1.0), nn.init.constant_(average.weight, 0.0)
        >>> compute_ema(model, average, smoothing=0.75)
        >>> average.weight.item()
        0.25
    """
    check_number("smoothing", smoothing, 0, 1)
    averages = select_tensors(ema_model, dict(named_tensors(model)))
    WeightPairs(model, averages).average(smoothing)


class EMA(Algorithm):
    """Average the weights while training; evaluate and save the average.

    ``state.model`` holds the training weights, except while evaluation, a checkpoint or an export
    is under way. So the model in a checkpoint is the average, and this method's own state has the
    training weights, from which a resumed run goes on. Counters and frozen weights have no average.

    Args:
        half_life: time in which a weight's share in the average halves, in batches or epochs.
        smoothing: weight of the old average in each update, in [0, 1]; give this or ``half_life``.
            A half-life means ``2 ** (-update_interval / half_life)``.
        ema_start: when the average begins, as the weights of that moment; in ``ba``, ``ep`` or
            ``dur``.
        update_interval: time between updates, in the unit of ``half_life``; by default 1 of it, and
            ``'1ba'`` where ``smoothing`` is given.

    Raises:
        ValueError: an argument is not allowed, or units do not match.
    """

    # After methods that replace layers, whose weights are the ones to average.
    order = Order.LAST
    writes = ("model", "weight_view")

    def __init__(
        self,
        half_life: str | Time[Any] | None = "1000ba",
        smoothing: float | None = None,
        ema_start: str | Time[Any] = "0.0dur",
        update_interval: str | Time[Any] | None = None,
    ) -> None:
        if (half_life is None) == (smoothing is None):
            raise ConfigError(
                f"give either half_life or smoothing, got half_life={half_life!r} and "
                f"smoothing={smoothing!r}; to set smoothing, give half_life=None too"
            )
        self.half_life = None if half_life is None else _positive("half_life", half_life)
        if update_interval is None:
            unit = TimeUnit.BATCH if self.half_life is None else self.half_life.unit
            update_interval = Time(1, unit)
        self.update_interval = _positive("update_interval", update_interval)
        self.ema_start = Time.from_input(ema_start)
        if self.ema_start.unit not in _START_UNITS:
            raise ConfigError(f"ema_start={ema_start!r} must be in 'ba', 'ep' or 'dur'")
        self._has_given_smoothing = smoothing is not None
        self.smoothing = _smoothing(smoothing, self.half_life, self.update_interval)
        update_event = _UPDATE_EVENTS[self.update_interval.unit]
        self.events = {
            Event.INIT: "register",
            Event.AFTER_LOAD: "take_over",
            Event.FIT_START: "prepare",
            update_event: "update",
        }
        self._forget()

    def _forget(self) -> None:
        self._model: weakref.ref[nn.Module] | None = None
        # The averages; while shown, the training weights.
        self._shadow: dict[str, Tensor] | None = None
        self._is_shown = False
        self._pairs: WeightPairs | None = None
        self._loaded: tuple[dict[str, Tensor], bool] | None = None

    def __repr__(self) -> str:
        values = (f"{name}={value!r}" for name, value in self.arguments().items())
        return f"EMA({', '.join(values)})"

    def __getstate__(self) -> dict[str, Any]:
        # A copy must find the model it belongs to and that model's tensors itself.
        return {**self.__dict__, "_pairs": None, "_model": None}

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values."""
        return {
            "half_life": None if self.half_life is None else str(self.half_life),
            "smoothing": self.smoothing if self._has_given_smoothing else None,
            "ema_start": str(self.ema_start),
            "update_interval": str(self.update_interval),
        }

    # Events.

    def register(self, state: State, logger: Logger) -> None:
        """Become the run's weight view, with nothing left of an earlier run."""
        if state.weight_view is not self:
            set_weight_view(state, self)
            self._forget()
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

    def prepare(self, state: State, logger: Logger) -> None:
        """Begin where the average is due from the start, with training weights in the model."""
        self.hide(state.model)
        self.take_over(state, logger)
        # Its tensors may be other ones than in the last fit.
        self._pairs = None
        if self._shadow is None and self._is_due(state):
            self._begin(state.model)

    def update(self, state: State, logger: Logger) -> None:
        """Take one step of the average."""
        if self._is_shown:
            raise StateError(
                "the model was trained with averaged weights: after ema.get_ema_model(model) call "
                "ema.get_training_model(model) before training goes on"
            )
        if self._shadow is None:
            if self._is_due(state):
                self._begin(state.model)
            return
        interval = self.update_interval
        if state.timestamp.count(interval.unit) % interval.value == 0:
            self._bound(state.model).average(self.smoothing)

    def _is_due(self, state: State) -> bool:
        if self.ema_start.unit is not TimeUnit.DURATION:
            return state.timestamp >= self.ema_start
        elapsed = state.get_elapsed_duration()
        return elapsed is not None and elapsed >= self.ema_start

    def _begin(self, model: nn.Module) -> None:
        tensors = trained_tensors(model)
        _warn_if_too_coarse(tensors, 1 - self.smoothing)
        self._shadow = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        self._pairs = None

    def _bound(self, model: nn.Module) -> WeightPairs:
        """Return the model's tensors with their averages; looked up once per fit."""
        if self._pairs is None:
            self._pairs = WeightPairs(model, self._started())
        return self._pairs

    def _started(self) -> dict[str, Tensor]:
        if self._shadow is None:
            raise StateError(
                f"there is no average yet: it begins at ema_start='{self.ema_start}', in fit"
            )
        return self._shadow

    # The weight view.

    @property
    def is_shown(self) -> bool:
        """Whether the model holds the averages now."""
        return self._is_shown

    @property
    def is_ready(self) -> bool:
        """Whether the average has begun."""
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

    def get_ema_model(self, model: nn.Module) -> nn.Module:
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

    @property
    def ema_started(self) -> bool:
        """Whether the average has begun, under its older name."""
        return self.is_ready

    @property
    def ema_weights_active(self) -> bool:
        """Whether the model holds the averages now, under its older name."""
        return self._is_shown

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
            state: what :meth:`state_dict` returned, here or in Composer 0.9 and later.
            strict: refuse a state without weights.

        Raises:
            CheckpointError: ``strict``, and there are no weights.
        """
        state = self.ensure_compatible_state_dict(state)
        weights = state.get("weights")
        if weights is None and strict:
            raise CheckpointError(f"the state of EMA has no 'weights', only {sorted(state)}")
        self._loaded = None if weights is None else (dict(weights), bool(state["is_shown"]))

    def ensure_compatible_state_dict(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return a state in today's form; older ones have other names for the same things.

        Args:
            state: a state of any version. It is not changed.
        """
        if "ema_model" not in state:
            return state
        is_shown = bool(state.get("ema_weights_active", False))
        kept = state["ema_model"]
        if "training_model" in state:
            # Before 0.13 both sets were stored; one of them is in the model.
            kept = state["training_model"] if is_shown else kept
        if kept is None or not state.get("ema_started", True):
            return {"is_shown": False}
        if "named_parameters_dict" in kept:
            kept = {**kept["named_parameters_dict"], **kept["named_buffers_dict"]}
        return {"is_shown": is_shown, "weights": dict(kept)}


def _positive(name: str, time: str | Time[Any]) -> Time[int]:
    parsed = Time.from_input(time)
    if parsed.unit not in _UPDATE_EVENTS or parsed.value < 1:
        raise ConfigError(
            f"{name}={time!r} must be a whole number of batches or epochs, such as '10ba' or '1ep'"
        )
    return parsed


def _smoothing(given: float | None, half_life: Time[int] | None, interval: Time[int]) -> float:
    if half_life is None:
        check_number("smoothing", given, 0, 1)
        return float(given or 0.0)
    if half_life.unit is not interval.unit:
        raise ConfigError(
            f"half_life='{half_life}' and update_interval='{interval}' must have the same unit"
        )
    return 2.0 ** (-interval.value / half_life.value)


def _warn_if_too_coarse(tensors: Mapping[str, Tensor], step: float) -> None:
    dtypes = {each.dtype for each in tensors.values() if isinstance(each, nn.Parameter)}
    coarse = sorted(str(d) for d in dtypes if d.is_floating_point and torch.finfo(d).eps > step)
    if coarse and step > 0:
        warnings.warn(
            f"weights in {' and '.join(coarse)} round most steps of this average away (each moves "
            f"it by {step:.2g}); keep weights in float32, e.g. with precision='amp_bf16'",
            NotIntendedUseWarning,
            stacklevel=3,
        )
