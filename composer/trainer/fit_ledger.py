"""Which calls of ``fit`` a run has begun, so that a program that is started again repeats none.

A program may train in several calls, each with a duration that counts from where it begins. Started
again after an interruption it makes the same calls, but from another batch. So checkpoints keep
where each call began: calls that had come to their end are passed over, and the one that was
interrupted goes on to where it would have ended.
"""

from __future__ import annotations

from dataclasses import dataclass

from composer.core.state import State
from composer.core.time import Timestamp

__all__ = ["FitCall", "FitLedger"]

_KEY = "fits"


@dataclass(frozen=True, slots=True)
class FitCall:
    """One call.

    Attributes:
        start: where in training it began; ``None`` if it begins now.
        is_over: whether it had come to its end.
    """

    start: Timestamp | None = None
    is_over: bool = False

    @property
    def was_begun(self) -> bool:
        """Whether the run had begun it before the program was started again."""
        return self.start is not None


class FitLedger:
    """Counts the calls of one program.

    Args:
        state: the run's state.
        is_resumed: whether the program goes on with its own run, by ``autoresume``. A run that only
            starts from another's checkpoint makes calls of its own.
    """

    def __init__(self, state: State, is_resumed: bool) -> None:
        self._state = state
        self._num_calls = 0
        if not is_resumed:
            state.progress.pop(_KEY, None)
        self._num_begun = len(state.progress.get(_KEY, ()))

    def next_call(self) -> FitCall:
        """Return what is known of the call that is being made."""
        index, self._num_calls = self._num_calls, self._num_calls + 1
        if index >= self._num_begun:
            return FitCall()
        start = Timestamp()
        start.load_state_dict(self._state.progress[_KEY][index])
        return FitCall(start, is_over=index < self._num_begun - 1)

    def begin(self, call: FitCall) -> None:
        """Note that training begins for a call."""
        if not call.was_begun:
            now = self._state.timestamp.state_dict()
            self._state.progress.setdefault(_KEY, []).append(now)
