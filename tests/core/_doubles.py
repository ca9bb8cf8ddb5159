"""Plug-ins that note what happens to them, and a state to run them in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from composer.core.algorithm import Algorithm
from composer.core.callback import Callback
from composer.core.engine import Engine
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.logger_destination import LoggerDestination
from composer.core.state import State
from composer.devices.device_cpu import DeviceCPU


class Noting(Callback):
    """Notes every event under its name in a list shared with others."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name, self.notes = name, notes

    def run_event(self, event: Event, state: State, logger: Logger) -> None:
        self.notes.append(self.name)

    def close(self, state: State, logger: Logger) -> None:
        self.notes.append(f"close {self.name}")

    def post_close(self) -> None:
        self.notes.append(f"post_close {self.name}")


class NotingDestination(Noting, LoggerDestination):
    """The same as a destination."""


class Method(Algorithm):
    """Acts on the events it is given, through the table, and notes its name."""

    def __init__(self, name: str, notes: list[str], *events: Event) -> None:
        self.name, self.notes = name, notes
        self.events = dict.fromkeys(events, "act")

    def act(self, state: State, logger: Logger) -> int:
        self.notes.append(self.name)
        return 7


class Deciding(Algorithm):
    """Decides at run time whether to act."""

    def __init__(self, name: str, notes: list[str], acts: bool = True) -> None:
        self.name, self.notes, self.acts = name, notes, acts

    def match(self, event: Event, state: State) -> bool:
        return self.acts

    def apply(self, event: Event, state: State, logger: Logger) -> None:
        self.notes.append(self.name)


class Memory(LoggerDestination):
    """Keeps what is logged, and no longer than the run."""

    is_lasting = False

    def __init__(self) -> None:
        self.metrics: list[tuple[int | None, dict[str, Any]]] = []
        self.traces: list[dict[str, Any]] = []
        self.hyperparameters: dict[str, Any] = {}

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        self.metrics.append((step, dict(metrics)))

    def log_traces(self, traces: dict[str, Any]) -> None:
        self.traces.append(traces)

    def log_hyperparameters(self, hyperparameters: dict[str, Any]) -> None:
        self.hyperparameters.update(hyperparameters)

    def series(self, name: str) -> list[Any]:
        """Return all values logged under a name."""
        return [metrics[name] for _, metrics in self.metrics if name in metrics]


def make_state(**arguments: Any) -> State:
    given: dict[str, Any] = {
        "model": torch.nn.Linear(2, 1),
        "rank_zero_seed": 3,
        "run_name": "a-run",
        "device": DeviceCPU(),
        "max_duration": "2ep",
        "dataloader": range(4),
        "dataloader_label": "train",
    }
    return State(**{**given, **arguments})


def make_engine(
    algorithms: Sequence[Algorithm] = (),
    callbacks: Sequence[Callback] = (),
    passes: Any = None,
    **arguments: Any,
) -> Engine:
    """Make an engine; destinations among the callbacks are given to the logger too."""
    state = make_state(algorithms=algorithms, callbacks=callbacks, **arguments)
    logger = Logger(state, [c for c in callbacks if isinstance(c, LoggerDestination)])
    return Engine(state, logger, passes)
