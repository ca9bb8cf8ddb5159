"""The training loop: iterations of epochs of batches.

Everything that costs time is a part of its own; this file only says in which order things happen
(see :class:`composer.core.event.Event` for the same in pseudo-code).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch

from composer.core.engine import Engine
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.distributed import comm
from composer.trainer.batch_counts import BatchCounts
from composer.trainer.batch_source import BatchSource
from composer.trainer.data_position import DataloaderPosition
from composer.trainer.eval_loop import EvalLoop
from composer.trainer.preemption import Interruption
from composer.trainer.schedule import Schedules
from composer.trainer.train_metrics import TrainMetrics
from composer.trainer.train_step import TrainStep

__all__ = ["FitLoop"]


class FitLoop:
    """Trains until ``state.max_duration``.

    Args:
        state: the run's state.
        engine: runs the events.
        logger: where metrics go.
        source: the batches.
        position: where in the data to go on.
        step: trains one batch.
        counts: samples, tokens and time of a batch.
        schedules: learning rates.
        metrics: training metrics.
        evaluation: runs evaluators.
        interruption: says whether the user asked to stop.
    """

    def __init__(
        self,
        *,
        state: State,
        engine: Engine,
        logger: Logger,
        source: BatchSource,
        position: DataloaderPosition,
        step: TrainStep,
        counts: BatchCounts,
        schedules: Schedules,
        metrics: TrainMetrics,
        evaluation: EvalLoop,
        interruption: Interruption,
    ) -> None:
        self._state = state
        self._run_event = engine.run_event
        self._logger = logger
        self._source = source
        self._position = position
        self._step = step
        self._counts = counts
        self._schedules = schedules
        self._metrics = metrics
        self._evaluation = evaluation
        self._interruption = interruption
        self._has_peers = comm.get_world_size() > 1

    def run(self) -> None:
        """Train, from where the timestamp stands."""
        state = self._state
        self._run_event(Event.FIT_START)
        self._position.prepare(state)
        self._finish_evaluation()
        self._counts.restart_clock()
        if state.is_training_done and self._stands_at_epoch_end():
            # The run was interrupted after its last batch.
            self._end_epoch()
        while not state.is_training_done:
            timestamp = state.timestamp
            if timestamp.epoch_in_iteration == 0 and timestamp.batch_in_epoch == 0:
                self._run_event(Event.ITERATION_START)
            if timestamp.batch_in_epoch == 0:
                self._run_event(Event.EPOCH_START)
                self._logger.log_metrics({"time/epoch": timestamp.epoch.value})
            num_batches = self._run_epoch()
            if num_batches == 0:
                warnings.warn(
                    f"the dataloader {state.dataloader_label!r} gave no batch in epoch "
                    f"{timestamp.epoch.value}, so training ends before max_duration="
                    f"{str(state.max_duration)!r}; a generator gives its batches only once",
                    stacklevel=2,
                )
                break
        self._finish()

    def _stands_at_epoch_end(self) -> bool:
        num_done = self._state.timestamp.batch_in_epoch.value
        return num_done > 0 and num_done == _common_length(self._position.epoch_length(self._state))

    def _run_epoch(self) -> int:
        """Train to the end of the epoch or of the run, and return the number of its batches."""
        state = self._state
        length = _common_length(self._position.epoch_length(state))
        # With those of before an interruption, which may have come after the epoch's last batch.
        num_batches = state.timestamp.batch_in_epoch.value
        is_complete = True
        for batch in self._batches(length):
            self._run_batch(batch)
            num_batches += 1
            if state.is_training_done:
                is_complete = state.timestamp.batch_in_epoch.value == length
                break
        if num_batches and is_complete:
            self._end_epoch()
        return num_batches

    def _run_batch(self, batch: Any) -> None:
        state, run_event, logger = self._state, self._run_event, self._logger
        data_spec = self._source.data_spec
        if data_spec.batch_transforms is not None:
            batch = data_spec.batch_transforms(batch)
        samples = data_spec.get_num_samples_in_batch(batch)
        tokens = data_spec.get_num_tokens_in_batch(batch)
        state.batch = batch
        run_event(Event.AFTER_DATALOADER)
        run_event(Event.BATCH_START)
        if logger.listens_to_metrics:
            self._log_time(tokens > 0)

        losses = self._step.run(self._source, samples, tokens)
        self._log_batch(losses)
        self._metrics.log()

        state.previous_timestamp = state.timestamp
        state.timestamp = state.timestamp.to_next_batch(*self._counts.finish())
        self._schedules.after_batch()
        run_event(Event.BATCH_END)
        logger.flush(wait=False)
        self._evaluate(Event.BATCH_END)
        run_event(Event.BATCH_CHECKPOINT)
        self._interruption.check(self._counts.wishes())

    def _end_epoch(self) -> None:
        state = self._state
        self._metrics.log()
        state.previous_timestamp = state.timestamp
        state.timestamp = state.timestamp.to_next_epoch()
        self._schedules.after_epoch()
        self._run_event(Event.EPOCH_END)
        self._logger.flush()
        self._evaluate(Event.EPOCH_END)
        self._run_event(Event.EPOCH_CHECKPOINT)

    def _finish(self) -> None:
        """Evaluate what is still due, then end; callbacks that finish at FIT_END see it all."""
        state = self._state
        self._log_time(state.timestamp.token > 0)
        if self._logger.listens_to_metrics:
            self._logger.log_metrics({"time/epoch": state.timestamp.epoch.value})
        self._evaluate(Event.FIT_END)
        self._run_event(Event.FIT_END)
        self._logger.flush()

    def _evaluate(self, event: Event) -> None:
        evaluators = self._state.evaluators
        if evaluators and self._evaluation.run_due(evaluators, event):
            self._counts.restart_clock()

    def _finish_evaluation(self) -> None:
        """Evaluate what was being evaluated when the run was stopped."""
        event = self._evaluation.resume()
        if event is Event.BATCH_END:
            self._run_event(Event.BATCH_CHECKPOINT)
        elif event is Event.EPOCH_END:
            self._run_event(Event.EPOCH_CHECKPOINT)

    def _log_time(self, has_tokens: bool) -> None:
        now = self._state.timestamp
        values = {
            "time/batch": now.batch.value,
            "time/sample": now.sample.value,
            "time/batch_in_epoch": now.batch_in_epoch.value,
            "time/sample_in_epoch": now.sample_in_epoch.value,
        }
        if has_tokens:
            values["time/token"] = now.token.value
            values["time/token_in_epoch"] = now.token_in_epoch.value
        self._logger.log_metrics(values)

    def _log_batch(self, losses: dict[str, torch.Tensor]) -> None:
        state = self._state
        state.total_loss_dict = losses = _mean_over_ranks(losses) if self._has_peers else losses
        if self._logger.listens_to_metrics:
            metrics: dict[str, Any] = dict(losses)
            if state.device_train_microbatch_size is not None:
                metrics["trainer/device_train_microbatch_size"] = state.device_train_microbatch_size
            self._logger.log_metrics(metrics)

    def _batches(self, length: int | None) -> Iterator[Any]:
        """Yield the epoch's batches until any rank has no more."""
        state = self._state
        batches = self._position.iterate(state)
        num_left = None if length is None else length - state.timestamp.batch_in_epoch.value
        ask_others = length is None and self._has_peers
        while True:
            self._run_event(Event.BEFORE_DATALOADER)
            if num_left == 0:
                return
            batch = next(batches, _NO_BATCH)
            has_ended = batch is _NO_BATCH
            if comm.any_rank(has_ended) if ask_others else has_ended:
                return
            yield batch
            num_left = None if num_left is None else num_left - 1


_NO_BATCH = object()


def _common_length(own: int | None) -> int | None:
    """Return the batches of the epoch that every rank has; ``None`` where a rank cannot know."""
    if comm.get_world_size() == 1:
        return own
    shortest = int(comm.all_reduce_counts([-1 if own is None else own], "MIN")[0])
    return None if shortest < 0 else shortest


def _mean_over_ranks(losses: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Average losses over ranks in one collective, on the device."""
    if not losses:
        return losses
    stacked = torch.stack([loss.float() for loss in losses.values()])
    comm.all_reduce(stacked, "SUM")
    return dict(zip(losses, stacked / comm.get_world_size(), strict=True))
