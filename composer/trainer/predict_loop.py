"""Prediction: the model's outputs for each batch of a loader."""

from __future__ import annotations

from itertools import islice
from typing import Any

import torch

from composer.core.data_spec import DataSpec
from composer.core.engine import Engine
from composer.core.event import Event
from composer.core.state import State
from composer.core.time import Timestamp
from composer.core.weight_view import evaluation_weights
from composer.devices.device_cpu import DeviceCPU
from composer.trainer.batch_source import BatchSource
from composer.trainer.precision_policy import PrecisionPolicy
from composer.utils.model_helpers import model_eval_mode

__all__ = ["PredictLoop"]


class PredictLoop:
    """Runs the model over a loader.

    Args:
        state: the run's state.
        engine: runs the events.
        precision: autocast.
    """

    def __init__(self, *, state: State, engine: Engine, precision: PrecisionPolicy) -> None:
        self._state = state
        self._engine = engine
        self._precision = precision

    def run(self, data_spec: DataSpec, num_batches: int, return_outputs: bool) -> list[Any]:
        """Return the outputs of each batch, on the CPU.

        Args:
            data_spec: the loader.
            num_batches: how many batches; -1 for all.
            return_outputs: whether to keep the outputs; callbacks see them in any case.
        """
        state, run_event = self._state, self._engine.run_event
        loader, label, length = state.dataloader, state.dataloader_label, state.dataloader_len
        kept = state.batch, state.outputs, state.loss
        state.set_dataloader(data_spec.dataloader, "predict", num_batches)
        state.predict_timestamp = Timestamp()
        source = BatchSource(data_spec, state.device, on_tokens=False)
        returned: list[Any] = []
        try:
            with model_eval_mode(state.model), torch.no_grad(), evaluation_weights(state):
                run_event(Event.PREDICT_START)
                limit = None if state.dataloader_len is None else int(state.dataloader_len)
                for batch in islice(iter(data_spec.dataloader), limit):
                    outputs = self._run_batch(data_spec, source, batch)
                    if return_outputs:
                        returned.append(DeviceCPU().batch_to_device(outputs))
                run_event(Event.PREDICT_END)
        finally:
            state.batch, state.outputs, state.loss = kept
            state.set_dataloader(loader, label, -1 if length is None else length)
        return returned

    def _run_batch(self, data_spec: DataSpec, source: BatchSource, batch: Any) -> Any:
        state, run_event = self._state, self._engine.run_event
        if data_spec.batch_transforms is not None:
            batch = data_spec.batch_transforms(batch)
        samples = data_spec.get_num_samples_in_batch(batch)
        tokens = data_spec.get_num_tokens_in_batch(batch)
        state.batch = source.prepare(batch)
        run_event(Event.PREDICT_BATCH_START)
        run_event(Event.PREDICT_BEFORE_FORWARD)
        with self._precision.autocast():
            state.outputs = state.model(state.batch)
        run_event(Event.PREDICT_AFTER_FORWARD)
        state.predict_timestamp = state.predict_timestamp.to_next_batch(samples, tokens)
        run_event(Event.PREDICT_BATCH_END)
        return state.outputs
