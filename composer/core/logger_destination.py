"""The base of every place that logged values go to."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from composer.core.callback import Callback

if TYPE_CHECKING:
    import numpy as np
    import torch

    from composer.core.state import State

__all__ = ["LoggerDestination"]


class LoggerDestination(Callback):
    """Receives what is logged. Every method does nothing until overridden.

    A destination is a callback too: it may act on events. Metrics arrive as Python numbers, one
    call a step, when the :class:`~composer.core.logger.Logger` flushes.

    A destination that raises after it was initialised is reported and switched off; training goes
    on without it.

    Attributes:
        is_lasting: whether what it gets can be looked at after the run. Where it can, the Trainer
            also measures where the time of a step goes.
        is_essential: whether training must not go on without it, because it keeps checkpoints for
            example. Then its errors are raised.
    """

    is_lasting: ClassVar[bool] = True
    is_essential: ClassVar[bool] = False

    def log_hyperparameters(self, hyperparameters: dict[str, Any]) -> None:
        """Take configuration values, by name."""

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Take metric values, by name.

        Args:
            metrics: name -> Python number; what is not a single number arrives as it was logged.
            step: batches trained when the values were logged.
        """

    def log_table(
        self,
        columns: list[str],
        rows: list[list[Any]],
        name: str = "Table",
        step: int | None = None,
    ) -> None:
        """Take a table.

        Args:
            columns: column names.
            rows: one list of values per row, as long as ``columns``.
            name: the table's name.
            step: batches trained.
        """

    def log_traces(self, traces: dict[str, Any]) -> None:
        """Take which methods ran on an event: ``algorithm_traces/<Name>/<Event>`` -> 1 or 0."""

    def log_images(
        self,
        images: np.ndarray | torch.Tensor | Sequence[np.ndarray | torch.Tensor],
        name: str = "Images",
        channels_last: bool = False,
        step: int | None = None,
        masks: dict[str, Any] | None = None,
        mask_class_labels: dict[int, str] | None = None,
        use_table: bool = True,
    ) -> None:
        """Take images.

        Args:
            images: one image of shape (H, W), (C, H, W) or (H, W, C), or a batch or list of them.
            name: the images' name.
            channels_last: whether the last axis holds the channels.
            step: batches trained.
            masks: name -> segmentation mask(s) of the images' height and width.
            mask_class_labels: class index -> label, for the masks.
            use_table: whether a destination with tables shows images and masks in one.
        """

    def upload_file(
        self,
        state: State,
        remote_file_name: str,
        file_path: pathlib.Path,
        *,
        overwrite: bool,
    ) -> None:
        """Store a local file under ``remote_file_name``.

        Args:
            state: the run's state.
            remote_file_name: name at the destination.
            file_path: the local file.
            overwrite: whether an existing file of that name may be replaced.
        """

    def download_file(
        self,
        remote_file_name: str,
        destination: str,
        overwrite: bool = False,
        progress_bar: bool = True,
    ) -> None:
        """Fetch a file stored by :meth:`upload_file`.

        Args:
            remote_file_name: name at the destination.
            destination: local path to write.
            overwrite: whether an existing local file may be replaced.
            progress_bar: whether to show progress.

        Raises:
            NotImplementedError: this destination keeps no files.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot give files back")

    def interrupted(self) -> None:
        """Run where an error or Ctrl-C has ended ``fit``, ``eval`` or ``predict``.

        Everything logged before has arrived; training may go on later.
        """

    def can_upload_files(self) -> bool:
        """Return whether :meth:`upload_file` stores anything."""
        return False
