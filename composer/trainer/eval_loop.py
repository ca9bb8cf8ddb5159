"""Evaluation: one evaluator after the other, with exact metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, cast

import torch
from torch.utils.data.distributed import DistributedSampler

from composer.core.data_spec import DataSpec
from composer.core.engine import Engine
from composer.core.evaluator import Evaluator
from composer.core.event import Event
from composer.core.interval import IntervalScheduler
from composer.core.logger import Logger
from composer.core.microbatch import Microbatcher
from composer.core.state import State
from composer.core.time import Timestamp
from composer.core.weight_view import evaluation_weights
from composer.devices.device_cpu import DeviceCPU
from composer.distributed.reproducibility import get_own_rng_state, load_own_rng_state
from composer.trainer.batch_source import BatchSource
from composer.trainer.precision_policy import PrecisionPolicy
from composer.trainer.preemption import EvalBoundaries, Interruption
from composer.trainer.train_metrics import compute
from composer.utils.model_helpers import model_eval_mode

__all__ = ["EvalLoop"]


class EvalLoop:
    """Runs evaluators and logs their metrics.

    The run's weight view (EMA and its like) is shown while evaluators run, and the training state
    (active loader, batch, outputs, modes) is put back afterwards.

    Args:
        state: the run's state.
        engine: runs the events.
        logger: where metrics go.
        precision: autocast.
        interruption: says whether to stop between batches; ``None`` for not at all.
    """

    def __init__(
        self,
        *,
        state: State,
        engine: Engine,
        logger: Logger,
        precision: PrecisionPolicy,
        interruption: Interruption | None = None,
    ) -> None:
        self._state = state
        self._engine = engine
        self._logger = logger
        self._precision = precision
        self._interruption = interruption

    def run_due(self, evaluators: Sequence[Evaluator], event: Event) -> bool:
        """Run the evaluators that are due on ``event``, and say whether there were any."""
        due = [e for e in evaluators if e.eval_interval and e.eval_interval(self._state, event)]
        if not due:
            return False
        self._run_during_training(due, event)
        return True

    def resume(self) -> Event | None:
        """Run again what was being run when the checkpoint was written.

        Returns:
            The event it was due on; ``None`` if nothing was being run, or if it is due again.
        """
        progress = self._state.progress
        note: dict[str, Any] | None = progress.pop("evaluating", None)
        for evaluator in self._state.evaluators:
            done = progress.get("evaluated", {}).get(evaluator.label)
            if done is not None and isinstance(evaluator.eval_interval, IntervalScheduler):
                evaluator.eval_interval.remember(done["batch"], Event(done["event"]))
        if note is None or note["event"] == Event.FIT_END.value:
            return None
        event = Event(note["event"])
        due = [e for e in self._state.evaluators if e.label in note["labels"]]
        if due:
            self._run_during_training(due, event)
        return event

    def _run_during_training(self, due: Sequence[Evaluator], event: Event) -> None:
        # What a checkpoint that is written in between says: these are to be run again.
        labels = [str(evaluator.label) for evaluator in due]
        self._state.progress["evaluating"] = {"event": event.value, "labels": labels}
        self._engine.run_event(Event.EVAL_BEFORE_ALL)
        self.run(due, labels)
        del self._state.progress["evaluating"]
        self._engine.run_event(Event.EVAL_AFTER_ALL)

    def run(self, evaluators: Sequence[Evaluator], labels: list[str] | None = None) -> None:
        """Run evaluators, due or not.

        Args:
            evaluators: which.
            labels: their labels; each is removed when its evaluator has come to its end.
        """
        state = self._state
        loader, label, length = state.dataloader, state.dataloader_label, state.dataloader_len
        kept = state.batch, state.outputs, state.loss
        # Loaders draw random numbers when they are opened: with them put back, training goes on as
        # it would have without the evaluation.
        random_state = get_own_rng_state()
        try:
            with model_eval_mode(state.model), torch.no_grad(), evaluation_weights(state):
                for evaluator in evaluators:
                    self._run_one(evaluator)
                    if labels:
                        self._note_end(evaluator, labels)
        finally:
            load_own_rng_state(random_state)
            state.batch, state.outputs, state.loss = kept
            state.set_dataloader(loader, label, -1 if length is None else length)
        self._logger.flush()

    def _note_end(self, evaluator: Evaluator, labels: list[str]) -> None:
        """Note that an evaluator has come to its end: what is due at it must not be due again."""
        progress, batch = self._state.progress, self._state.timestamp.batch.value
        event = progress["evaluating"]["event"]
        progress.setdefault("evaluated", {})[labels.pop(0)] = {"batch": batch, "event": event}
        if isinstance(evaluator.eval_interval, IntervalScheduler):
            evaluator.eval_interval.remember(batch, Event(event))

    def _run_one(self, evaluator: Evaluator) -> None:
        state, run_event = self._state, self._engine.run_event
        data_spec = evaluator.dataloader
        limit = evaluator.subset_num_batches
        state.set_dataloader(data_spec.dataloader, evaluator.label, -1 if limit is None else limit)
        state.eval_timestamp = Timestamp()
        metrics = _Metrics(state, evaluator.label)
        run_event(Event.EVAL_START)
        metrics.start()

        source = BatchSource(data_spec, state.device, on_tokens=False)
        microbatcher = Microbatcher(
            evaluator.device_eval_microbatch_size,
            evaluator.auto_microbatching,
            lambda size: setattr(evaluator, "device_eval_microbatch_size", size),
            "device_eval_microbatch_size",
        )
        padding = _Padding(data_spec, int(state.timestamp.batch))
        length = state.dataloader_len
        batches = islice(iter(data_spec.dataloader), None if length is None else int(length))
        boundaries = EvalBoundaries(self._interruption, None if length is None else int(length))
        for loaded in boundaries.between(batches):
            transform = data_spec.batch_transforms
            state.batch = batch = loaded if transform is None else transform(loaded)
            samples = data_spec.get_num_samples_in_batch(batch)
            tokens = data_spec.get_num_tokens_in_batch(batch)
            run_event(Event.EVAL_BATCH_START)
            self._run_batch(source, microbatcher, metrics, padding)
            state.eval_timestamp = state.eval_timestamp.to_next_batch(samples, tokens)
            run_event(Event.EVAL_BATCH_END)

        self._logger.log_metrics(metrics.compute())
        run_event(Event.EVAL_END)

    def _run_batch(
        self, source: BatchSource, microbatcher: Microbatcher, metrics: _Metrics, padding: _Padding
    ) -> None:
        state = self._state
        batch = state.batch
        kept = metrics.snapshot() if microbatcher.automatic else None
        seen = padding.num_seen

        def attempt() -> None:
            for part in source.split(batch, microbatcher.size):
                self._run_microbatch(source, part, metrics, padding)

        def undo() -> None:
            state.outputs = None
            padding.num_seen = seen
            metrics.restore(kept)

        microbatcher.run(lambda: source.samples(batch), attempt, undo)
        state.batch = batch

    def _run_microbatch(
        self, source: BatchSource, part: Any, metrics: _Metrics, padding: _Padding
    ) -> None:
        state, run_event = self._state, self._engine.run_event
        state.batch = source.prepare(part)
        run_event(Event.EVAL_BEFORE_FORWARD)
        with self._precision.autocast():
            state.outputs = state.model.eval_forward(state.batch)
        run_event(Event.EVAL_AFTER_FORWARD)
        if not metrics.by_name:
            return
        batch, outputs = state.batch, state.outputs
        if padding.is_possible:
            samples = int(source.samples(batch))
            real = padding.count_real(samples)
            if real == 0:
                return
            if real < samples:
                batch = _first(batch, real, samples)
                outputs = _first(outputs, real, samples)
        metrics.update(batch, outputs)


class _Metrics:
    """One evaluator's metrics, on the device where they are computed."""

    def __init__(self, state: State, label: str) -> None:
        self._state = state
        self._label = label
        self.by_name: dict[str, Any] = state.eval_metrics.get(label, {})
        # Some metrics use float64, which MPS does not have.
        self._on_cpu = state.device.name == "mps"

    def start(self) -> None:
        for metric in self.by_name.values():
            if not self._on_cpu:
                self._state.device.module_to_device(metric)
            metric.reset()

    def update(self, batch: Any, outputs: Any) -> None:
        if self._on_cpu:
            cpu = DeviceCPU()
            batch, outputs = cpu.batch_to_device(batch), cpu.batch_to_device(outputs)
        model, state = self._state.model, self._state
        for name, metric in self.by_name.items():
            returned = model.update_metric(batch, outputs, metric)
            if returned is not None:
                state.metric_outputs = returned
                state.metric_outputs["metric_name"] = name

    def compute(self) -> dict[str, Any]:
        """Return the values over all ranks, by the name they are logged under."""
        values = compute(self.by_name)
        self._state.eval_metric_values.update(values)
        return {f"metrics/{self._label}/{name}": value for name, value in values.items()}

    def snapshot(self) -> list[dict[str, Any]]:
        return [_copy_of(metric.metric_state) for metric in self.by_name.values()]

    def restore(self, snapshot: list[dict[str, Any]] | None) -> None:
        for metric, kept in zip(self.by_name.values(), snapshot or [], strict=False):
            for name, value in kept.items():
                setattr(metric, name, value)


