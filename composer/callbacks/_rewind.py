"""Take what was learned back to an older checkpoint, while time and data go on."""

from __future__ import annotations

import logging
from typing import Any

from composer.callbacks.checkpoint_saver import CheckpointSaver
from composer.checkpoint.layout import STATE_KEY
from composer.checkpoint.load_run import load_checkpoint
from composer.core.logger import Logger
from composer.core.state import State
from composer.core.time import TimeUnit
from composer.distributed import comm
from composer.errors import ConfigError, TrainingError

__all__ = ["Rewinder"]

log = logging.getLogger(__name__)

# What training changes by learning. Counters, data positions, schedules and callbacks go on.
_LEARNED = ("model", "optimizers", "algorithms", "scaler")


class Rewinder:
    """Loads what was learned from a checkpoint of this run.

    Args:
        state: the run's state.

    Raises:
        ValueError: the run saves no checkpoints it could go back to.
    """

    def __init__(self, state: State) -> None:
        savers = [c for c in state.callbacks if isinstance(c, CheckpointSaver)]
        savers = [s for s in savers if not s.weights_only and s.num_checkpoints_to_keep != 0]
        if not savers:
            raise ConfigError(
                "action='rewind' needs checkpoints to go back to: give the Trainer save_folder and "
                "a save_interval, without save_weights_only and with checkpoints to keep"
            )
        self._saver = savers[0]

    def rewind(self, state: State, logger: Logger, before: int) -> None:
        """Go back to the newest checkpoint of a time; all ranks must call this.

        Args:
            state: the run's state.
            logger: the run's logger.
            before: how many batches it may have been trained on at most.

        Raises:
            RuntimeError: there is none.
        """
        self._saver.wait(logger)
        # Only rank 0 knows for sure what is on disk.
        found = [self._find(before)]
        comm.broadcast_object_list(found)
        path, saved_at, newest = found[0]
        if path is None:
            raise TrainingError(
                f"there is no checkpoint from before batch {before} to go back to; the newest is "
                f"of batch {newest}. Save more often, keep more checkpoints, or use action='skip'"
            )
        options = [_options_of(optimizer) for optimizer in state.optimizers]
        load_checkpoint(path, state, logger, ignore_keys=_keep_what_was_learned)
        for optimizer, groups in zip(state.optimizers, options, strict=True):
            for group, kept in zip(optimizer.param_groups, groups, strict=True):
                group.update(kept)
        log.warning("went back to %s; time and data go on at %s", path, state.timestamp)
        if newest is not None and newest > saved_at:
            # The newest one is spoiled; nobody shall resume from it.
            self._saver.save(state, logger)

    def _find(self, before: int) -> tuple[str | None, int, int | None]:
        """Return the path to go back to, the batch it was saved at, and the newest one's batch."""
        batches = {
            path: saved_at.count(TimeUnit.BATCH)
            for path, saved_at in self._saver.all_saved_checkpoints_to_timestamp.items()
        }
        newest = max(batches.values(), default=None)
        good = [path for path, batch in batches.items() if batch <= before]
        path = max(good, key=batches.__getitem__, default=None)
        return path, batches.get(path or "", 0), newest


def _options_of(optimizer: Any) -> list[dict[str, Any]]:
    """Return learning rates and the like, which are those of now and not of then."""
    return [
        {name: value for name, value in group.items() if name != "params"}
        for group in optimizer.param_groups
    ]


def _keep_what_was_learned(contents: dict[str, Any]) -> None:
    for key in contents.keys() - {STATE_KEY}:
        del contents[key]
    state = contents[STATE_KEY]
    for key in state.keys() - set(_LEARNED):
        del state[key]
