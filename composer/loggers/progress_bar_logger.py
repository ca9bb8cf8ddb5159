"""Shows how far a run has come: a bar where lines can be drawn over, else now and then a line.

The run's position is read from the state when something is drawn, ten times a second at most.
Between two drawings a step costs one look at the clock, when its values arrive.
"""

from __future__ import annotations

import math
import time
from typing import Any, TextIO

from composer.core.logger import Logger
from composer.core.logger_destination import LoggerDestination
from composer.core.state import State
from composer.core.time import TimeUnit
from composer.distributed import comm
from composer.loggers._meters import Meter, MeterMaker, Reading, choose_maker
from composer.loggers._terminal import Screen, config_text, is_first_to_print_config

__all__ = ["ProgressBarLogger"]

_EPOCH_TITLE = "train epoch"
_TOTAL_LOSS = "loss/train/total"
_COUNTED_IN_RUN = (TimeUnit.BATCH, TimeUnit.SAMPLE, TimeUnit.TOKEN)


class ProgressBarLogger(LoggerDestination):
    """Shows position, rate, remaining time, losses and metrics.

    There is one bar per epoch where ``max_duration`` counts epochs, else one for the run, and one
    for each evaluation. Where the stream is no terminal, a line is printed after the first batch,
    then every ten seconds (every minute after the first ten), and at the end of each epoch and
    evaluation. The hyperparameters are printed once, as YAML. Only the first process of each
    machine shows anything.

    A resumed run goes on where it was: the position is that of ``state.timestamp``.

    Args:
        stream: ``'stderr'``, ``'stdout'`` or an open file.
        log_traces: whether to show which methods ran, too.

    Raises:
        ValueError: another name of a stream.
        TypeError: not a stream.
    """

    is_lasting = False

    def __init__(self, stream: str | TextIO = "stderr", log_traces: bool = False) -> None:
        self._screen = Screen(stream)
        self.stream = self._screen.stream
        self.should_log_traces = log_traces
        self._show_pbar = comm.get_local_rank() == 0
        self.config_stream = self.stream if self._show_pbar else None
        self._config: dict[str, Any] = {}
        self._values: dict[str, Any] = {}
        self._extra: dict[str, Any] = {}
        self._maker: MeterMaker | None = None
        self._train: Meter | None = None
        self._train_unit: TimeUnit | None = None
        self._inner: Meter | None = None
        self._inner_kind = "eval"
        # Of the loader in use when the inner bar was opened: an error puts training's back.
        self._inner_label: str | None = None
        self._inner_length: int | None = None
        self._state: State | None = None
        self._next_show_s = math.inf

    @property
    def show_pbar(self) -> bool:
        """Whether this process shows anything."""
        return self._show_pbar

    # What is logged.

    def log_hyperparameters(self, hyperparameters: dict[str, Any]) -> None:
        """Keep hyperparameters until the run starts, then print them once."""
        self._config.update(hyperparameters)

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Take values to show, and draw if it is time to."""
        del step
        self._values.update(metrics)
        if time.perf_counter() >= self._next_show_s:
            self._show()

    def log_traces(self, traces: dict[str, Any]) -> None:
        """Show which methods ran, where that was asked for."""
        if self.should_log_traces:
            self.log_to_pbar(traces)

    def log_to_pbar(self, data: dict[str, Any]) -> None:
        """Show values of your own from the next drawing on.

        Args:
            data: name -> value; ``None`` takes it away again.
        """
        for name, value in data.items():
            if value is None:
                self._extra.pop(name, None)
            else:
                self._extra[name] = value

    # Training.

    def init(self, state: State, logger: Logger) -> None:
        """Remember whose position to show."""
        del logger
        self._state = state
        self._show_pbar = comm.get_local_rank() == 0

    def fit_start(self, state: State, logger: Logger) -> None:
        """Print the hyperparameters and begin a bar."""
        self._begin(state, logger)
        self._open_train(state)

    def epoch_start(self, state: State, logger: Logger) -> None:
        """Begin a bar, where the one before has ended."""
        del logger
        self._open_train(state)

    def epoch_end(self, state: State, logger: Logger) -> None:
        """End an epoch's bar."""
        self._settle(logger)
        if self._train_unit is None:
            self._close_train(state, is_epoch_end=True)
        self._schedule()

    def fit_end(self, state: State, logger: Logger) -> None:
        """End the bar."""
        self._settle(logger)
        self._close_train(state)

    # Evaluation and prediction.

    def eval_standalone_start(self, state: State, logger: Logger) -> None:
        """Print the hyperparameters."""
        self._begin(state, logger)

    def eval_before_all(self, state: State, logger: Logger) -> None:
        """End the bar of training, where it is complete; later the active loader is another."""
        self._settle(logger)
        length = state.dataloader_len
        is_epoch_over = self._train_unit is None and state.timestamp.batch_in_epoch == length
        if is_epoch_over or state.is_training_done:
            self._close_train(state)
        self._schedule()

    def eval_start(self, state: State, logger: Logger) -> None:
        """Begin an evaluator's bar."""
        self._settle(logger)
        self._open_inner(state, "eval")

    def eval_batch_end(self, state: State, logger: Logger) -> None:
        """Draw if it is time to."""
        del state, logger
        if time.perf_counter() >= self._next_show_s:
            self._show()

    def eval_end(self, state: State, logger: Logger) -> None:
        """End an evaluator's bar, with its metrics."""
        self._settle(logger)
        self._close_inner(self._inner_reading(state, with_metrics=True))

    def predict_start(self, state: State, logger: Logger) -> None:
        """Print the hyperparameters and begin a bar."""
        self._begin(state, logger)
        self._open_inner(state, "predict")

    def predict_batch_end(self, state: State, logger: Logger) -> None:
        """Draw if it is time to."""
        del state, logger
        if time.perf_counter() >= self._next_show_s:
            self._show()

    def predict_end(self, state: State, logger: Logger) -> None:
        """End the bar."""
        del logger
        self._close_inner(self._inner_reading(state))

    def close(self, state: State, logger: Logger) -> None:
        """Leave the terminal as it should be."""
        del state, logger
        self.interrupted()
        self._show_pbar = False

    def interrupted(self) -> None:
        """End open bars as they are; the cursor stands at the start of a line again."""
        self._next_show_s = math.inf
        inner, train, state = self._inner, self._train, self._state
        self._inner = self._train = None
        if inner is not None:
            inner.close(None if state is None else self._inner_reading(state))
        if train is not None:
            # Within an evaluation the active loader may not be that of training.
            is_hidden = inner is not None
            train.close(None if state is None or is_hidden else self._train_reading(state))

    # How.

    def _begin(self, state: State, logger: Logger) -> None:
        self._state = state
        # What an error has left open.
        self.interrupted()
        self._values.clear()
        if not self._show_pbar:
            return
        if self._maker is None:
            self._maker = choose_maker(self._screen)
        if self._config and is_first_to_print_config(self, logger):
            self._screen.print(config_text(self._config))
        self._config = {}

    def _settle(self, logger: Logger) -> None:
        """Draw nothing until :meth:`_schedule`, and have every value that was logged."""
        self._next_show_s = math.inf
        if self._show_pbar:
            logger.flush()

    def _schedule(self) -> None:
        is_open = self._train is not None or self._inner is not None
        if self._maker is not None and is_open:
            self._next_show_s = self._maker.next_show_s()

    def _show(self) -> None:
        state = self._state
        if state is None:
            return
        if self._inner is not None:
            self._inner.show(self._inner_reading(state))
        elif self._train is not None:
            self._train.show(self._train_reading(state))
        self._schedule()

    def _open_train(self, state: State) -> None:
        if self._maker is None or not self._show_pbar or self._train is not None:
            return
        limit = state.max_duration
        has_run_bar = limit is not None and limit.unit in _COUNTED_IN_RUN
        self._train_unit = limit.unit if limit is not None and has_run_bar else None
        now = state.timestamp
        spent = now.epoch_wct if self._train_unit is None else now.total_wct
        self._train = self._maker.open(self._train_reading(state), spent.total_seconds())
        self._schedule()

    def _close_train(self, state: State, is_epoch_end: bool = False) -> None:
        if self._train is not None:
            self._train.close(self._train_reading(state, is_epoch_end))
            self._train = None

    def _open_inner(self, state: State, kind: str) -> None:
        self._close_inner(None)
        self._inner_kind = kind
        length = state.dataloader_len
        self._inner_label = state.dataloader_label
        self._inner_length = None if length is None else int(length)
        if self._maker is None or not self._show_pbar:
            return
        if self._train is not None:
            self._train.pause()
        self._inner = self._maker.open(self._inner_reading(state))
        self._schedule()

    def _close_inner(self, reading: Reading | None) -> None:
        self._next_show_s = math.inf
        if self._inner is not None:
            self._inner.close(reading)
            self._inner = None
            if self._train is not None:
                self._train.resume()
        self._schedule()

    def _train_reading(self, state: State, is_epoch_end: bool = False) -> Reading:
        values = self._selected("loss/", "metrics/train/")
        limit, unit = state.max_duration, self._train_unit
        if unit is not None:
            is_same = limit is not None and limit.unit is unit
            total = int(limit.value) if limit is not None and is_same else None
            now = state.timestamp
            # Right at an epoch's end the next has not begun.
            num_begun = int(now.epoch) + (now.epoch == 0 or now.batch_in_epoch > 0)
            return Reading(
                f"{_EPOCH_TITLE} {num_begun}", unit.value, now.count(unit), total, values
            )
        # At an epoch's end the timestamp stands at the start of the next.
        now = state.previous_timestamp if is_epoch_end else None
        now = now or state.timestamp
        epochs = f"/{limit.value}" if limit is not None and limit.unit is TimeUnit.EPOCH else ""
        length = state.dataloader_len
        return Reading(
            f"{_EPOCH_TITLE} {int(now.epoch) + 1}{epochs}",
            TimeUnit.BATCH.value,
            int(now.batch_in_epoch),
            None if length is None else int(length),
            values,
        )

    def _inner_reading(self, state: State, with_metrics: bool = False) -> Reading:
        kind, label = self._inner_kind, self._inner_label
        now = state.predict_timestamp if kind == "predict" else state.eval_timestamp
        return Reading(
            kind if label in (None, kind) else f"{kind} {label}",
            TimeUnit.BATCH.value,
            int(now.batch),
            self._inner_length,
            self._selected(f"metrics/{label}/") if with_metrics else {},
        )

    def _selected(self, *prefixes: str) -> dict[str, str]:
        """Return the texts of the latest values whose names begin so, by their short names."""
        shown = {
            _short(name): f"{value:.4g}"
            for name, value in self._values.items()
            if name.startswith(prefixes) and isinstance(value, int | float)
        }
        shown.update((_text(name), _text(value)) for name, value in self._extra.items())
        return shown


def _short(name: str) -> str:
    if name == _TOTAL_LOSS:
        return "loss"
    kind, _, rest = name.partition("/")
    short = _text(rest.partition("/")[2] or rest)
    return f"loss/{short}" if kind == "loss" else short


def _text(value: Any) -> str:
    """Return a value as a short text without line breaks."""
    return f"{value:.4g}" if isinstance(value, float) else " ".join(str(value).split())
