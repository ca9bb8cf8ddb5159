"""Writes what is logged, and what the program prints, to a text file.

Every line says what it is: ``[metric][batch=3]: loss/train/total: 0.2500``. What is logged before
the run has a name is kept until the file can be opened.
"""

from __future__ import annotations

import os
import threading
from typing import Any, TextIO

from composer.core.logger import Logger, format_log_data_value
from composer.core.logger_destination import LoggerDestination
from composer.core.naming import format_name_with_dist
from composer.core.state import State
from composer.core.time import TimeUnit
from composer.errors import ConfigError, StateError
from composer.loggers._capture import Capture
from composer.loggers._tables import table_to_json

__all__ = ["FileLogger"]


class FileLogger(LoggerDestination):
    """Writes metrics, hyperparameters, traces, tables and printed text to a file of this process.

    Args:
        filename: the file, with ``{run_name}``, ``{rank}`` and the other placeholders of names.
        remote_file_name: under which name the file is given to loggers that keep files, each time
            it is flushed; ``None`` keeps it here.
        capture_stdout: whether what is printed to stdout is written as well.
        capture_stderr: whether what is printed to stderr is written as well.
        buffer_size: bytes kept in memory before they are written; 1 writes line by line, 0 is
            the same, -1 leaves it to the system.
        log_traces: whether to write which methods ran.
        flush_interval: after how many batches, and after how many epochs, the file is forced to
            the disk and uploaded. That also happens where an epoch, an evaluation or the run
            begins or ends.
        overwrite: whether a file that exists may be replaced.

    Raises:
        ValueError: a ``flush_interval`` or ``buffer_size`` that makes no sense.
        FileExistsError: at the start of the run, where the file exists and may not be replaced.
    """

    def __init__(
        self,
        filename: str = "{run_name}/logs-rank{rank}.txt",
        remote_file_name: str | None = None,
        *,
        capture_stdout: bool = True,
        capture_stderr: bool = True,
        buffer_size: int = 1,
        log_traces: bool = True,
        flush_interval: int = 100,
        overwrite: bool = False,
    ) -> None:
        if flush_interval < 1:
            raise ConfigError(f"flush_interval={flush_interval!r} must be 1 or more")
        if buffer_size < -1:
            raise ConfigError(f"buffer_size={buffer_size!r} must be -1, 0 or more")
        self.filename_format = filename
        self.remote_file_name_format = remote_file_name
        self.buffer_size = buffer_size
        self.should_log_traces = log_traces
        self.flush_interval = flush_interval
        self.overwrite = overwrite
        self._wanted = [
            name
            for name, is_on in (("stdout", capture_stdout), ("stderr", capture_stderr))
            if is_on
        ]
        self._captures: list[Capture] = []
        # Text may come from any thread that prints.
        self._lock = threading.RLock()
        self._queue: list[str] = []
        self._file: TextIO | None = None
        self._is_closed = False
        self._run_name: str | None = None

    @property
    def filename(self) -> str:
        """The file's name.

        Raises:
            RuntimeError: the run has no name yet.
        """
        return self._filled(self.filename_format)

    @property
    def remote_file_name(self) -> str | None:
        """The name under which the file is uploaded; ``None`` if it is not.

        Raises:
            RuntimeError: the run has no name yet.
        """
        name = self.remote_file_name_format
        return None if name is None else self._filled(name)

    # What is logged.

    def log_hyperparameters(self, hyperparameters: dict[str, Any]) -> None:
        """Write hyperparameters."""
        self._write_values("[hyperparameter]: ", hyperparameters)

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Write values, with the batch count at which they were logged."""
        self._write_values(f"[metric][batch={step}]: ", metrics)

    def log_table(
        self,
        columns: list[str],
        rows: list[list[Any]],
        name: str = "Table",
        step: int | None = None,
    ) -> None:
        """Write a table as JSON."""
        del step
        self.write("[table]: ", f"{name}: {table_to_json(columns, rows)}\n")

    def log_traces(self, traces: dict[str, Any]) -> None:
        """Write which methods ran, unless that was switched off."""
        if self.should_log_traces:
            self._write_values("[trace]: ", traces)

    def write(self, prefix: str, s: str) -> None:
        """Write text, each line of it after ``prefix``.

        Args:
            prefix: what the lines are.
            s: one or more lines; a line break at the end is added where there is none.
        """
        self._write_text("".join(f"{prefix}{line}\n" for line in _lines(s)))

    # When.

    def init(self, state: State, logger: Logger) -> None:
        """Open the file, write what was kept for it, and begin to copy what is printed."""
        del logger
        self._run_name = state.run_name
        self._open()
        for name in self._wanted:
            self._captures.append(Capture(name, self.write))

    def epoch_start(self, state: State, logger: Logger) -> None:
        """Flush."""
        del state
        self._flush(logger)

    def batch_end(self, state: State, logger: Logger) -> None:
        """Flush where the interval has passed."""
        if state.timestamp.count(TimeUnit.BATCH) % self.flush_interval == 0:
            self._flush(logger)

    def epoch_end(self, state: State, logger: Logger) -> None:
        """Flush where the interval has passed."""
        if state.timestamp.count(TimeUnit.EPOCH) % self.flush_interval == 0:
            self._flush(logger)

    def eval_start(self, state: State, logger: Logger) -> None:
        """Flush."""
        del state
        self._flush(logger)

    def eval_standalone_end(self, state: State, logger: Logger) -> None:
        """Write what was logged, and flush."""
        del state
        logger.flush()
        self._flush(logger)

    def fit_end(self, state: State, logger: Logger) -> None:
        """Write what was logged, and flush."""
        del state
        logger.flush()
        self._flush(logger)

    def close(self, state: State, logger: Logger) -> None:
        """Give stdout and stderr back, flush for the last time and close the file."""
        del state
        for capture in self._captures:
            capture.close()
        self._captures.clear()
        try:
            self._flush(logger)
        finally:
            with self._lock:
                file, self._file, self._is_closed = self._file, None, True
                self._queue.clear()
            if file is not None:
                file.close()

    # How.

    def _filled(self, name: str) -> str:
        if self._run_name is None:
            raise StateError(
                f"{name!r} cannot be filled in yet: the run gets its name when a Trainer is made"
            )
        return format_name_with_dist(name, run_name=self._run_name)

    def _open(self) -> None:
        path = self.filename
        folder = os.path.dirname(path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        # Line by line is the least that a text file can do.
        buffering = self.buffer_size or 1
        try:
            file = open(  # noqa: SIM115 - open for the whole run
                path,
                "w" if self.overwrite else "x",
                buffering,
                encoding="utf-8",
                errors="backslashreplace",
            )
        except FileExistsError:
            raise FileExistsError(
                f"the log file {path!r} exists already. Delete it, pass overwrite=True, or give "
                f"FileLogger another filename than {self.filename_format!r}: {{run_name}} keeps "
                "runs apart, {rank} processes"
            ) from None
        with self._lock:
            self._file, queue = file, self._queue
            self._queue, self._is_closed = [], False
            file.write("".join(queue))

    def _write_values(self, prefix: str, values: dict[str, Any]) -> None:
        lines: list[str] = []
        for name, value in values.items():
            text = f"{name}: {format_log_data_value(value)}"
            lines.extend(f"{prefix}{line}\n" for line in _lines(text))
        # One write for all of a step.
        self._write_text("".join(lines))

    def _write_text(self, text: str) -> None:
        with self._lock:
            if self._file is not None:
                self._file.write(text)
            elif not self._is_closed:
                self._queue.append(text)

    def _flush(self, logger: Logger) -> None:
        with self._lock:
            if self._file is None:
                return
            self._file.flush()
            os.fsync(self._file.fileno())
        if self.remote_file_name_format is not None:
            logger.upload_file(self.remote_file_name_format, self.filename, overwrite=True)


def _lines(text: str) -> list[str]:
    """Return the lines of a text; at least one."""
    return text.removesuffix("\n").split("\n")
