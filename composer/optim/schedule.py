"""What every learning rate schedule is made of: the protocol, and times turned into counts.

A schedule's arguments are amounts of time such as ``'10ep'`` or ``'0.1dur'``. What they mean in
batches depends on the run, so a :class:`Schedule` works in two steps: :meth:`Schedule.plan` turns
them into plain integers once for each run, and the curve it returns is evaluated every batch.
The schedules themselves are in :mod:`composer.optim.curves` and :mod:`composer.optim.warmup`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from composer.core.time import Time, Timestamp, TimeUnit
from composer.errors import ConfigError, StateError

if TYPE_CHECKING:
    from composer.core.state import State

__all__ = [
    "ComposerScheduler",
    "Curve",
    "Run",
    "Schedule",
]

Curve = Callable[[Timestamp], float]


class ComposerScheduler(Protocol):
    """A function of the training state that returns a multiplier of the initial learning rate.

    Any callable of this form is a schedule; the classes of this package are ready-made ones. A
    function that takes the state alone will do where the schedule is not scaled.

    Example:
        >>> def halve_every_1000_batches(state, ssr=1.0):
        ...     return 0.5 ** (int(state.timestamp.batch) // int(1000 * ssr))
    """

    def __call__(self, state: State, ssr: float = 1.0) -> float:
        """Return the multiplier that holds at ``state.timestamp``.

        Args:
            state: the training state.
            ssr: scale schedule ratio: all times of the schedule are multiplied by it, save those
                in ``'dur'``, because ``max_duration`` is scaled already.
        """
        ...


@dataclass(frozen=True, slots=True)
class Run:
    """The facts about a run that give a schedule's times their meaning.

    Args:
        max_duration: the length of the run, if known.
        batches_per_epoch: the length of the data loader, if known.
        ssr: scale schedule ratio.
    """

    max_duration: Time[Any] | None
    batches_per_epoch: int | None
    ssr: float = 1.0

    def resolve(self, time: Time[Any], ssr: float | None = None) -> Time[int]:
        """Turn a time into a count of batches, samples, tokens or iterations.

        ``dur`` is a share of ``max_duration``, rounded down; epochs become batches; everything
        but ``dur`` is then multiplied by the scale schedule ratio and rounded down.

        Args:
            time: the time to turn.
            ssr: used in place of the run's own ratio.

        Raises:
            RuntimeError: the run's length, or that of its data loader, is needed and not known.
        """
        if time.unit is TimeUnit.DURATION:
            return self._share(time)
        value = time.value
        unit = time.unit
        if unit is TimeUnit.EPOCH:
            value, unit = value * self._epoch_length(time), TimeUnit.BATCH
        return Time(int(value * (self.ssr if ssr is None else ssr)), unit)

    def end(self) -> Time[int] | None:
        """Return the end of the run as a count; ``None`` where it is not known."""
        known = self.max_duration is not None and (
            self.max_duration.unit is not TimeUnit.EPOCH or self.batches_per_epoch is not None
        )
        return self._share(Time(1.0, TimeUnit.DURATION)) if known else None

    def _share(self, time: Time[float]) -> Time[int]:
        if self.max_duration is None:
            raise StateError(
                f"a schedule's time {str(time)!r} is a share of max_duration, which is not set; "
                "set it, or count the schedule in batches ('100ba')"
            )
        if self.max_duration.unit is not TimeUnit.EPOCH:
            return Time(int(time.value * self.max_duration.value), self.max_duration.unit)
        epoch_length = self._epoch_length(time)
        return Time(int(time.value * epoch_length * self.max_duration.value), TimeUnit.BATCH)

    def _epoch_length(self, time: Time[Any]) -> int:
        if self.batches_per_epoch is None:
            raise StateError(
                f"a schedule's time {str(time)!r} counts epochs of a data loader without a length; "
                "set train_subset_num_batches, or count in batches ('100ba') or samples ('1000sp')"
            )
        return self.batches_per_epoch


class Schedule(ComposerScheduler):
    """Base of the ready-made schedules: checks its arguments once, plans once for each run."""

    _planned: tuple[Run, Curve] | None = None

    def plan(self, run: Run) -> Curve:
        """Return the schedule as a function of the timestamp alone.

        Args:
            run: what the times of the schedule refer to.

        Raises:
            ValueError: the schedule does not fit the run.
            RuntimeError: something about the run is needed and not known.
        """
        raise NotImplementedError

    def __call__(self, state: State, ssr: float = 1.0) -> float:
        """Return the multiplier that holds at ``state.timestamp``; see `ComposerScheduler`."""
        length = state.dataloader_len
        batches = None if length is None else int(length)
        planned = self._planned
        # The run changes when fit() extends it or another loader comes; else the plan still holds.
        if planned is None or not _is_same(planned[0], state.max_duration, batches, ssr):
            run = Run(state.max_duration, batches, ssr)
            self._planned = planned = (run, self.plan(run))
        left_out = state.batches_left_out
        if left_out == 0 or planned[0].max_duration is None:
            return planned[1](state.timestamp)
        return planned[1](_counting(state.timestamp, left_out, planned[0].max_duration))

    def _resolve_positive(self, name: str, run: Run) -> Time[int]:
        """Resolve a time that the schedule divides by, under its argument's name.

        Raises:
            ValueError: so short that nothing is left of it after rounding down.
        """
        time: Time[Any] = getattr(self, name)
        resolved = run.resolve(time)
        if resolved.value == 0:
            raise ConfigError(
                f"{self!r}: {name} is less than one {resolved.unit.name.lower()} of this run "
                f"(max_duration={run.max_duration!s}, scale schedule ratio {run.ssr:g})"
            )
        return resolved

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_planned"}

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values."""
        return {name: _shown(value) for name, value in self.__getstate__().items()}

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.arguments().items())
        return f"{type(self).__name__}({arguments})"


def _counting(timestamp: Timestamp, left_out: int, max_duration: Time[Any]) -> Timestamp:
    """Return the time as it would be with the batches that were left out.

    A run that is counted in epochs is as long as ever; one that is counted in batches takes others
    in their place.
    """
    if max_duration.unit is not TimeUnit.EPOCH:
        return timestamp
    return timestamp.copy(batch=timestamp.batch.value + left_out)


def _is_same(run: Run, max_duration: Time[Any] | None, batches: int | None, ssr: float) -> bool:
    # Identity first: comparing times costs more than all the rest of an evaluation.
    is_same_length = run.max_duration is max_duration or (
        run.max_duration is not None
        and max_duration is not None
        and run.max_duration.unit is max_duration.unit
        and run.max_duration.value == max_duration.value
    )
    return is_same_length and run.batches_per_epoch == batches and run.ssr == ssr


def _shown(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_shown(each) for each in value]
    return str(value) if isinstance(value, Time) else value
