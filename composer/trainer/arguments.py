"""The Trainer's keywords in groups, each checked once, for the constructor and ``fit`` alike."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ParamSpec, Self, TextIO, TypeVar

from composer.checkpoint.retention import Retention
from composer.core.data_spec import DataSpec, ensure_data_spec
from composer.core.evaluator import Evaluator, ensure_evaluators
from composer.core.logger_destination import LoggerDestination
from composer.core.time import Time, TimeUnit, ensure_time
from composer.errors import ArgumentTypeError, ConfigError, did_you_mean
from composer.utils.iter_helpers import ensure_tuple

__all__ = [
    "EvalOptions",
    "LoadOptions",
    "LoggingOptions",
    "SaveOptions",
    "TrainDataOptions",
    "check_duration",
    "check_num_batches",
    "refuse_unknown_keywords",
]

P = ParamSpec("P")
R = TypeVar("R")


def refuse_unknown_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function with many keywords say which one a misspelt name may have meant."""
    known = [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        unknown = [name for name in kwargs if name not in known]
        if unknown:
            hints = "".join(
                f" {name!r} is not a keyword of it.{did_you_mean(name, known)}" for name in unknown
            )
            raise ArgumentTypeError(f"{function.__qualname__}:{hints}")
        return function(*args, **kwargs)

    return checked


def check_duration(duration: int | str | Time[Any], name: str) -> Time[Any]:
    """Return a duration of training as a time; a bare number counts epochs.

    Raises:
        ValueError: not a positive amount, or in a unit that training cannot end by.
    """
    time = ensure_time(duration, TimeUnit.EPOCH)
    if time.unit in (TimeUnit.SECOND, TimeUnit.DURATION):
        raise ConfigError(
            f"{name}={duration!r} is in {time.unit.value!r}; count it in 'ep', 'ba', 'sp' or 'tok'"
        )
    if time.value <= 0:
        raise ConfigError(f"{name}={duration!r} must be positive")
    return time


def check_num_batches(name: str, num_batches: int | None) -> None:
    """Refuse what is no number of batches of an epoch; ``None`` says nothing.

    Raises:
        ValueError: neither positive nor -1.
    """
    if num_batches is not None and (num_batches == 0 or num_batches < -1):
        raise ConfigError(f"{name}={num_batches} must be positive, or -1 for all")


@dataclass(frozen=True, slots=True)
class TrainDataOptions:
    """What is trained on."""

    dataloader: Iterable[Any] | DataSpec | dict[str, Any] | None
    label: str
    num_batches: int

    def __post_init__(self) -> None:
        check_num_batches("train_subset_num_batches", self.num_batches)

    def data_spec(self) -> DataSpec:
        """Return the loader with the rules for its batches."""
        if self.dataloader is None:
            raise ConfigError("no train_dataloader: give it to the Trainer or to fit()")
        return ensure_data_spec(self.dataloader)


@dataclass(frozen=True, slots=True)
class EvalOptions:
    """What is evaluated, and when."""

    dataloader: Any
    interval: Any
    num_batches: int

    def __post_init__(self) -> None:
        check_num_batches("eval_subset_num_batches", self.num_batches)

    @property
    def is_idle(self) -> bool:
        """Whether it is said how to evaluate and not on what."""
        return self.dataloader is None and (self.interval != 1 or self.num_batches != -1)

    def require_dataloader_if_used(self) -> None:
        """Refuse to be told how to evaluate and not on what.

        Raises:
            ValueError: naming the arguments.
        """
        if self.is_idle:
            raise ConfigError("eval_interval and eval_subset_num_batches need an eval_dataloader")

    def evaluators(self, metric_names: list[str]) -> list[Evaluator]:
        """Return the evaluators.

        Args:
            metric_names: metrics of an evaluator that names none.

        Raises:
            ValueError: evaluators mixed with plain loaders, two of one name, or one without end.
        """
        evaluators = ensure_evaluators(self.dataloader, metric_names)
        for evaluator in evaluators:
            # The user's evaluator is filled in only once it is known to do.
            own = evaluator.subset_num_batches
            limit = self.num_batches if own is None else own
            _check_has_end(evaluator, limit)
            evaluator.subset_num_batches = limit
            if evaluator.eval_interval is None:
                evaluator.eval_interval = self.interval
        return evaluators


def _check_has_end(evaluator: Evaluator, limit: int) -> None:
    if limit > 0:
        return
    try:
        len(evaluator.dataloader.dataloader)  # pyright: ignore[reportArgumentType]
    except (TypeError, NotImplementedError):
        raise ConfigError(
            f"the dataloader of evaluator {evaluator.label!r} has no length, so evaluation would "
            "not end; give eval_subset_num_batches (or subset_num_batches of the Evaluator)"
        ) from None


@dataclass(frozen=True, slots=True)
class LoggingOptions:
    """Where logged values go."""

    loggers: Any
    logger: Any
    progress_bar: bool
    log_to_console: bool
    console_stream: str | TextIO
    console_log_interval: Any
    log_traces: bool

    def __post_init__(self) -> None:
        if self.loggers is not None and self.logger is not None:
            raise ConfigError("logger= and loggers= are the same keyword; give one of them")
        for destination in self.given:
            if not isinstance(destination, LoggerDestination):
                raise ArgumentTypeError(
                    f"loggers takes LoggerDestinations, got {destination!r} "
                    f"({type(destination).__name__})"
                )

    @property
    def given(self) -> tuple[LoggerDestination, ...]:
        """The user's destinations."""
        return ensure_tuple(self.loggers if self.loggers is not None else self.logger)


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """Which checkpoint training starts from."""

    path: str | None
    object_store: Any
    weights_only: bool
    strict_model_weights: bool
    progress_bar: bool
    ignore_keys: Any
    exclude_algorithms: list[str] | None
    trust: bool
    verify: bool = True
    is_own: bool = False

    @classmethod
    def to_resume(cls, path: str, given: Self) -> Self:
        """Return the options for the run's own checkpoint: all of it, as it was written."""
        return cls(
            path=path,
            object_store=None,
            weights_only=False,
            strict_model_weights=given.strict_model_weights,
            progress_bar=given.progress_bar,
            ignore_keys=None,
            exclude_algorithms=None,
            trust=given.trust,
            # Found by reading all of it.
            verify=False,
            is_own=True,
        )


@dataclass(frozen=True, slots=True)
class SaveOptions:
    """Where and when checkpoints are written."""

    folder: str | None
    filename: str
    latest_filename: str | None
    overwrite: bool
    interval: Any
    weights_only: bool
    ignore_keys: Any
    num_checkpoints_to_keep: int
    retention: Retention | None
    is_async: bool

    def __post_init__(self) -> None:
        if self.num_checkpoints_to_keep < -1:
            raise ConfigError(
                f"save_num_checkpoints_to_keep={self.num_checkpoints_to_keep} must be -1 (all), 0, "
                "or a positive number"
            )
