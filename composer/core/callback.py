"""The base of everything that watches a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.core.event import Event
from composer.core.serializable import Serializable

if TYPE_CHECKING:
    from composer.core.logger import Logger
    from composer.core.state import State

__all__ = ["Callback"]


class Callback(Serializable):
    """Watches a run: reads the state, logs, stops training, writes files.

    Override the methods named after the events that matter; the others cost nothing. A callback
    that wants every event overrides :meth:`run_event`. Changing what is trained is the business of
    :class:`~composer.core.algorithm.Algorithm`.
    """

    def run_event(self, event: Event, state: State, logger: Logger) -> None:
        """Handle any event; by default calls the method named after it."""
        getattr(self, event.value)(state, logger)

    def init(self, state: State, logger: Logger) -> None:
        """Run after the model is on its device, before surgery."""

    def before_load(self, state: State, logger: Logger) -> None:
        """Run before a checkpoint is read."""

    def after_load(self, state: State, logger: Logger) -> None:
        """Run after a checkpoint was read, or would have been."""

    def fit_start(self, state: State, logger: Logger) -> None:
        """Run at the start of every ``fit``."""

    def iteration_start(self, state: State, logger: Logger) -> None:
        """Run at the start of an iteration."""

    def epoch_start(self, state: State, logger: Logger) -> None:
        """Run at the start of an epoch."""

    def before_dataloader(self, state: State, logger: Logger) -> None:
        """Run before each batch is asked for."""

    def after_dataloader(self, state: State, logger: Logger) -> None:
        """Run with the batch transformed, usually still on the CPU."""

    def batch_start(self, state: State, logger: Logger) -> None:
        """Run at the start of a batch."""

    def before_train_batch(self, state: State, logger: Logger) -> None:
        """Run before gradients are cleared."""

    def before_forward(self, state: State, logger: Logger) -> None:
        """Run before the forward pass of a microbatch."""

    def after_forward(self, state: State, logger: Logger) -> None:
        """Run with ``state.outputs`` there."""

    def before_loss(self, state: State, logger: Logger) -> None:
        """Run before the loss is computed."""

    def after_loss(self, state: State, logger: Logger) -> None:
        """Run with ``state.loss`` there."""

    def before_backward(self, state: State, logger: Logger) -> None:
        """Run before the backward pass."""

    def after_backward(self, state: State, logger: Logger) -> None:
        """Run after the backward pass of a microbatch."""

    def after_train_batch(self, state: State, logger: Logger) -> None:
        """Run with complete, unscaled gradients, before the parameters change."""

    def batch_end(self, state: State, logger: Logger) -> None:
        """Run after the optimizer step, with the timestamp moved."""

    def batch_checkpoint(self, state: State, logger: Logger) -> None:
        """Run after evaluations due at this batch."""

    def epoch_end(self, state: State, logger: Logger) -> None:
        """Run at the end of an epoch."""

    def epoch_checkpoint(self, state: State, logger: Logger) -> None:
        """Run after evaluations due at this epoch."""

    def iteration_end(self, state: State, logger: Logger) -> None:
        """Run at the end of an iteration."""

    def iteration_checkpoint(self, state: State, logger: Logger) -> None:
        """Run after the end of an iteration."""

    def fit_end(self, state: State, logger: Logger) -> None:
        """Run at the end of every ``fit``."""

    def eval_before_all(self, state: State, logger: Logger) -> None:
        """Run before the first evaluator."""

    def eval_start(self, state: State, logger: Logger) -> None:
        """Run before an evaluator."""

    def eval_batch_start(self, state: State, logger: Logger) -> None:
        """Run at the start of an evaluation batch."""

    def eval_before_forward(self, state: State, logger: Logger) -> None:
        """Run before an evaluation forward pass."""

    def eval_after_forward(self, state: State, logger: Logger) -> None:
        """Run after an evaluation forward pass."""

    def eval_batch_end(self, state: State, logger: Logger) -> None:
        """Run after an evaluation batch."""

    def eval_end(self, state: State, logger: Logger) -> None:
        """Run with the evaluator's metrics computed and logged."""

    def eval_after_all(self, state: State, logger: Logger) -> None:
        """Run after the last evaluator."""

    def eval_standalone_start(self, state: State, logger: Logger) -> None:
        """Run at the start of ``Trainer.eval``."""

    def eval_standalone_end(self, state: State, logger: Logger) -> None:
        """Run at the end of ``Trainer.eval``."""

    def predict_start(self, state: State, logger: Logger) -> None:
        """Run at the start of ``Trainer.predict``."""

    def predict_batch_start(self, state: State, logger: Logger) -> None:
        """Run at the start of a prediction batch."""

    def predict_before_forward(self, state: State, logger: Logger) -> None:
        """Run before a prediction forward pass."""

    def predict_after_forward(self, state: State, logger: Logger) -> None:
        """Run after a prediction forward pass."""

    def predict_batch_end(self, state: State, logger: Logger) -> None:
        """Run after a prediction batch."""

    def predict_end(self, state: State, logger: Logger) -> None:
        """Run at the end of ``Trainer.predict``."""

    def close(self, state: State, logger: Logger) -> None:
        """Run once when the trainer closes, also after an error."""

    def post_close(self) -> None:
        """Run after every callback was closed; nothing may be logged any more."""
