"""One run of somebody's training program, arranged so that it can be compared with others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

from composer.callbacks.checkpoint_saver import CheckpointSaver
from composer.core.event import Event
from composer.core.state import State
from composer.distributed import comm, reproducibility
from composer.errors import ConfigError
from composer.testing.recorder import Recorder, TrialEnded
from composer.trainer.trainer import Trainer
from composer.utils.iter_helpers import ensure_tuple

__all__ = ["Trial", "run_trial"]

_RUN_NAME = "verify-resume"


@dataclass(frozen=True, slots=True)
class Trial:
    """How to run the program this time.

    Attributes:
        folder: where records go, and checkpoints.
        saves: whether checkpoints are written, and gone on from where there are some.
        stops: where to save and then end this life of the run: ``'7ba'`` in the middle of an epoch
            or at its last batch, ``'2ep'`` between epochs. With ``saves`` and no stops every batch
            is saved.
        num_batches: end the run after so many batches; ``None`` for the program's own duration.
        batches_per_epoch: cut epochs short; ``None`` for whole ones.
        seed: what Python, numpy and torch are seeded with before the program begins, and the
            Trainer's seed where the program gives none.
    """

    folder: str
    saves: bool = False
    stops: tuple[str, ...] = ()
    num_batches: int | None = None
    batches_per_epoch: int | None = None
    seed: int = 17

    def arguments(self, given: dict[str, Any], recorder: Recorder) -> dict[str, Any]:
        """Return the arguments the Trainer is made with, of those the program gives."""
        changed: dict[str, Any] = {
            "callbacks": [
                each
                for each in ensure_tuple(given.get("callbacks"))
                if not isinstance(each, CheckpointSaver)
            ],
            "loggers": [recorder],
            "progress_bar": False,
            "log_to_console": False,
            "run_name": _RUN_NAME,
            "seed": self.seed if given.get("seed") is None else given["seed"],
            "autoresume": self.saves,
            "save_folder": os.path.join(self.folder, "checkpoints") if self.saves else None,
            "save_interval": self._is_due if self.stops else "1ba",
            "save_num_checkpoints_to_keep": 3,
        }
        left_out = ("logger", *(name for name in given if name.startswith("save_")))
        if self.batches_per_epoch is not None and given.get("train_dataloader") is not None:
            changed["train_subset_num_batches"] = self.batches_per_epoch
        return {k: v for k, v in given.items() if k not in left_out} | changed

    def _is_due(self, state: State, event: Event) -> bool:
        if event is Event.BATCH_CHECKPOINT:
            return f"{state.timestamp.batch.value}ba" in self.stops
        return event is Event.EPOCH_CHECKPOINT and f"{state.timestamp.epoch.value}ep" in self.stops


@contextmanager
def _arranged(trial: Trial, recorder: Recorder) -> Iterator[list[Trainer]]:
    """Let the first Trainer made inside be the trial's; a second one ends the trial."""
    own: Callable[..., None] = Trainer.__init__
    made: list[Trainer] = []

    @wraps(own)
    def initialize(self: Trainer, *args: Any, **keywords: Any) -> None:
        if made:
            raise TrialEnded
        made.append(self)
        own(self, *args, **trial.arguments(keywords, recorder))

    Trainer.__init__ = initialize
    try:
        yield made
    finally:
        Trainer.__init__ = own


def run_trial(program: Callable[[], Trainer | None], trial: Trial) -> bool:
    """Run a program once.

    Args:
        program: makes a Trainer and, unless it returns it, trains with it.
        trial: how.

    Returns:
        Whether the run came to its end; if not, another trial in the same folder goes on with it.

    Raises:
        ValueError: the program makes no Trainer.
    """
    reproducibility.seed_all(trial.seed)
    recorder = Recorder(trial.folder, comm.get_global_rank, trial.stops, trial.num_batches)
    try:
        return _run(program, trial, recorder)
    finally:
        # After an error nobody closes the Trainer, which would close it.
        recorder.post_close()


def _run(program: Callable[[], Trainer | None], trial: Trial, recorder: Recorder) -> bool:
    with _arranged(trial, recorder) as made:
        try:
            returned = program()
            if isinstance(returned, Trainer):
                returned.fit()
        except TrialEnded:
            pass
    if not made:
        raise ConfigError("the program has made no Trainer, so there is no run to compare")
    trainer = made[0]
    is_complete = not recorder.was_stopped
    if is_complete:
        recorder.finish(trainer.state)
    if not trainer.engine.is_closed:
        trainer.close()
    return is_complete
