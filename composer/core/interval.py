"""From "every 500 batches" to a question asked after every batch.

Checkpoints, evaluations and loggers happen at intervals. The scheduler made here is asked on every
batch, so it compares plain integers and looks at nothing on events that do not concern it.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from composer.core.event import Event
from composer.core.units import Time, TimeInput, TimeUnit
from composer.errors import ConfigError, StateError

if TYPE_CHECKING:
    from composer.core.state import State

__all__ = ["IntervalScheduler", "create_interval_scheduler", "parse_interval"]

_CHECKPOINT_EVENTS = {
    TimeUnit.EPOCH: Event.EPOCH_CHECKPOINT,
    TimeUnit.ITERATION: Event.ITERATION_CHECKPOINT,
}
_END_EVENTS = {
    TimeUnit.EPOCH: Event.EPOCH_END,
    TimeUnit.ITERATION: Event.ITERATION_END,
}
_FINAL_EVENTS = frozenset({Event.BATCH_CHECKPOINT, Event.EPOCH_CHECKPOINT})


def parse_interval(
    interval: TimeInput,
    name: str = "interval",
    default_unit: TimeUnit = TimeUnit.EPOCH,
    units: Collection[TimeUnit] | None = None,
) -> Time[Any]:
    """Read an interval a user gave, and say what is wrong with it under the argument's name.

    Args:
        interval: a time, a time string or a bare number; 0 and less mean never.
        name: name of the argument, for the message.
        default_unit: the unit of a bare number.
        units: the units that make sense; ``None`` allows all.

    Raises:
        ValueError: not a time, or in a unit that is not allowed.
        TypeError: not a time, a text or a number.
    """
    try:
        time = Time.from_input(interval, default_unit)
    except (ValueError, TypeError) as error:
        error.add_note(f"given as {name}={interval!r}")
        raise
    if units is not None and time.unit not in units:
        allowed = ", ".join(repr(unit.value) for unit in units)
        raise ConfigError(
            f"{name}={interval!r} is counted in {time.unit.value!r}; the units allowed here are "
            f"{allowed}"
        )
    return time


def create_interval_scheduler(
    interval: TimeInput,
    include_end_of_training: bool = True,
    checkpoint_events: bool = True,
    final_events: set[Event] | None = None,
) -> IntervalScheduler:
    """Make the predicate ``f(state, event)`` of an interval.

    Args:
        interval: ``'500ba'``, ``'1ep'``, ``'1e6tok'``, ``'30m'``, ``'0.1dur'`` (a tenth of the
            run), or a number of epochs; 0 and less mean never.
        include_end_of_training: whether it is also true at the end of training.
        checkpoint_events: ask on ``*_CHECKPOINT`` events rather than on ``*_END`` events.
        final_events: events on which the end of training is noticed, ``BATCH_CHECKPOINT`` and
            ``EPOCH_CHECKPOINT`` by default.

    Returns:
        A predicate, true on the first event after the count has passed a multiple of the interval.
    """
    return IntervalScheduler(interval, include_end_of_training, checkpoint_events, final_events)


class IntervalScheduler:
    """Says whether something that happens at intervals is due; arguments as above.

    Epochs are counted on epoch events, iterations on iteration events, everything else on batch
    events. Asking twice on one event gives the same answer twice. The end of training is not
    reported again on a later event of the same batch.
    """

    __slots__ = ("_event", "_final", "_last_batch", "_last_event", "_unit", "_value", "interval")

    def __init__(
        self,
        interval: TimeInput,
        include_end_of_training: bool = True,
        checkpoint_events: bool = True,
        final_events: Collection[Event] | None = None,
    ) -> None:
        self.interval = parse_interval(interval)
        self._unit = self.interval.unit
        self._value = self.interval.value
        events, usual = (
            (_CHECKPOINT_EVENTS, Event.BATCH_CHECKPOINT)
            if checkpoint_events
            else (_END_EVENTS, Event.BATCH_END)
        )
        self._event = events.get(self._unit, usual)
        final = _FINAL_EVENTS if final_events is None else frozenset(final_events)
        self._final = final if include_end_of_training else frozenset[Event]()
        self._last_batch = -1
        self._last_event: Event | None = None

    def __call__(self, state: State, event: Event) -> bool:
        """Return whether the thing is due on this event."""
        is_interval, is_final = event is self._event, event in self._final
        if not (is_interval or is_final) or self._value <= 0:
            return False
        if state.previous_timestamp is None and state.timestamp.batch == 0:
            return False
        due = is_interval and self._has_passed(state)
        due = due or (is_final and self._is_end(state, event))
        if due:
            self._last_batch = state.timestamp.count(TimeUnit.BATCH)
            self._last_event = event
        return due

    def remember(self, batch: int, event: Event) -> None:
        """Take over from an interrupted run when it was due last.

        Args:
            batch: the batches trained then.
            event: the event it was due on.
        """
        self._last_batch, self._last_event = batch, event

    def _has_passed(self, state: State) -> bool:
        previous, now = state.previous_timestamp, state.timestamp
        if previous is None:
            return False
        unit, step = self._unit, self._value
        if unit is TimeUnit.DURATION:
            unit, step = self._share_of_run(state)
        return previous.count(unit) // step != now.count(unit) // step

    def _is_end(self, state: State, event: Event) -> bool:
        limit = state.max_duration
        if limit is None or state.timestamp.count(limit.unit) < limit.value:
            return False
        was_reported = state.timestamp.count(TimeUnit.BATCH) == self._last_batch
        return not was_reported or event is self._last_event

    def _share_of_run(self, state: State) -> tuple[TimeUnit, int]:
        """Return the unit and the whole number of a ``dur`` interval."""
        limit = state.max_duration
        if limit is None:
            raise StateError(f"the interval {self.interval} needs a max_duration to be a share of")
        amount, unit = limit.value * self._value, limit.unit
        if unit is TimeUnit.ITERATION:
            raise StateError(
                f"the interval {self.interval} cannot be a share of max_duration={limit}; count "
                "max_duration in epochs, batches, samples or tokens"
            )
        if unit is TimeUnit.EPOCH:
            if state.dataloader_len is None:
                raise StateError(
                    f"the interval {self.interval} of max_duration={limit} needs a dataloader with "
                    "a length; set train_subset_num_batches or count the interval in batches"
                )
            amount, unit = amount * state.dataloader_len.value, TimeUnit.BATCH
        # 0.1 * 30 is a little more than 3; rounding first keeps it from becoming 4.
        return unit, max(1, math.ceil(round(amount, 6)))

    def __repr__(self) -> str:
        return f"IntervalScheduler({str(self.interval)!r})"
