"""Gradients of one batch: forward, loss and backward for each microbatch, in exact shares.

Whatever the microbatch size and however samples are spread over ranks, the gradients are those of
the mean loss over the whole batch of all ranks: each microbatch counts by its weight (samples, or
tokens that generate loss) over the mean weight of a rank, and ranks are averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from composer.core.engine import Engine
from composer.core.event import Event
from composer.core.losses import read_losses
from composer.core.state import State
from composer.distributed.plan import ParallelismPlan
from composer.trainer.precision_policy import PrecisionPolicy
from composer.trainer.token_loss_check import TokenLossCheck
from composer.trainer.train_metrics import TrainMetrics

__all__ = ["GradientPass"]


class GradientPass:
    """Computes the gradients of a batch that is already cut into microbatches.

    Args:
        state: the run's state.
        engine: runs the events.
        plan: knows when gradients are synchronised.
        precision: autocast and loss scaling.
        metrics: updated with each microbatch.
        forward: the model as it is called, wrapped where training is distributed.
        checks_tokens: whether to look, on the first microbatch, if the loss is a mean over the
            tokens by which microbatches are weighed.
    """

    def __init__(
        self,
        *,
        state: State,
        engine: Engine,
        plan: ParallelismPlan,
        precision: PrecisionPolicy,
        metrics: TrainMetrics,
        forward: torch.nn.Module,
        checks_tokens: bool = False,
    ) -> None:
        self._state = state
        self._run_event = engine.run_event
        self._plan = plan
        self._precision = precision
        self._autocast = precision.autocast()
        self._metrics = metrics
        self._forward = forward
        self._has_peers = plan.world_size > 1
        self._token_check = TokenLossCheck(state, self._autocast) if checks_tokens else None
        self._create_graph = any(a.backwards_create_graph for a in state.algorithms)

    def run(
        self,
        microbatches: Sequence[Any],
        prepare: Callable[[Any], Any],
        share: Callable[[int], float] | None,
        sync: bool = True,
    ) -> dict[str, torch.Tensor]:
        """Add the batch's gradients to the parameters.

        Args:
            microbatches: the parts of the batch.
            prepare: moves a part to the device and transforms it; the next part is prepared before
                the current one is computed, so that copies run ahead.
            share: microbatch index -> its share of the batch. Asked before the backward pass only,
                because it may have to wait for other ranks. ``None``: there is one part, and it
                is all there is.
            sync: whether gradients are averaged over ranks at the end.

        Returns:
            The batch's losses by metric name, on the device, weighted by share.
        """
        losses: dict[str, torch.Tensor] = {}
        last = len(microbatches) - 1
        if self._has_peers:
            self._plan.begin_batch(len(microbatches))
        if self._token_check is not None and not self._token_check.is_needed(microbatches[0]):
            self._token_check = None
        upcoming = prepare(microbatches[0])
        for index in range(last + 1):
            current = upcoming
            if index < last:
                upcoming = prepare(microbatches[index + 1])
            if not self._has_peers:
                self._run_one(current, share, index, losses)
                continue
            with self._plan.sync_context(self._forward, sync and index == last):
                self._run_one(current, share, index, losses)
        return losses

    def finish(self) -> None:
        """Average over ranks what the backward passes have not; all ranks must call this.

        Apart from :meth:`run`, because a rank may run out of memory there: whether all got through
        must be agreed on before they average.
        """
        if self._has_peers:
            self._plan.finish_gradients(self._forward)

    def _run_one(
        self,
        batch: Any,
        share: Callable[[int], float] | None,
        index: int,
        losses: dict[str, torch.Tensor],
    ) -> None:
        state, run_event = self._state, self._run_event
        state.batch = batch
        has_metrics = bool(state.train_metrics)
        kept = self._metrics.keep(batch) if has_metrics else None

        run_event(Event.BEFORE_FORWARD)
        with self._autocast:
            state.outputs = self._forward(state.batch)
        run_event(Event.AFTER_FORWARD)

        run_event(Event.BEFORE_LOSS)
        with self._autocast:
            state.loss = state.model.loss(state.outputs, state.batch)
        run_event(Event.AFTER_LOSS)
        if self._token_check is not None:
            self._token_check.run()
            self._token_check = None

        run_event(Event.BEFORE_BACKWARD)
        total, named = read_losses(state.loss)
        weight = 1.0 if share is None else share(index)
        if weight == 0.0:
            # A mean over no token at all is NaN, and NaN times zero is NaN as well.
            total = total.nan_to_num(0.0, 0.0, 0.0)
            named = {name: torch.zeros_like(loss) for name, loss in named.items()}
        # Ranks that average gradients must all go through the backward pass.
        if weight != 0.0 or self._has_peers:
            self._precision.backward(total if weight == 1.0 else total * weight, self._create_graph)
        run_event(Event.AFTER_BACKWARD)

        for name, loss in named.items():
            part = loss.detach() if weight == 1.0 else loss.detach() * weight
            losses[name] = losses[name] + part if name in losses else part
        if has_metrics:
            self._metrics.update(kept, state.outputs)
