"""Logs to Comet."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from composer.core.logger import Logger
from composer.core.logger_destination import LoggerDestination
from composer.core.state import State
from composer.distributed import comm
from composer.errors import DataError
from composer.loggers._images import to_arrays_and_masks, to_grey
from composer.loggers._plain import number, plain
from composer.loggers._tables import check_is_even
from composer.utils.import_helpers import import_extra

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["CometMLLogger"]

log = logging.getLogger(__name__)


class CometMLLogger(LoggerDestination):
    """Logs metrics, hyperparameters, images with masks and tables to Comet.

    The experiment is made when this is constructed. Comet's client sends in a thread of its own.

    Args:
        workspace: the workspace.
        project_name: the project.
        log_code: whether the program's code is kept.
        log_graph: whether the model's graph is kept.
        name: the experiment's name; the run's name by default.
        rank_zero_only: whether only rank 0 logs. If not, each rank has an experiment of its own.
        exp_kwargs: more arguments of ``comet_ml.Experiment``. With an ``offline_directory`` the
            experiment is written there, without a server; ``comet upload`` sends it later.

    Raises:
        ImportError: ``comet_ml`` is not installed.
    """

    def __init__(
        self,
        workspace: str | None = None,
        project_name: str | None = None,
        log_code: bool = False,
        log_graph: bool = False,
        name: str | None = None,
        rank_zero_only: bool = True,
        exp_kwargs: dict[str, Any] | None = None,
    ) -> None:
        comet_ml = import_extra("comet_ml", "comet", "comet-ml")
        self.name = name
        self.rank_zero_only = rank_zero_only
        self.experiment: Any = None
        self._enabled = not rank_zero_only or comm.get_global_rank() == 0
        self._state: State | None = None
        self._refused: set[str] = set()
        if self._enabled:
            given = {"log_code": log_code, "log_graph": log_graph, **(exp_kwargs or {})}
            if workspace is not None:
                given["workspace"] = workspace
            if project_name is not None:
                given["project_name"] = project_name
            is_offline = given.get("offline_directory") is not None
            kind = comet_ml.OfflineExperiment if is_offline else comet_ml.Experiment
            self.experiment = kind(**given)

    # What is logged.

    def log_hyperparameters(self, hyperparameters: dict[str, Any]) -> None:
        """Log hyperparameters as parameters. A value may change."""
        if self._enabled:
            self.experiment.log_parameters(plain(hyperparameters))

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Log numbers as metrics, other things by their latest value as text."""
        if not self._enabled:
            return
        numbers: dict[str, float] = {}
        for name, value in metrics.items():
            scalar = number(value)
            if scalar is None:
                self.experiment.log_other(name, str(plain(value)))
            else:
                numbers[name] = scalar
        if numbers:
            self.experiment.log_metrics(numbers, step=step)

    def log_table(
        self,
        columns: list[str],
        rows: list[list[Any]],
        name: str = "Table",
        step: int | None = None,
    ) -> None:
        """Log a table as a file ``<name>-<step>.csv``. One with uneven rows is refused."""
        if not self._enabled:
            return
        try:
            check_is_even(columns, rows)
        except DataError as error:
            log.warning("the table %r is not logged to Comet: %s", name, error)
            return
        cells = [[plain(cell) for cell in row] for row in rows]
        self.experiment.log_table(f"{name}-{step}.csv", tabular_data=cells, headers=list(columns))

    def log_images(
        self,
        images: np.ndarray | torch.Tensor | Sequence[np.ndarray | torch.Tensor],
        name: str = "Image",
        channels_last: bool = False,
        step: int | None = None,
        masks: dict[str, Any] | None = None,
        mask_class_labels: dict[int, str] | None = None,
        use_table: bool = True,
    ) -> None:
        """Log images, and their masks as images beside them.

        Images of a wrong shape are refused, with a warning.
        """
        del mask_class_labels, use_table
        if not self._enabled:
            return
        try:
            arrays, drawn = to_arrays_and_masks(images, channels_last, masks)
        except DataError as error:
            log.warning("the images %r are not logged to Comet: %s", name, error)
            return
        for index, array in enumerate(arrays):
            shown = array[..., 0] if array.shape[-1] == 1 else array
            self.experiment.log_image(shown, name=f"{name}_{index}", step=step)
            for key, each in drawn.items():
                label = f"{name}_{index}_{key}"
                self.experiment.log_image(to_grey(each[index]), name=label, step=step)

    # When.

    def init(self, state: State, logger: Logger) -> None:
        """Name the experiment."""
        del logger
        self._state = state
        if self._enabled:
            name = self.name or state.run_name
            rank = "" if self.rank_zero_only else f"-rank{comm.get_global_rank()}"
            self.experiment.set_name(f"{name}{rank}")
            self.experiment.log_other("Created from", "Composer")

    def post_close(self) -> None:
        """End the experiment."""
        self._enabled = False
        if self.experiment is not None:
            self.experiment.end()
