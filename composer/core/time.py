"""Where training stands: the counters that move while it runs.

:class:`Timestamp` counts epochs, batches, samples, tokens and wall-clock time. It never changes;
the loops replace the state's timestamp by the next one. Amounts of time are in
:mod:`composer.core.units` and offered here too.
"""

from __future__ import annotations

import datetime
from typing import Any

from composer.core.serializable import Serializable
from composer.core.units import Time, TimeInput, TimeUnit, ensure_time
from composer.errors import ConfigError

__all__ = ["Time", "TimeInput", "TimeUnit", "Timestamp", "ensure_time"]

_COUNTERS = {
    "iteration": TimeUnit.ITERATION,
    "epoch": TimeUnit.EPOCH,
    "batch": TimeUnit.BATCH,
    "sample": TimeUnit.SAMPLE,
    "token": TimeUnit.TOKEN,
    "epoch_in_iteration": TimeUnit.EPOCH,
    "token_in_iteration": TimeUnit.TOKEN,
    "batch_in_epoch": TimeUnit.BATCH,
    "sample_in_epoch": TimeUnit.SAMPLE,
    "token_in_epoch": TimeUnit.TOKEN,
}
_CLOCKS = ("total_wct", "iteration_wct", "epoch_wct", "batch_wct")
_FIELDS = (*_COUNTERS, *_CLOCKS)
_COUNTER_OF_UNIT = {
    TimeUnit.ITERATION: "_iteration",
    TimeUnit.EPOCH: "_epoch",
    TimeUnit.BATCH: "_batch",
    TimeUnit.SAMPLE: "_sample",
    TimeUnit.TOKEN: "_token",
}
_ZERO = datetime.timedelta()
_NEW = object.__new__


