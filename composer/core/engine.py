"""Runs one event: asks the methods, then the callbacks, then the logger destinations.

Who acts on an event is worked out once and kept, so that an event nobody listens to costs one
dictionary look-up. The answer is worked out anew where a phase of the run begins (see
``_PHASE_STARTS``): a plug-in added in the middle of an epoch acts from the next epoch on.
"""

from __future__ import annotations

import atexit
import functools
import logging
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from composer.core.algorithm import Algorithm
from composer.core.callback import Callback
from composer.core.event import Event
from composer.core.logger_destination import LoggerDestination
from composer.core.passes import DEFAULT_PASSES, AlgorithmPass
from composer.errors import ConfigError, StateError
from composer.utils.iter_helpers import ensure_tuple

if TYPE_CHECKING:
    from composer.core.logger import Logger
    from composer.core.state import State

__all__ = ["Engine", "Trace"]

log = logging.getLogger(__name__)

_PHASE_STARTS = frozenset(
    {
        Event.INIT,
        Event.BEFORE_LOAD,
        Event.AFTER_LOAD,
        Event.FIT_START,
        Event.EPOCH_START,
        Event.EVAL_BEFORE_ALL,
        Event.EVAL_STANDALONE_START,
        Event.PREDICT_START,
    }
)
_NEEDS_NO_DATALOADER = frozenset(
    {
        Event.INIT,
        Event.BEFORE_LOAD,
        Event.AFTER_LOAD,
        Event.EVAL_STANDALONE_START,
        Event.EVAL_STANDALONE_END,
    }
)
# What happens on these is saving, not watching.
_CHECKPOINT_EVENTS = frozenset(
    {Event.BATCH_CHECKPOINT, Event.EPOCH_CHECKPOINT, Event.ITERATION_CHECKPOINT}
)
_NEEDS_NO_DURATION = frozenset({Event.INIT, Event.BEFORE_LOAD, Event.AFTER_LOAD})
_NO_TRACES: Mapping[str, Trace] = MappingProxyType({})

_open_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
# Which engine an open callback belongs to: one callback cannot watch two runs at once.
_owners: weakref.WeakKeyDictionary[Callback, weakref.ref[Engine]] = weakref.WeakKeyDictionary()


@dataclass(slots=True)
class Trace:
    """What a method did on an event.

    Attributes:
        name: the method's class name.
        event: the event.
        exit_code: what :meth:`Algorithm.apply` returned.
        order: its position among the methods on this event.
        run: whether it ran.
    """

    name: str = ""
    event: Event | None = None
    exit_code: int | None = None
    order: int | None = None
    run: bool = False


# (plug-in, its function of the state and the logger)
_Call = tuple[Callback, Callable[..., Any]]
_Step = tuple[Algorithm, Callable[..., int | None]]


class _Listeners:
    """Who acts on one event, in order.

    Attributes:
        algorithms: the methods that may act.
        calls: the callbacks.
        dynamic: whether some method decides at run time.
        steps: what the methods do, where none decides at run time.
        traces: what they leave where each returns ``None``.
    """

    __slots__ = ("algorithms", "calls", "dynamic", "steps", "traces")

    def __init__(
        self, event: Event, algorithms: Sequence[Algorithm], calls: Sequence[_Call]
    ) -> None:
        self.algorithms = list(algorithms)
        self.calls = list(calls)
        self.dynamic = any(_decides_at_run_time(algorithm) for algorithm in algorithms)
        self.steps = [] if self.dynamic else _steps(self.algorithms, event)
        self.traces = _traces(self.steps, event, [None] * len(self.steps))

    def __bool__(self) -> bool:
        return bool(self.algorithms or self.calls)


