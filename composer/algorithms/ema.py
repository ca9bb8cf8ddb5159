"""EMA: judge and keep an exponential moving average of the weights.

Papers: Polyak, Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992; as
practised since Tarvainen, Valpola, "Mean teachers are better role models", 2017, arXiv:1703.01780.

Idea: beside the weights that train runs a second set, ``average = s * average + (1 - s) *
weights``. The noise of single steps cancels out in it. Evaluation, checkpoints and export use the
average; training never does.

When it helps: image models and diffusion models; runs with a high learning rate near the end. When
it hurts: short runs, in which the average lags behind (the more, the longer the half-life), and
models for which a second set of weights does not fit in memory.

Suggested values: a half-life of about 1 % of the run, the window that Ajroldi, Orvieto, Geiping,
"When, Where and Why to Average Weights?", 2025, arXiv:2502.06761, find best across seven workloads,
together with a rate that decays; up to 10 % in short runs. ``warmup=True`` where it is evaluated
early. Running statistics of batch norm are averaged like weights, which is near to what the
averaged weights would give; ``torch.optim.swa_utils.update_bn`` computes them anew.
``update_interval='10ba'`` makes it cheaper. Weights in bfloat16 cannot hold a slow average; keep
them in float32.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from composer.algorithms._averaging import WeightPairs, named_tensors, select_tensors
from composer.algorithms._checks import check_flags, check_number
from composer.algorithms._weight_average import (
    UPDATE_EVENTS,
    WeightAverage,
    has_passed,
    is_due,
    read_interval,
    read_start,
)
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.core.units import Time, TimeUnit
from composer.errors import ConfigError
from composer.utils.warnings import NotIntendedUseWarning

__all__ = ["EMA", "compute_ema"]

# A power of forgetting: what was averaged up to update n counts (n / m) ** 9 at update m.
_WARMUP = 9


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


class EMA(WeightAverage):
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
        warmup: whether the average forgets faster at first: update ``n`` keeps at most
            ``n / (n + 9)`` of the old average. So the weights that it began with have little part
            in it from early on, however long the half-life.

    Raises:
        ValueError: an argument is not allowed, or units do not match.
    """

    def __init__(
        self,
        half_life: str | Time[Any] | None = "1000ba",
        smoothing: float | None = None,
        ema_start: str | Time[Any] = "0.0dur",
        update_interval: str | Time[Any] | None = None,
        warmup: bool = False,
    ) -> None:
        if (half_life is None) == (smoothing is None):
            raise ConfigError(
                f"give either half_life or smoothing, got half_life={half_life!r} and "
                f"smoothing={smoothing!r}; to set smoothing, give half_life=None too"
            )
        self.half_life = None if half_life is None else read_interval("half_life", half_life)
        if update_interval is None:
            unit = TimeUnit.BATCH if self.half_life is None else self.half_life.unit
            update_interval = Time(1, unit)
        self.update_interval = read_interval("update_interval", update_interval)
        self.ema_start = read_start("ema_start", ema_start)
        check_flags(warmup=warmup)
        self.warmup = warmup
        self._has_given_smoothing = smoothing is not None
        self.smoothing = _smoothing(smoothing, self.half_life, self.update_interval)
        update_event = UPDATE_EVENTS[self.update_interval.unit]
        self.events = {
            Event.INIT: "register",
            Event.AFTER_LOAD: "take_over",
            Event.FIT_START: "prepare",
            update_event: "update",
        }
        super().__init__()

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values."""
        return {
            "half_life": None if self.half_life is None else str(self.half_life),
            "smoothing": self.smoothing if self._has_given_smoothing else None,
            "ema_start": str(self.ema_start),
            "update_interval": str(self.update_interval),
            "warmup": self.warmup,
        }

    def forget(self) -> None:
        """Leave an earlier run behind."""
        super().forget()
        self._num_updates = 0

    def prepare(self, state: State, logger: Logger) -> None:
        """Begin where the average is due from the start, with training weights in the model."""
        self.go_on(state, logger)
        if not self.is_ready and has_passed(state, self.ema_start):
            self._begin(state.model)

    def update(self, state: State, logger: Logger) -> None:
        """Take one step of the average."""
        self.check_not_shown()
        if not self.is_ready:
            if has_passed(state, self.ema_start):
                self._begin(state.model)
            return
        if is_due(state, self.update_interval):
            self.average(state.model, self._next_smoothing())

    def _next_smoothing(self) -> float:
        self._num_updates += 1
        if not self.warmup:
            return self.smoothing
        return min(self.smoothing, self._num_updates / (self._num_updates + _WARMUP))

    def _begin(self, model: nn.Module) -> None:
        _warn_if_too_coarse(self.begin(model), 1 - self.smoothing)

    def get_ema_model(self, model: nn.Module) -> nn.Module:
        """Put the averaged weights into a model; the same as :meth:`get_averaged_model`."""
        return self.get_averaged_model(model)

    # Names and states of earlier versions.

    @property
    def ema_started(self) -> bool:
        """Whether the average has begun, under its older name."""
        return self.is_ready

    @property
    def ema_weights_active(self) -> bool:
        """Whether the model holds the averages now, under its older name."""
        return self._is_shown

    def state_dict(self) -> dict[str, Any]:
        """Return the weights that the model does not hold at this moment, and the count."""
        return {**super().state_dict(), "num_updates": self._num_updates}

    def load_state_dict(self, state: dict[str, Any], strict: bool = False) -> None:
        """Keep a state for the event AFTER_LOAD, which has the model it belongs to.

        Args:
            state: what :meth:`state_dict` returned, here or in Composer 0.9 and later.
            strict: refuse a state without weights.

        Raises:
            CheckpointError: ``strict``, and there are no weights.
        """
        super().load_state_dict(self.ensure_compatible_state_dict(state), strict)
        self._num_updates = int(state.get("num_updates", 0))

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
