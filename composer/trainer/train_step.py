"""One batch: gradients, what methods do with them, the parameter update.

As a rule that is one step of the optimizer. A method may ask for more (``state.steps_per_batch``):
then the batch is cut, and each part goes through all of it by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.optim import LBFGS, Optimizer

from composer.core.engine import Engine
from composer.core.event import Event
from composer.core.losses import TOTAL_LOSS
from composer.core.microbatch import Microbatcher
from composer.core.state import State
from composer.distributed import comm
from composer.errors import ConfigError, DataError
from composer.trainer.batch_counts import BatchCounts
from composer.trainer.batch_source import BatchSource
from composer.trainer.gradients import GradientPass
from composer.trainer.precision_policy import PrecisionPolicy
from composer.trainer.train_metrics import TrainMetrics
from composer.utils.iter_helpers import map_collection

__all__ = ["TrainStep", "closure_optimizer"]


class TrainStep:
    """Trains one batch.

    Args:
        state: the run's state.
        engine: runs the events.
        gradients: forward and backward.
        precision: unscaling and the update.
        microbatcher: the microbatch size; a batch that does not fit is done again.
        counts: the batch's weight over all ranks.
        metrics: reset with each batch.
    """

    def __init__(
        self,
        *,
        state: State,
        engine: Engine,
        gradients: GradientPass,
        precision: PrecisionPolicy,
        microbatcher: Microbatcher,
        counts: BatchCounts,
        metrics: TrainMetrics,
    ) -> None:
        self._state = state
        self._run_event = engine.run_event
        self._gradients = gradients
        self._precision = precision
        self._microbatcher = microbatcher
        self._counts = counts
        self._metrics = metrics
        self._has_peers = comm.get_world_size() > 1
        self._optimizers = state.optimizers
        self._closure_optimizer = closure_optimizer(self._optimizers, precision)

    def run(
        self, source: BatchSource, samples: int | float, tokens: int
    ) -> dict[str, torch.Tensor]:
        """Train on ``state.batch``.

        Args:
            source: where the batch came from.
            samples: its samples, for the timestamp.
            tokens: its tokens, for the timestamp.

        Returns:
            The batch's losses by metric name, on the device, of this rank.
        """
        state = self._state
        if state.steps_per_batch != 1:
            return self._run_parts(source, samples, tokens)
        self._counts.start(samples, tokens, source.weight(state.batch) if self._has_peers else 0)
        return self._step(state.batch, source)

    def _run_parts(
        self, source: BatchSource, samples: int | float, tokens: int
    ) -> dict[str, torch.Tensor]:
        """Take one step for each part of the batch, and return the mean losses."""
        state = self._state
        batch = state.batch
        parts = _cut(batch, source, state.steps_per_batch)
        weights = [source.weight(part) for part in parts]
        total = sum(weights) or 1
        losses: dict[str, torch.Tensor] = {}
        for index, (part, weight) in enumerate(zip(parts, weights, strict=True)):
            counted = (0, 0) if index else (samples, tokens)
            self._counts.start(*counted, weight, goes_on=index > 0)
            state.batch = part
            for name, loss in self._step(part, source).items():
                share = loss * (weight / total)
                losses[name] = losses[name] + share if name in losses else share
            # What ranks have counted of this part, before the next one is counted.
            self._counts.mean_weight()
        state.batch = batch
        return losses

    def _step(self, batch: Any, source: BatchSource) -> dict[str, torch.Tensor]:
        if self._closure_optimizer is not None:
            return self._step_with_closure(self._closure_optimizer, batch, source)
        losses = self._compute_gradients(batch, source)
        self._precision.step(self._optimizers)
        return losses

    def _step_with_closure(
        self, optimizer: Optimizer, batch: Any, source: BatchSource
    ) -> dict[str, torch.Tensor]:
        """Let the optimizer ask for gradients, as often as it likes; the first losses count."""
        first: dict[str, torch.Tensor] = {}

        def closure(
            ddp_sync: bool = True, loss_dict: dict[str, torch.Tensor] | None = None
        ) -> torch.Tensor:
            with torch.enable_grad():
                losses = self._compute_gradients(batch, source, ddp_sync)
            for name, loss in losses.items():
                first.setdefault(name, loss)
            if loss_dict is not None:
                loss_dict.update(losses)
            return self._mean_over_ranks(losses[TOTAL_LOSS])

        self._precision.step_with_closure(optimizer, closure)
        return first

    def _compute_gradients(
        self, batch: Any, source: BatchSource, sync: bool = True
    ) -> dict[str, torch.Tensor]:
        """Leave complete, unscaled gradients in the parameters."""
        self._run_event(Event.BEFORE_TRAIN_BATCH)
        if self._microbatcher.automatic:
            losses = self._compute_what_fits(batch, source, sync)
        else:
            losses = self._compute_parts(source.split(batch, self._microbatcher.size), source, sync)
        if sync:
            self._gradients.finish()
        self._state.batch = batch
        self._precision.unscale(self._optimizers)
        self._run_event(Event.AFTER_TRAIN_BATCH)
        return losses

    def _compute_what_fits(
        self, batch: Any, source: BatchSource, sync: bool
    ) -> dict[str, torch.Tensor]:
        """Compute gradients; in smaller parts, all over again, where memory does not suffice."""
        state, microbatcher = self._state, self._microbatcher
        buffers = _BufferCopy(state.model)

        def attempt() -> dict[str, torch.Tensor]:
            # Methods replace parts of a batch; done again, it must be as it came.
            parts = [map_collection(p, _same) for p in source.split(batch, microbatcher.size)]
            return self._compute_parts(parts, source, sync)

        def undo() -> None:
            for optimizer in self._optimizers:
                optimizer.zero_grad(set_to_none=True)
            state.outputs = state.loss = None
            buffers.restore()

        return microbatcher.run(lambda: source.samples(batch), attempt, undo)

    def _compute_parts(
        self, parts: Sequence[Any], source: BatchSource, sync: bool
    ) -> dict[str, torch.Tensor]:
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
        if self._state.train_metrics:
            self._metrics.reset()
        is_whole = len(parts) == 1 and not self._has_peers
        share = None if is_whole else self._shares(source, parts)
        return self._gradients.run(parts, source.prepare, share, sync)

    def _mean_over_ranks(self, loss: torch.Tensor) -> torch.Tensor:
        """Return the loss by which an optimizer decides, so that all ranks decide the same."""
        if not self._has_peers:
            return loss
        mean = loss / comm.get_world_size()
        comm.all_reduce(mean, "SUM")
        return mean

    def _shares(self, source: BatchSource, parts: Sequence[Any]) -> Callable[[int], float]:
        """Return each microbatch's share: its weight over the mean weight of a rank's batch."""
        weights = [source.weight(part) for part in parts]

        def share(index: int) -> float:
            mean = self._counts.mean_weight() if self._has_peers else sum(weights)
            return weights[index] / mean if mean else 0.0

        return share


def _same(value: Any) -> Any:
    return value


def _cut(batch: Any, source: BatchSource, num_steps: int) -> Sequence[Any]:
    """Cut a batch into parts, as equal as can be; all ranks must call this.

    Raises:
        ValueError: ranks would take different numbers of steps, and wait for each other forever.
    """
    size = max(1, -(-int(source.samples(batch)) // num_steps))
    parts = source.split(batch, size)
    fewest, most = len(parts), len(parts)
    if comm.get_world_size() > 1:
        fewest = int(comm.all_reduce_counts([fewest], "MIN")[0])
        most = int(comm.all_reduce_counts([most], "MAX")[0])
    if fewest != most:
        raise DataError(
            f"a batch is cut into {num_steps} parts, and ranks have enough samples for {fewest} to "
            f"{most} of them: give all ranks equally many, as composer.utils.dist.get_sampler does"
        )
    return parts


class _BufferCopy:
    """The model's buffers before a batch: running statistics must not see a batch twice."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._buffers = list(model.buffers())
        self._values = [buffer.clone() for buffer in self._buffers]

    @torch.no_grad()
    def restore(self) -> None:
        for buffer, value in zip(self._buffers, self._values, strict=True):
            buffer.copy_(value)


def closure_optimizer(
    optimizers: Sequence[Optimizer], precision: PrecisionPolicy
) -> Optimizer | None:
    """Return the optimizer that computes gradients itself through a closure, if there is one.

    LBFGS does, and optimizers that say so with ``_step_supports_amp_closure`` (SAM).

    Raises:
        ValueError: it is one of several, or gradients are scaled and it does not know of steps to
            skip.
    """

    def knows_scaling(optimizer: Optimizer) -> bool:
        return getattr(optimizer, "_step_supports_amp_closure", False)

    needing = [each for each in optimizers if isinstance(each, LBFGS) or knows_scaling(each)]
    if not needing:
        return None
    name = type(needing[0]).__name__
    if len(optimizers) > 1:
        raise ConfigError(
            f"{name} computes gradients itself and cannot be combined with other optimizers; give "
            "it all parameters, in groups if they differ"
        )
    if precision.scaler is not None and not knows_scaling(needing[0]):
        raise ConfigError(
            f"{name} computes gradients itself, which the loss scaling of 'amp_fp16' does not "
            "allow; use precision='amp_bf16' or 'fp32'"
        )
    return needing[0]
