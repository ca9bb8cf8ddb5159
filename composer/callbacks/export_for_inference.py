"""Export the model when training ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from composer.checkpoint.export import ExportFormat, Transform, export_with_logger
from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.core.weight_view import evaluation_weights
from composer.distributed import comm

__all__ = ["ExportForInferenceCallback"]


class ExportForInferenceCallback(Callback):
    """Exports the model at the end of training, checked by loading it again.

    Averaged weights are exported where a method keeps some. Rank 0 exports.

    Args:
        save_format: what to write; see :func:`composer.checkpoint.export.export_for_inference`.
        save_path: the file; ``{run_name}`` and counters are filled in by destinations that keep
            files.
        save_object_store: where to put the file, if not here.
        sample_input: a batch that the model is called with; by default the first batch trained on.
        transforms: functions that change the copy that is exported.
        input_names: names of the inputs in an ONNX file.
        output_names: names of the outputs in an ONNX file.

    Raises:
        ValueError: an unknown format.
    """

    def __init__(
        self,
        save_format: str | ExportFormat,
        save_path: str,
        save_object_store: Any = None,
        sample_input: Any = None,
        transforms: Sequence[Transform] | None = None,
        input_names: Sequence[str] | None = None,
        output_names: Sequence[str] | None = None,
    ) -> None:
        self.save_format = ExportFormat(save_format)
        self.save_path = save_path
        self.save_object_store = save_object_store
        self.sample_input = sample_input
        self.transforms = transforms
        self.input_names = input_names
        self.output_names = output_names

    def after_dataloader(self, state: State, logger: Logger) -> None:
        """Keep the first batch, unless a sample was given."""
        del logger
        if self.sample_input is None:
            self.sample_input = state.batch

    def fit_end(self, state: State, logger: Logger) -> None:
        """Export."""
        self.export_model(state, logger)

    def export_model(self, state: State, logger: Logger) -> None:
        """Export now.

        Raises:
            RuntimeError: the file gives other outputs than the model.
        """
        if comm.get_global_rank() != 0:
            return
        with evaluation_weights(state):
            export_with_logger(
                state.model,
                self.save_format,
                self.save_path,
                logger,
                self.save_object_store,
                (self.sample_input, {}),
                self.transforms,
                self.input_names,
                self.output_names,
            )