class Timestamp(Serializable):
    """A reading of all training counters; immutable.

    Counters read as :class:`Time` (``timestamp.batch == Time(3, "ba")``) and compare with times
    and time strings of their unit (``timestamp < "10ep"``). Inside, they are plain integers, which
    :meth:`count` returns: the training loop makes a new timestamp every batch.

    Args:
        iteration: finished iterations (only with an iteration length).
        epoch: finished epochs.
        batch: finished batches (optimizer steps).
        sample: samples trained on, over all ranks.
        token: tokens trained on, over all ranks.
        epoch_in_iteration: finished epochs of the current iteration.
        token_in_iteration: tokens of the current iteration.
        batch_in_epoch: finished batches of the current epoch.
        sample_in_epoch: samples of the current epoch.
        token_in_epoch: tokens of the current epoch.
        total_wct: wall-clock time spent training (evaluation left out).
        iteration_wct: wall-clock time of the current iteration.
        epoch_wct: wall-clock time of the current epoch.
        batch_wct: wall-clock time of the last batch.
    """

    __slots__ = tuple(f"_{name}" for name in _FIELDS)

    _iteration: int
    _epoch: int
    _batch: int
    _sample: int
    _token: int
    _epoch_in_iteration: int
    _token_in_iteration: int
    _batch_in_epoch: int
    _sample_in_epoch: int
    _token_in_epoch: int
    _total_wct: datetime.timedelta
    _iteration_wct: datetime.timedelta
    _epoch_wct: datetime.timedelta
    _batch_wct: datetime.timedelta

    def __init__(
        self,
        iteration: int | Time[int] = 0,
        epoch: int | Time[int] = 0,
        batch: int | Time[int] = 0,
        sample: int | Time[int] = 0,
        token: int | Time[int] = 0,
        epoch_in_iteration: int | Time[int] = 0,
        token_in_iteration: int | Time[int] = 0,
        batch_in_epoch: int | Time[int] = 0,
        sample_in_epoch: int | Time[int] = 0,
        token_in_epoch: int | Time[int] = 0,
        total_wct: datetime.timedelta | None = None,
        iteration_wct: datetime.timedelta | None = None,
        epoch_wct: datetime.timedelta | None = None,
        batch_wct: datetime.timedelta | None = None,
    ) -> None:
        given = locals()
        for name, unit in _COUNTERS.items():
            setattr(self, f"_{name}", _as_count(name, given[name], unit))
        for name in _CLOCKS:
            setattr(self, f"_{name}", _as_duration(name, given[name]))

    @property
    def iteration(self) -> Time[int]:
        """Finished iterations."""
        return Time(self._iteration, TimeUnit.ITERATION)

    @property
    def epoch(self) -> Time[int]:
        """Finished epochs."""
        return Time(self._epoch, TimeUnit.EPOCH)

    @property
    def batch(self) -> Time[int]:
        """Finished batches."""
        return Time(self._batch, TimeUnit.BATCH)

    @property
    def sample(self) -> Time[int]:
        """Samples trained on, over all ranks."""
        return Time(self._sample, TimeUnit.SAMPLE)

    @property
    def token(self) -> Time[int]:
        """Tokens trained on, over all ranks."""
        return Time(self._token, TimeUnit.TOKEN)

    @property
    def epoch_in_iteration(self) -> Time[int]:
        """Finished epochs of the current iteration."""
        return Time(self._epoch_in_iteration, TimeUnit.EPOCH)

    @property
    def token_in_iteration(self) -> Time[int]:
        """Tokens of the current iteration."""
        return Time(self._token_in_iteration, TimeUnit.TOKEN)

    @property
    def batch_in_epoch(self) -> Time[int]:
        """Finished batches of the current epoch."""
        return Time(self._batch_in_epoch, TimeUnit.BATCH)

    @property
    def sample_in_epoch(self) -> Time[int]:
        """Samples of the current epoch."""
        return Time(self._sample_in_epoch, TimeUnit.SAMPLE)

    @property
    def token_in_epoch(self) -> Time[int]:
        """Tokens of the current epoch."""
        return Time(self._token_in_epoch, TimeUnit.TOKEN)

    @property
    def total_wct(self) -> datetime.timedelta:
        """Wall-clock time spent training."""
        return self._total_wct

    @property
    def iteration_wct(self) -> datetime.timedelta:
        """Wall-clock time of the current iteration."""
        return self._iteration_wct

    @property
    def epoch_wct(self) -> datetime.timedelta:
        """Wall-clock time of the current epoch."""
        return self._epoch_wct

    @property
    def batch_wct(self) -> datetime.timedelta:
        """Wall-clock time of the last batch."""
        return self._batch_wct

    def count(self, unit: TimeUnit) -> int:
        """Return the counter of ``unit`` as a plain integer (whole seconds for ``SECOND``).

        Raises:
            ValueError: ``unit`` is ``DURATION``, which no counter counts.
        """
        name = _COUNTER_OF_UNIT.get(unit)
        if name is not None:
            return getattr(self, name)
        if unit is TimeUnit.SECOND:
            return int(self._total_wct.total_seconds())
        raise ConfigError(
            "a timestamp does not count 'dur'; use state.get_elapsed_duration() for the share done"
        )

    def get(self, unit: str | TimeUnit) -> Time[int]:
        """Return the counter of ``unit`` (seconds are those of :attr:`total_wct`).

        Raises:
            ValueError: ``unit`` is ``DURATION`` or not a unit.
        """
        unit = TimeUnit(unit)
        return Time(self.count(unit), unit)

    def copy(self, **changes: Any) -> Timestamp:
        """Return a copy with some counters replaced; names and types as in the constructor."""
        unknown = changes.keys() - set(_FIELDS)
        if unknown:
            raise TypeError(f"a timestamp has no {sorted(unknown)}; it has {list(_FIELDS)}")
        fields = {name: getattr(self, f"_{name}") for name in _FIELDS}
        fields.update((name, value) for name, value in changes.items() if value is not None)
        return Timestamp(**fields)

    def to_next_batch(
        self,
        samples: int | float | Time[int] = 0,
        tokens: int | Time[int] = 0,
        duration: datetime.timedelta | None = None,
    ) -> Timestamp:
        """Return the timestamp after one more batch.

        Args:
            samples: samples in the batch, over all ranks.
            tokens: tokens in the batch, over all ranks.
            duration: wall-clock time of the batch.
        """
        if duration is None:
            duration = _ZERO
        samples, tokens = int(samples), int(tokens)
        new = _NEW(Timestamp)
        new._iteration = self._iteration
        new._epoch = self._epoch
        new._batch = self._batch + 1
        new._sample = self._sample + samples
        new._token = self._token + tokens
        new._epoch_in_iteration = self._epoch_in_iteration
        new._token_in_iteration = self._token_in_iteration + tokens
        new._batch_in_epoch = self._batch_in_epoch + 1
        new._sample_in_epoch = self._sample_in_epoch + samples
        new._token_in_epoch = self._token_in_epoch + tokens
        new._total_wct = self._total_wct + duration
        new._iteration_wct = self._iteration_wct + duration
        new._epoch_wct = self._epoch_wct + duration
        new._batch_wct = duration
        return new

    def to_next_epoch(self, duration: datetime.timedelta | None = None) -> Timestamp:
        """Return the timestamp after the end of the epoch.

        Args:
            duration: wall-clock time since the last batch.
        """
        duration = duration or _ZERO
        return self.copy(
            epoch=self._epoch + 1,
            epoch_in_iteration=self._epoch_in_iteration + 1,
            batch_in_epoch=0,
            sample_in_epoch=0,
            token_in_epoch=0,
            total_wct=self._total_wct + duration,
            iteration_wct=self._iteration_wct + duration,
            epoch_wct=_ZERO,
            batch_wct=_ZERO,
        )

    def to_next_iteration(self, duration: datetime.timedelta | None = None) -> Timestamp:
        """Return the timestamp after the end of the iteration.

        Args:
            duration: wall-clock time since the last batch.
        """
        duration = duration or _ZERO
        return self.copy(
            iteration=self._iteration + 1,
            epoch_in_iteration=0,
            token_in_iteration=0,
            batch_in_epoch=0,
            sample_in_epoch=0,
            token_in_epoch=0,
            total_wct=self._total_wct + duration,
            iteration_wct=_ZERO,
            epoch_wct=_ZERO,
            batch_wct=_ZERO,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return plain integers and timedeltas, by counter name."""
        return {name: getattr(self, f"_{name}") for name in _FIELDS}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over counters written by :meth:`state_dict`; absent ones become zero.

        Durations may also be numbers of seconds.

        This is the one method that changes a timestamp in place.
        """
        given = {name: state[name] for name in _FIELDS if name in state}
        for name in _CLOCKS:
            # Checkpoint files hold numbers only, so durations come back as seconds.
            if isinstance(given.get(name), int | float):
                given[name] = datetime.timedelta(seconds=given[name])
        loaded = Timestamp(**given)
        for name in _FIELDS:
            setattr(self, f"_{name}", getattr(loaded, f"_{name}"))

    def _comparable(self, other: object) -> tuple[int, float]:
        if isinstance(other, str):
            other = Time.from_timestring(other)
        if not isinstance(other, Time):
            raise TypeError(
                f"a timestamp compares with a Time or a time string, not with {other!r} "
                f"({type(other).__name__})"
            )
        return self.count(other.unit), other.value

    def __lt__(self, other: object) -> bool:
        mine, theirs = self._comparable(other)
        return mine < theirs

    def __le__(self, other: object) -> bool:
        mine, theirs = self._comparable(other)
        return mine <= theirs

    def __gt__(self, other: object) -> bool:
        mine, theirs = self._comparable(other)
        return mine > theirs

    def __ge__(self, other: object) -> bool:
        mine, theirs = self._comparable(other)
        return mine >= theirs

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Timestamp):
            return self.state_dict() == other.state_dict()
        if not isinstance(other, Time | str):
            return NotImplemented
        mine, theirs = self._comparable(other)
        return mine == theirs

    def __hash__(self) -> int:
        return hash(tuple(self.state_dict().values()))

    def __repr__(self) -> str:
        return f"Timestamp({', '.join(f'{k}={v!r}' for k, v in self.state_dict().items())})"

    def __str__(self) -> str:
        return f"epoch {self._epoch}, batch {self._batch} ({self._batch_in_epoch} in epoch)"

    def __reduce__(self) -> tuple[Any, ...]:
        return Timestamp, tuple(self.state_dict().values())


def _as_count(name: str, value: int | Time[int], unit: TimeUnit) -> int:
    if isinstance(value, Time):
        if value.unit is not unit:
            raise ConfigError(f"{name}={value!r} must be counted in {unit.value!r}")
        return value.value
    return int(value)


def _as_duration(name: str, value: datetime.timedelta | None) -> datetime.timedelta:
    if value is None:
        return _ZERO
    if not isinstance(value, datetime.timedelta):
        raise TypeError(f"{name} must be a datetime.timedelta, got {value!r}")
    return value
