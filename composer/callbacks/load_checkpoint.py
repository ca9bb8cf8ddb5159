"""Load a second checkpoint, at an event of one's choice."""

from __future__ import annotations

from composer.checkpoint.load_run import load_checkpoint
from composer.checkpoint.remap import IgnoreKeys, check_ignore_keys
from composer.core.callback import Callback
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State

__all__ = ["LoadCheckpoint"]


class LoadCheckpoint(Callback):
    """Loads a checkpoint once, besides the one that ``load_path`` of the Trainer names.

    For instance an encoder's weights before the run's own checkpoint is loaded.

    Args:
        load_path: the checkpoint.
        load_weights_only: whether to take only the model's weights.
        strict_model_weights: whether the model must have exactly the saved weights.
        ignore_keys: what to leave out; see :func:`composer.checkpoint.remap.leave_out`.
        event: when: ``BEFORE_LOAD`` (before the run's own checkpoint) or ``AFTER_LOAD``, or any
            other event.

    Raises:
        TypeError: ``ignore_keys`` is neither patterns nor a function.
    """

    def __init__(
        self,
        load_path: str,
        load_weights_only: bool = False,
        strict_model_weights: bool = True,
        ignore_keys: IgnoreKeys = None,
        event: str | Event = Event.BEFORE_LOAD,
    ) -> None:
        check_ignore_keys(ignore_keys, "ignore_keys")
        self.load_path = load_path
        self.load_weights_only = load_weights_only
        self.strict_model_weights = strict_model_weights
        self.ignore_keys = ignore_keys
        self.event = Event(event)
        self._is_done = False

    def run_event(self, event: Event, state: State, logger: Logger) -> None:
        """Load at the first such event."""
        if event is not self.event or self._is_done:
            return
        self._is_done = True
        load_checkpoint(
            self.load_path,
            state,
            logger,
            load_weights_only=self.load_weights_only,
            strict_model_weights=self.strict_model_weights,
            ignore_keys=self.ignore_keys,
        )