class _Padding:
    """Samples that a DistributedSampler repeated so that all ranks get equally many.

    Rank ``r`` of ``W`` gets the samples ``r, r + W, ...`` of the padded order, so those repeated
    stand at the end of what it gets.
    """

    def __init__(self, data_spec: DataSpec, epoch: int) -> None:
        self.num_seen = 0
        self._num_real = 0
        sampler = getattr(data_spec.dataloader, "sampler", None)
        if not isinstance(sampler, DistributedSampler):
            sampler = getattr(getattr(data_spec.dataloader, "batch_sampler", None), "sampler", None)
        self.is_possible = False
        if isinstance(sampler, DistributedSampler):
            sampler.set_epoch(epoch)
            total = len(cast("Any", sampler.dataset))
            self.is_possible = not sampler.drop_last and sampler.total_size > total
            self._num_real = len(range(sampler.rank, total, sampler.num_replicas))

    def count_real(self, samples: int) -> int:
        """Return how many of the next ``samples`` samples are no repetitions."""
        real = max(min(samples, self._num_real - self.num_seen), 0)
        self.num_seen += samples
        return real


def _first(value: Any, count: int, total: int) -> Any:
    """Return the first ``count`` of ``total`` samples of a batch or of a model's outputs."""
    if isinstance(value, torch.Tensor):
        return value[:count] if value.ndim > 0 and value.shape[0] == total else value
    if isinstance(value, Mapping):
        cut = {name: _first(part, count, total) for name, part in value.items()}
        return cut if type(value) is dict else type(value)(**cut)
    if isinstance(value, tuple | list):
        if len(value) == total and not any(isinstance(part, torch.Tensor) for part in value):
            return value[:count]
        parts = [_first(part, count, total) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def _copy_of(metric_state: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: [*value] if isinstance(value, list) else value.clone()
        for name, value in metric_state.items()
    }
