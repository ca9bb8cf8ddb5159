"""The composition of a run as a table: who acts when, in which order, and what it changes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from composer.core.algorithm import Algorithm
from composer.core.engine import Engine
from composer.core.event import Event
from composer.core.state import State
from composer.utils.text_table import format_table

__all__ = ["Action", "Composition", "Conflict"]

_FIELDS_OF_WEIGHTS = "weight_view"


@dataclass(frozen=True, slots=True)
class Action:
    """One method on one event.

    Attributes:
        event: the event.
        position: its place among the methods on this event, from 0.
        method: the method.
        writes: the state's fields it may change.
        is_conditional: whether it decides at run time if it acts.
    """

    event: Event
    position: int
    method: Algorithm
    writes: tuple[str, ...]
    is_conditional: bool


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two methods that get in each other's way.

    Attributes:
        methods: their names.
        reason: why, in a sentence.
    """

    methods: tuple[str, str]
    reason: str


class Composition:
    """What a run is composed of. Its text is a table.

    Args:
        engine: knows who acts on an event, and in which order.
        state: the run's state.

    Attributes:
        actions: every method on every event it acts on, in the order of the loop.
        conflicts: pairs of methods that get in each other's way.
    """

    def __init__(self, engine: Engine, state: State) -> None:
        self._state = state
        self.actions = [action for event in Event for action in _actions(engine, event)]
        self.conflicts = [
            conflict
            for left, right in combinations(state.algorithms, 2)
            if (conflict := _conflict(left, right)) is not None
        ]

    def hyperparameters(self) -> dict[str, list[str]]:
        """Return it as loggers take it: event -> its methods in order, each with what it writes."""
        found: dict[str, list[str]] = {}
        for action in self.actions:
            name, writes = _row(action)[2:]
            found.setdefault(f"composition/{action.event.value}", []).append(f"{name}: {writes}")
        return found

    def __str__(self) -> str:
        if not self._state.algorithms:
            return "no methods: a plain training loop"
        lines = [f"methods: {', '.join(map(repr, self._state.algorithms))}", ""]
        lines += format_table([("event", "order", "method", "writes"), *map(_row, self.actions)])
        idle = self._idle()
        if idle:
            lines += ["", *(f"{name} acts on no event of the loop" for name in idle)]
        for conflict in self.conflicts:
            lines += ["", f"conflict: {' and '.join(conflict.methods)}: {conflict.reason}"]
        if self._state.weight_view is not None:
            view = type(self._state.weight_view).__name__
            lines += ["", f"evaluation, checkpoints and export use the weights of {view}"]
        return "\n".join(lines)

    __repr__ = __str__

    def _idle(self) -> list[str]:
        acting = {id(action.method) for action in self.actions}
        return [type(a).__name__ for a in self._state.algorithms if id(a) not in acting]


def _actions(engine: Engine, event: Event) -> list[Action]:
    return [
        Action(event, position, method, method.writes, type(method).match is not Algorithm.match)
        for position, method in enumerate(engine.algorithms_for(event))
    ]


def _conflict(left: Algorithm, right: Algorithm) -> Conflict | None:
    names = type(left).__name__, type(right).__name__
    if left.interpolates and right.interpolates:
        return Conflict(names, "both mix the samples of a batch, and the targets of one are lost")
    if _FIELDS_OF_WEIGHTS in left.writes and _FIELDS_OF_WEIGHTS in right.writes:
        return Conflict(names, "both replace the weights used for evaluation and checkpoints")
    if type(left) is type(right):
        return Conflict(names, "the same method twice; its second use changes what the first made")
    return None


def _row(action: Action) -> tuple[str, ...]:
    name = type(action.method).__name__ + (" (where it matches)" if action.is_conditional else "")
    return action.event.value, str(action.position + 1), name, ", ".join(action.writes) or "-"