class Engine:
    """Dispatches events.

    Args:
        state: the run's state.
        logger: the run's logger.
        algorithm_passes: passes to run after the default ones: a callable, a (callable, index)
            pair, or a list of those; an index places it among the passes.
    """

    def __init__(
        self,
        state: State,
        logger: Logger,
        algorithm_passes: AlgorithmPass
        | tuple[AlgorithmPass, int]
        | Sequence[AlgorithmPass | tuple[AlgorithmPass, int]]
        | None = None,
    ) -> None:
        self.state = state
        self.logger = logger
        self.algorithm_passes: list[AlgorithmPass] = list(DEFAULT_PASSES)
        self._has_user_passes = False
        self._listeners: dict[Event, _Listeners | None] = {}
        self._is_closed = False
        for each in _as_pass_list(algorithm_passes):
            algorithm_pass, index = each if isinstance(each, tuple) else (each, -1)
            self.register_pass(algorithm_pass, index)
        _open_engines.add(self)
        _close_engines_at_exit()

    def register_pass(self, algorithm_pass: AlgorithmPass, index: int = -1) -> None:
        """Add a pass.

        Args:
            algorithm_pass: takes the methods and the event, returns the methods in its order.
            index: where to insert it among the passes; -1 appends.
        """
        if not callable(algorithm_pass):
            raise ConfigError(f"an algorithm pass must be callable, got {algorithm_pass!r}")
        if index == -1:
            index = len(self.algorithm_passes)
        self.algorithm_passes.insert(index, algorithm_pass)
        self._has_user_passes = True
        self._listeners.clear()

    @property
    def is_closed(self) -> bool:
        """Whether :meth:`close` was called; nothing runs any more."""
        return self._is_closed

    def listens(self, event: Event) -> bool:
        """Return whether anybody acts on ``event``."""
        if event in self._listeners:
            return self._listeners[event] is not None
        return self._find_listeners(event) is not None

    def algorithms_for(self, event: Event) -> list[Algorithm]:
        """Return the methods that may act on ``event``, in the order in which they would.

        Unlike running the event, asking needs no dataloader and changes nothing.
        """
        algorithms = [a for a in self.state.algorithms if _may_act(a, event)]
        return list(self._ordered(algorithms, event))

    def run_event(self, event: Event | str) -> Mapping[str, Trace]:
        """Run one event.

        Args:
            event: the event.

        Returns:
            What each method did, under ``<method>/<event>``.

        Raises:
            RuntimeError: the engine is closed, or the state lacks what the event needs.
        """
        try:
            listeners = self._listeners[event]  # pyright: ignore[reportArgumentType]
        except KeyError:
            listeners = self._resolve(event := Event(event))
        if listeners is None:
            return _NO_TRACES
        if listeners.algorithms:
            return self._run(event, listeners)  # pyright: ignore[reportArgumentType]
        self._run_callbacks(event, listeners)  # pyright: ignore[reportArgumentType]
        return _NO_TRACES

    def run_marker_only_event(self, event: Event | str) -> None:
        """Show an event to the profiler without running it."""
        if self.state.profiler is not None:
            with self.state.profiler.span(Event(event).value):
                pass

    def _resolve(self, event: Event) -> _Listeners | None:
        """Work out who acts on ``event`` and, within a phase, remember it."""
        if event in _PHASE_STARTS:
            self._listeners.clear()
            if event is Event.INIT:
                self._claim_callbacks()
            return self._find_listeners(event)
        self._listeners[event] = self._find_listeners(event)
        return self._listeners[event]

    def _run(self, event: Event, listeners: _Listeners) -> Mapping[str, Trace]:
        if event is Event.INIT:
            self._run_callbacks(event, listeners)
            return self._run_algorithms(event, listeners)
        traces = self._run_algorithms(event, listeners)
        if listeners.calls:
            self._run_callbacks(event, listeners)
        return traces

    def _run_algorithms(self, event: Event, listeners: _Listeners) -> Mapping[str, Trace]:
        state, logger = self.state, self.logger
        steps, traces = listeners.steps, listeners.traces
        if listeners.dynamic:
            steps, traces = self._chosen_steps(event, listeners), None
        profiler = state.profiler
        exit_codes: list[int | None] = []
        for algorithm, function in steps:
            try:
                if profiler is None:
                    exit_codes.append(function(state, logger))
                    continue
                with profiler.span(_span_name(algorithm, event)):
                    exit_codes.append(function(state, logger))
            except Exception as error:
                self._blame(error, algorithm, event)
                raise
        if traces is None or exit_codes.count(None) < len(exit_codes):
            traces = _traces(steps, event, exit_codes)
        if traces and logger.listens_to_traces:
            logger.log_traces({f"algorithm_traces/{key}": int(t.run) for key, t in traces.items()})
        return traces

    def _chosen_steps(self, event: Event, listeners: _Listeners) -> list[_Step]:
        """Ask the methods that decide at run time."""
        algorithms = [a for a in listeners.algorithms if a.match(event, self.state)]
        if self._has_user_passes:
            algorithms = self._ordered(algorithms, event)
        return _steps(algorithms, event)

    def _run_callbacks(self, event: Event, listeners: _Listeners) -> None:
        state, logger = self.state, self.logger
        profiler = state.profiler
        began, before = perf_counter_ns(), logger.watching_ns
        for callback, function in listeners.calls:
            try:
                if profiler is None:
                    function(state, logger)
                    continue
                with profiler.span(_span_name(callback, event)):
                    function(state, logger)
            except Exception as error:
                self._blame(error, callback, event)
                if event is Event.INIT or not isinstance(callback, LoggerDestination):
                    raise
                logger.switch_off(callback, error)
                self._listeners.clear()
        if event not in _CHECKPOINT_EVENTS:
            # Not added to: what callbacks log has been counted on its own already.
            logger.watching_ns = before + perf_counter_ns() - began

    def _blame(self, error: Exception, plugin: object, event: Event) -> None:
        error.add_note(f"raised by {plugin!r} on {event.value!r} at {self.state.timestamp}")

    def _find_listeners(self, event: Event) -> _Listeners | None:
        if self._is_closed:
            raise StateError(f"{event.value!r} cannot run: the trainer is closed. Make a new one.")
        self._check_state(event)
        algorithms: Sequence[Algorithm] = [a for a in self.state.algorithms if _may_act(a, event)]
        # The user's passes may look at who acts, so they wait until that is decided; running all
        # passes now and again then would reverse AFTER_* events twice.
        if not (self._has_user_passes and any(map(_decides_at_run_time, algorithms))):
            algorithms = self._ordered(algorithms, event)
        listeners = _Listeners(event, algorithms, self._calls(event))
        return listeners if listeners else None

    def _ordered(self, algorithms: Sequence[Algorithm], event: Event) -> Sequence[Algorithm]:
        if len(algorithms) < 2 and not self._has_user_passes:
            return algorithms
        for algorithm_pass in self.algorithm_passes:
            algorithms = algorithm_pass(algorithms, event)
        return algorithms

    def _calls(self, event: Event) -> list[_Call]:
        callbacks = [c for c in self.state.callbacks if not isinstance(c, LoggerDestination)]
        destinations = [
            c
            for c in self.state.callbacks
            if isinstance(c, LoggerDestination) and self.logger.works(c)
        ]
        ordered = destinations + callbacks if event is Event.INIT else callbacks + destinations
        calls: list[_Call] = []
        for callback in ordered:
            if _is_overridden(callback, Callback, "run_event"):
                calls.append((callback, functools.partial(callback.run_event, event)))
            elif _is_overridden(callback, Callback, event.value):
                calls.append((callback, getattr(callback, event.value)))
        return calls

    def _check_state(self, event: Event) -> None:
        if event not in _NEEDS_NO_DATALOADER and self.state.dataloader is None:
            raise StateError(f"{event.value!r} needs a dataloader: call state.set_dataloader first")
        needs_duration = not (event.is_eval or event.is_predict or event in _NEEDS_NO_DURATION)
        if needs_duration and self.state.max_duration is None:
            raise StateError(f"{event.value!r} needs state.max_duration")

    def _claim_callbacks(self) -> None:
        for callback in self.state.callbacks:
            owner = _owners.get(callback)
            engine = owner() if owner is not None else None
            if engine is not None and engine is not self and not engine._is_closed:
                raise StateError(
                    f"{callback!r} still watches another trainer; close() that one first, or give "
                    "each trainer a callback of its own"
                )
            _owners[callback] = weakref.ref(self)

    def close(self) -> None:
        """Close every callback, then run their ``post_close``; errors are logged, not raised."""
        if self._is_closed:
            return
        self._is_closed = True
        self._listeners.clear()
        _open_engines.discard(self)
        self._attempt(self.logger.flush)
        closed = [
            callback
            for callback in self.state.callbacks
            if self._attempt(callback.close, self.state, self.logger)
        ]
        self._attempt(self.logger.flush)
        for callback in closed:
            self._attempt(callback.post_close)

    @staticmethod
    def _attempt(function: Callable[..., Any], *args: Any) -> bool:
        """Call while closing: one failure must not keep the others from closing."""
        try:
            function(*args)
        except Exception:
            log.exception("closing failed in %r", function)
            return False
        return True


