"""Writes event files for TensorBoard."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from composer.core.logger import Logger
from composer.core.logger_destination import LoggerDestination
from composer.core.state import State
from composer.core.time import TimeUnit
from composer.distributed import comm
from composer.errors import ConfigError, DataError
from composer.loggers._images import to_arrays_and_masks, to_grey
from composer.loggers._plain import number, plain
from composer.loggers._tables import table_to_markdown
from composer.utils.import_helpers import import_extra

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["TensorboardLogger"]

log = logging.getLogger(__name__)

DEFAULT_FOLDER = "tensorboard_logs"
# Names with one of these words in them are results that the table of hyperparameters compares.
_RESULTS = ("metric", "loss")
_TABLE_TYPES = (bool, int, float, str)


class TensorboardLogger(LoggerDestination):
    """Writes metrics, hyperparameters, images and tables as events of TensorBoard.

    Look at them with ``tensorboard --logdir tensorboard_logs``. The event files are also given to
    loggers that keep files.

    Args:
        log_dir: the folder with the runs, ``tensorboard_logs`` by default; each run has a folder of
            its name in it.
        flush_interval: after how many batches events are forced to the disk. That also happens
            where an epoch, an evaluation or the run ends.
        rank_zero_only: whether only rank 0 writes. If not, each rank has a folder of its own.

    Raises:
        ImportError: ``tensorboard`` is not installed.
        ValueError: a ``flush_interval`` below 1.
    """

    def __init__(
        self, log_dir: str | None = None, flush_interval: int = 100, rank_zero_only: bool = True
    ) -> None:
        import_extra("tensorboard", "tensorboard")
        if flush_interval < 1:
            raise ConfigError(f"flush_interval={flush_interval!r} must be 1 or more")
        self.log_dir = log_dir
        self.flush_interval = flush_interval
        self.rank_zero_only = rank_zero_only
        self.writer: Any = None
        self.run_name: str | None = None
        self.hyperparameters: dict[str, Any] = {}
        self._enabled = not rank_zero_only or comm.get_global_rank() == 0
        self._results: set[str] = set()
        self._early: list[tuple[dict[str, Any], int | None]] = []
        self._has_hparams = False
        self._is_closed = False
        self._refused: set[str] = set()

    # What is logged.

    def log_hyperparameters(self, hyperparameters: dict[str, Any]) -> None:
        """Keep hyperparameters for the table that compares runs."""
        self.hyperparameters.update({str(name): v for name, v in hyperparameters.items()})

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Write values: numbers as scalars, arrays as histograms, other things as text."""
        if self.writer is None:
            if self._enabled and not self._is_closed:
                self._early.append((metrics, step))
            return
        for name, value in metrics.items():
            scalar = number(value)
            if scalar is None:
                self._write_other(name, value, step)
            else:
                self.writer.add_scalar(name, scalar, step)
                if any(word in name for word in _RESULTS):
                    self._results.add(name)

    def log_table(
        self,
        columns: list[str],
        rows: list[list[Any]],
        name: str = "Table",
        step: int | None = None,
    ) -> None:
        """Write a table as text. One with uneven rows is refused, with a warning."""
        if self.writer is None:
            return
        try:
            self.writer.add_text(name, table_to_markdown(columns, rows), step)
        except DataError as error:
            log.warning("the table %r is not written for TensorBoard: %s", name, error)

    def log_traces(self, traces: dict[str, Any]) -> None:
        """Write nothing: which methods ran is no curve."""

    def log_images(
        self,
        images: np.ndarray | torch.Tensor | Sequence[np.ndarray | torch.Tensor],
        name: str = "Images",
        channels_last: bool = False,
        step: int | None = None,
        masks: dict[str, Any] | None = None,
        mask_class_labels: dict[int, str] | None = None,
        use_table: bool = False,
    ) -> None:
        """Write images, and their masks as images in grey.

        Images of a wrong shape are refused, with a warning.
        """
        del mask_class_labels, use_table
        if self.writer is None:
            return
        try:
            arrays, drawn = to_arrays_and_masks(images, channels_last, masks)
        except DataError as error:
            log.warning("the images %r are not written for TensorBoard: %s", name, error)
            return
        for index, array in enumerate(arrays):
            tag = f"{name}/{index}" if len(arrays) > 1 else name
            self.writer.add_image(tag, array, step, dataformats="HWC")
            for key, each in drawn.items():
                grey = to_grey(each[index])
                self.writer.add_image(f"{tag}/{key}", grey, step, dataformats="HW")

    # When.

    def init(self, state: State, logger: Logger) -> None:
        """Open an event file in the run's folder."""
        del logger
        self.run_name = state.run_name
        self._is_closed = False
        if not self._enabled:
            return
        from torch.utils.tensorboard.writer import SummaryWriter

        folder = pathlib.Path(self.log_dir or DEFAULT_FOLDER) / state.run_name
        if not self.rank_zero_only:
            folder /= f"rank{comm.get_global_rank()}"
        self.writer = SummaryWriter(str(folder))
        early, self._early = self._early, []
        for metrics, step in early:
            self.log_metrics(metrics, step)

    def batch_end(self, state: State, logger: Logger) -> None:
        """Flush where the interval has passed."""
        if state.timestamp.count(TimeUnit.BATCH) % self.flush_interval == 0:
            self._flush(logger)

    def epoch_end(self, state: State, logger: Logger) -> None:
        """Flush."""
        del state
        self._flush(logger)

    def eval_end(self, state: State, logger: Logger) -> None:
        """Flush."""
        del state
        self._flush(logger)

    def eval_after_all(self, state: State, logger: Logger) -> None:
        """Write the hyperparameters, now that the names of all metrics are known."""
        del state
        self._write_hyperparameters(logger)

    def eval_standalone_end(self, state: State, logger: Logger) -> None:
        """Write the hyperparameters, and flush."""
        del state
        self._write_hyperparameters(logger)
        self._flush(logger)

    def fit_end(self, state: State, logger: Logger) -> None:
        """Write the hyperparameters if there was no evaluation, and flush."""
        del state
        self._write_hyperparameters(logger)
        self._flush(logger)

    def close(self, state: State, logger: Logger) -> None:
        """Flush for the last time and close the file."""
        del state
        self._flush(logger)
        self._is_closed = True
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    # How.

    def _write_other(self, name: str, value: Any, step: int | None) -> None:
        if not (hasattr(value, "shape") and hasattr(value, "dtype")):
            self.writer.add_text(name, str(plain(value)), step)
            return
        try:
            self.writer.add_histogram(name, value, step)
        except (TypeError, ValueError) as error:
            if name not in self._refused:
                self._refused.add(name)
                log.warning("%r is not written for TensorBoard: %s", name, error)

    def _write_hyperparameters(self, logger: Logger) -> None:
        """Write what the table of hyperparameters shows, once: TensorBoard reads the first only."""
        logger.flush()
        if self.writer is None or self._has_hparams or not self._results:
            return
        from torch.utils.tensorboard.summary import hparams

        self._has_hparams = True
        values = {
            name: value if isinstance(value, _TABLE_TYPES) else str(plain(value))
            for name, value in self.hyperparameters.items()
        }
        for summary in hparams(values, dict.fromkeys(sorted(self._results), 0.0)):
            self.writer.file_writer.add_summary(summary)

    def _flush(self, logger: Logger) -> None:
        if self.writer is None:
            return
        logger.flush()
        self.writer.flush()
        if logger.has_file_upload_destination():
            folder = pathlib.Path(self.writer.log_dir)
            for file in sorted(folder.glob("events.out.tfevents.*")):
                logger.upload_file(
                    f"{DEFAULT_FOLDER}/{{run_name}}/{file.name}", file, overwrite=True
                )
