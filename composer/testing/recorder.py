"""Writes down what happens in a run, batch by batch, in a form two runs can be compared by."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from typing import IO, Any

from composer.checkpoint import monolith
from composer.checkpoint.plain import as_plain
from composer.checkpoint.save_run import collect
from composer.core.logger import Logger
from composer.core.logger_destination import LoggerDestination
from composer.core.state import State
from composer.core.state_io import optimizers_to_dict
from composer.core.weight_view import evaluation_weights
from composer.distributed.reproducibility import get_own_rng_state
from composer.testing.digest import digest

__all__ = ["Recorder", "TrialEnded", "final_state_path", "records_path"]


class TrialEnded(BaseException):
    """Ends a run from within, past handlers of errors: it is none."""


def records_path(folder: str, rank: int) -> str:
    """Return where the lines of a rank are."""
    return os.path.join(folder, f"records-rank{rank}.jsonl")


def final_state_path(folder: str, rank: int) -> str:
    """Return where the state at the end of the run is."""
    return os.path.join(folder, f"final-rank{rank}.pt")


class Recorder(LoggerDestination):
    """Takes the place of a run's loggers.

    Each line is written at once, so that a run that is killed has told everything so far.

    Args:
        folder: where to write.
        rank: tells the rank; asked once there are ranks.
        stops: where to end this life of the run, such as ``'7ba'`` or ``'2ep'``; only those that
            lie ahead when it begins count.
        num_batches: end the run after so many batches.
    """

    def __init__(
        self, folder: str, rank: Callable[[], int], stops: Sequence[str], num_batches: int | None
    ) -> None:
        self.was_stopped = False
        self._folder = folder
        self._rank = rank
        self._stops = stops
        self._num_batches = num_batches
        self._file: IO[str] | None = None
        self._data = ""

    def fit_start(self, state: State, logger: Logger) -> None:
        """Say where this life of the run begins."""
        del logger
        now = state.timestamp
        seconds = time.monotonic()
        self._write(kind="start", batch=now.batch.value, epoch=now.epoch.value, seconds=seconds)
        self._stops = [stop for stop in self._stops if _is_ahead(stop, state)]

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Write down values; those that are no single numbers are left out."""
        values = {k: v for k, v in metrics.items() if isinstance(v, int | float)}
        exact = {name: float(value).hex() for name, value in values.items()}
        self._write(kind="metrics", batch=step, values=exact)

    def epoch_start(self, state: State, logger: Logger) -> None:
        """End here if a stop between epochs is reached."""
        del logger
        self._stop_at(f"{state.timestamp.epoch.value}ep")

    def before_dataloader(self, state: State, logger: Logger) -> None:
        """End here if it is time."""
        del logger
        batch = state.timestamp.batch.value
        if self._num_batches is not None and batch >= self._num_batches:
            raise TrialEnded
        self._stop_at(f"{batch}ba")

    def after_dataloader(self, state: State, logger: Logger) -> None:
        """Note what is trained on, as methods have left it."""
        del logger
        self._data = digest(state.batch)

    def batch_end(self, state: State, logger: Logger) -> None:
        """Write down a batch and what it made of the run."""
        del logger
        random = get_own_rng_state()
        self._write(
            kind="batch",
            batch=state.timestamp.batch.value,
            data=self._data,
            random={name: digest(value) for name, value in random.items()},
            weights=digest(state.model.state_dict()),
            optimizer=digest(optimizers_to_dict(state)),
        )

    def finish(self, state: State) -> None:
        """Write down the state in which the run has ended."""
        with evaluation_weights(state):
            contents = as_plain(collect(state))
            monolith.write(contents, final_state_path(self._folder, self._rank()))
        self._write(kind="end", batch=state.timestamp.batch.value, seconds=time.monotonic())

    def post_close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _stop_at(self, now: str) -> None:
        if now in self._stops:
            self.was_stopped = True
            raise TrialEnded

    def _write(self, **line: Any) -> None:
        if self._file is None:
            os.makedirs(self._folder, exist_ok=True)
            path = records_path(self._folder, self._rank())
            self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - open for the whole run
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def _is_ahead(stop: str, state: State) -> bool:
    if stop.endswith("ep"):
        return int(stop[:-2]) > state.timestamp.epoch.value
    return int(stop[:-2]) > state.timestamp.batch.value