def _steps(algorithms: Sequence[Algorithm], event: Event) -> list[_Step]:
    """What each method does on the event, as a function of the state and the logger."""
    return [(algorithm, _handler(algorithm, event)) for algorithm in algorithms]


def _handler(algorithm: Algorithm, event: Event) -> Callable[..., int | None]:
    if _is_overridden(algorithm, Algorithm, "apply"):
        return functools.partial(algorithm.apply, event)
    # What `apply` would look up each time.
    return getattr(algorithm, algorithm.events[event])


def _traces(
    steps: Sequence[_Step], event: Event, exit_codes: Sequence[int | None]
) -> Mapping[str, Trace]:
    names = [type(algorithm).__name__ for algorithm, _ in steps]
    return {
        f"{name}/{event.value}": Trace(name, event, exit_code, position, True)
        for position, (name, exit_code) in enumerate(zip(names, exit_codes, strict=True))
    }


def _span_name(plugin: object, event: Event) -> str:
    return f"{type(plugin).__name__}/{event.value}"


def _as_pass_list(passes: Any) -> tuple[Any, ...]:
    is_pair = isinstance(passes, tuple) and len(passes) == 2 and isinstance(passes[1], int)
    return (passes,) if is_pair else ensure_tuple(passes)


def _is_overridden(plugin: object, base: type, method: str) -> bool:
    if method in getattr(plugin, "__dict__", {}):
        return True
    return getattr(type(plugin), method, None) is not getattr(base, method, None)


def _decides_at_run_time(algorithm: Algorithm) -> bool:
    return _is_overridden(algorithm, Algorithm, "match")


def _may_act(algorithm: Algorithm, event: Event) -> bool:
    if algorithm.events:
        return event in algorithm.events
    if _decides_at_run_time(algorithm):
        return True
    raise ConfigError(
        f"{algorithm!r} acts on nothing: give its class an `events` table, or `match` and `apply`"
    )


@functools.cache
def _close_engines_at_exit() -> None:
    """Arrange, once, that open engines close when the program ends."""
    atexit.register(_close_open_engines)


def _close_open_engines() -> None:
    for engine in list(_open_engines):
        engine.close()
