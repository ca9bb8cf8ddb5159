"""Prints metrics as lines, at intervals.

A line is due at the end of a batch or an epoch, when values of that step may still be on their way
from the device. Its heading is written down then; it is printed when they have arrived.
"""

from __future__ import annotations

from collections import deque
from typing import Any, TextIO

from composer.core.interval import parse_interval
from composer.core.logger import Logger, format_log_data_value
from composer.core.logger_destination import LoggerDestination
from composer.core.state import State
from composer.core.time import Time, TimeUnit
from composer.distributed import comm
from composer.errors import ConfigError
from composer.loggers._tables import table_to_json
from composer.loggers._terminal import Screen, config_text, is_first_to_print_config

__all__ = ["NUM_EVAL_LOGGING_EVENTS", "ConsoleLogger"]

# At how many batches of an evaluation its progress is printed, the first and the last included.
NUM_EVAL_LOGGING_EVENTS = 11

# The training loop logs it first thing in a batch.
_FIRST_OF_BATCH = "time/batch"
_COUNTED_IN_RUN = (TimeUnit.BATCH, TimeUnit.SAMPLE, TimeUnit.TOKEN)


class ConsoleLogger(LoggerDestination):
    """Prints what was logged since the last time, every ``log_interval``.

    The first batch or epoch is printed as well, and at the end of training what was not yet. Of an
    evaluation, progress is printed about ten times and its metrics at the end. Only the first
    process of each machine prints.

    Args:
        log_interval: how often, in epochs (``'1ep'``) or batches (``'10ba'``); a bare number counts
            epochs.
        stream: ``'stderr'``, ``'stdout'`` or an open file.
        log_traces: whether to print which methods ran, too.

    Raises:
        ValueError: an interval in another unit or not above 0, or another name of a stream.
        TypeError: not an interval, or not a stream.
    """

    is_lasting = False

    def __init__(
        self,
        log_interval: int | str | Time[int] = "1ba",
        stream: str | TextIO = "stderr",
        log_traces: bool = False,
    ) -> None:
        self.log_interval = parse_interval(
            log_interval, "log_interval", units=(TimeUnit.EPOCH, TimeUnit.BATCH)
        )
        if self.log_interval.value <= 0:
            raise ConfigError(
                f"log_interval={log_interval!r} must be above 0; leave the ConsoleLogger out to "
                "print nothing"
            )
        self._screen = Screen(stream)
        self.stream = self._screen.stream
        self.should_log_traces = log_traces
        self.logged_metrics: dict[str, Any] = {}
        self._train_metrics: dict[str, Any] = {}
        self.hparams: dict[str, Any] = {}
        self._prints = comm.get_local_rank() == 0
        self.config_stream = self.stream if self._prints else None
        self._every = int(self.log_interval.value)
        self._by_batch = self.log_interval.unit is TimeUnit.BATCH
        # (batches trained, heading) of lines that are due and wait for their values.
        self._due: deque[tuple[int, str]] = deque()
        self._is_training = False
        self._last_trained = -1
        self._num_printed = -1
        self._eval_points: frozenset[int] = frozenset()

    # What is logged.

    def log_hyperparameters(self, hyperparameters: dict[str, Any]) -> None:
        """Keep hyperparameters until the run starts, then print them once."""
        self.hparams.update(hyperparameters)

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Keep values for the next line; print lines that have all of theirs."""
        if self._due and step is not None:
            is_batch = _FIRST_OF_BATCH in metrics
            self._print_complete(step, is_batch)
            if is_batch:
                self._last_trained = step
        self.logged_metrics.update(metrics)

    def log_table(
        self,
        columns: list[str],
        rows: list[list[Any]],
        name: str = "Table",
        step: int | None = None,
    ) -> None:
        """Print a table as JSON."""
        del step
        self._print(f"[table]: {name}: {table_to_json(columns, rows)}")

    def log_traces(self, traces: dict[str, Any]) -> None:
        """Print which methods ran, where that was asked for."""
        if self.should_log_traces:
            for name, value in traces.items():
                self._print(f"[trace]: {name}: {format_log_data_value(value)}")

    # Training.

    def init(self, state: State, logger: Logger) -> None:
        """Begin, also where an earlier run has closed this logger."""
        del state, logger
        self._prints = comm.get_local_rank() == 0

    def fit_start(self, state: State, logger: Logger) -> None:
        """Print the hyperparameters."""
        del state
        self._due.clear()
        self._last_trained = self._num_printed = -1
        self._is_training = True
        self.logged_metrics.clear()
        self._print_config(logger)

    def batch_end(self, state: State, logger: Logger) -> None:
        """Note that a line is due."""
        del logger
        if self._by_batch and self._is_due(state.timestamp.count(TimeUnit.BATCH)):
            self._add_line(state)

    def batch_checkpoint(self, state: State, logger: Logger) -> None:
        """Print a line that is due, where nothing of it is still on the device."""
        del state, logger
        # A batch's values have the step of before it; with them comes what its end logged.
        while self._due and self._last_trained >= self._due[0][0] - 1:
            self._print_next()

    def epoch_end(self, state: State, logger: Logger) -> None:
        """Print the line of an epoch."""
        logger.flush()
        if not self._by_batch and self._is_due(state.timestamp.count(TimeUnit.EPOCH)):
            self._add_line(state)
        self._print_all()

    def fit_end(self, state: State, logger: Logger) -> None:
        """Print what has not been printed yet."""
        logger.flush()
        self._print_last(state)
        self._is_training = False
        self.logged_metrics.clear()

    # Evaluation and prediction.

    def eval_standalone_start(self, state: State, logger: Logger) -> None:
        """Print the hyperparameters."""
        del state
        self._print_config(logger)

    def predict_start(self, state: State, logger: Logger) -> None:
        """Print the hyperparameters."""
        del state
        self._print_config(logger)

    def eval_before_all(self, state: State, logger: Logger) -> None:
        """Print the last line of training before the last evaluation."""
        logger.flush()
        if state.is_training_done:
            self._print_last(state)

    def eval_start(self, state: State, logger: Logger) -> None:
        """Print what is due of training, and choose when to print progress."""
        logger.flush()
        self._print_all()
        self._train_metrics, self.logged_metrics = self.logged_metrics, {}
        length = state.dataloader_len
        # The last one comes with the metrics.
        self._eval_points = _spread(length.value) - {length.value} if length else frozenset()

    def eval_batch_end(self, state: State, logger: Logger) -> None:
        """Print progress, about ten times in an evaluation."""
        del logger
        if state.eval_timestamp.count(TimeUnit.BATCH) in self._eval_points:
            self._print(_eval_heading(state))

    def eval_end(self, state: State, logger: Logger) -> None:
        """Print an evaluator's metrics."""
        logger.flush()
        self.log_to_console(self.logged_metrics, state, prefix="Eval ", is_train=False)
        self.logged_metrics, self._train_metrics = self._train_metrics, {}

    def interrupted(self) -> None:
        """Print what is due."""
        self._print_all()

    def close(self, state: State, logger: Logger) -> None:
        """Print what is due, then nothing more."""
        del state, logger
        self._print_all()
        self._prints = False

    # How.

    def log_to_console(
        self, data: dict[str, Any], state: State, prefix: str = "", is_train: bool = True
    ) -> None:
        """Print values under a heading that says where the run stands.

        Args:
            data: name -> value.
            state: the run's state.
            prefix: put before each name.
            is_train: whether the heading is that of training, else of evaluation.
        """
        self._print_lines(_train_heading(state) if is_train else _eval_heading(state), data, prefix)

    def _is_due(self, count: int) -> bool:
        return count == 1 or count % self._every == 0

    def _add_line(self, state: State) -> None:
        self._due.append((state.timestamp.count(TimeUnit.BATCH), _train_heading(state)))

    def _print_complete(self, step: int, is_new_batch: bool) -> None:
        """Print lines to which values of ``step``, about to be taken, do not belong.

        What callbacks log at the end of a batch has the step of the next one, and still belongs.
        """
        while self._due and (step > self._due[0][0] or (is_new_batch and step == self._due[0][0])):
            self._print_next()

    def _print_all(self) -> None:
        while self._due:
            self._print_next()

    def _print_last(self, state: State) -> None:
        """Print what is due, and of the last batch what was logged though no line is due."""
        self._print_all()
        num_batches = state.timestamp.count(TimeUnit.BATCH)
        if self._is_training and self._num_printed != num_batches:
            self._add_line(state)
            self._print_all()

    def _print_next(self) -> None:
        self._num_printed, heading = self._due.popleft()
        self._print_lines(heading, self.logged_metrics, "Train ")
        self.logged_metrics = {}

    def _print_config(self, logger: Logger) -> None:
        if self.hparams and is_first_to_print_config(self, logger):
            self._print(config_text(self.hparams))
        self.hparams = {}

    def _print_lines(self, heading: str, data: dict[str, Any], prefix: str) -> None:
        lines = [f"\t {prefix}{name}: {format_log_data_value(each)}" for name, each in data.items()]
        self._print("\n".join([f"{heading}:", *lines]))

    def _print(self, text: str) -> None:
        if self._prints:
            self._screen.print(text)


def _train_heading(state: State) -> str:
    limit = state.max_duration
    if limit is not None and limit.unit in _COUNTED_IN_RUN:
        return f"[{limit.unit.name.lower()}={state.timestamp.count(limit.unit)}/{limit.value}]"
    now, before = state.timestamp, state.previous_timestamp
    # At an epoch's end the timestamp stands at the start of the next.
    if now.batch_in_epoch == 0 and now.epoch > 0 and before is not None:
        now = before
    length = state.dataloader_len
    total = "" if length is None else f"/{length.value}"
    return f"[epoch={now.epoch.value + 1}][batch={now.batch_in_epoch.value}{total}]"


def _eval_heading(state: State) -> str:
    length = state.dataloader_len
    total = "" if length is None else f"/{length.value}"
    done = state.eval_timestamp.batch.value
    return f"[Eval batch={done}{total}] Eval on {state.dataloader_label} data"


def _spread(length: int) -> frozenset[int]:
    """Return the batches, counted from 1, after which progress is printed."""
    last = NUM_EVAL_LOGGING_EVENTS - 1
    return frozenset(1 + round(i * (length - 1) / last) for i in range(last + 1))
