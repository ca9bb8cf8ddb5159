"""Sees, on the first microbatch, whether a loss over tokens is a mean over those that count.

Labels of -100 mark tokens that make no loss: padding, and in packed windows the borders of
documents. The Trainer weighs by the others. A model whose loss divides by all positions then trains
on a number that depends on how much padding happens to lie where, and no curve shows it.

If a loss is a mean over the tokens that count, and these are split into two halves, then it is the
mean of the losses of both halves. One that divides by all positions gives half of each.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from composer.core.data_spec import IGNORED_LABEL
from composer.core.losses import read_losses
from composer.core.state import State
from composer.errors import ConfigError
from composer.utils.model_helpers import model_eval_mode

__all__ = ["TokenLossCheck"]

# A loss over all positions is off by about half; rounding to 16 bits by less than a hundredth.
_TOLERANCE = 0.1


class TokenLossCheck:
    """Looks at the loss of one microbatch, at the cost of three more evaluations of it.

    Args:
        state: the run's state; nothing in it changes.
        autocast: the run's precision.
    """

    def __init__(self, state: State, autocast: AbstractContextManager[Any]) -> None:
        self._state = state
        self._autocast = autocast

    @staticmethod
    def is_needed(microbatch: Any) -> bool:
        """Return whether some labels count and others do not.

        Args:
            microbatch: in host memory, so that no device is waited for.
        """
        labels = _labels(microbatch)
        if labels is None or labels.device.type != "cpu":
            return False
        num_counted = int((labels != IGNORED_LABEL).sum())
        return 1 < num_counted < labels.numel()

    def run(self) -> None:
        """Look at the loss of ``state.batch``, whose outputs have been computed.

        Raises:
            ValueError: the batch is one of packed documents, and the loss is a mean over all
                positions. For other batches that is a warning.
        """
        batch: Any = self._state.batch
        labels = _labels(batch)
        if labels is None:
            return
        counts = labels != IGNORED_LABEL
        place = counts.flatten().cumsum(0).view(labels.shape)
        # Turn by turn, so that both halves are alike and a label that a model drops hardly matters.
        halves = [counts & (place % 2 == parity) for parity in (0, 1)]
        parts = [labels, *(labels.masked_fill(~half, IGNORED_LABEL) for half in halves)]
        with torch.no_grad(), self._autocast:
            losses = self._losses([{**batch, "labels": part} for part in parts])
        if losses is None:
            return
        numbers = torch.stack([half.sum() for half in halves])
        expected = (losses[1:] * numbers).sum() / numbers.sum()
        whole, expected, num_counted = torch.stack([losses[0], expected, numbers.sum()]).tolist()
        if abs(expected - whole) > _TOLERANCE * abs(whole):
            _complain(int(num_counted), labels.numel(), is_packed="document_ids" in batch)

    def _losses(self, batches: list[dict[str, Any]]) -> Tensor | None:
        """Return the loss of batches that differ in their labels; ``None`` if nobody can say."""
        state = self._state
        losses = [_total(state.model.loss(state.outputs, each)) for each in batches]
        if not all(torch.equal(each, losses[0]) for each in losses):
            return torch.stack(losses)
        # The loss is made in the forward pass. Sharded, that is for all ranks to do or none.
        if state.fsdp_enabled:
            return None
        with model_eval_mode(state.model), torch.compiler.set_stance("force_eager"):
            losses = [_total(state.model.loss(state.model(each), each)) for each in batches]
        return torch.stack(losses)


def _labels(batch: Any) -> Tensor | None:
    """Return a batch's labels by token, where it has some."""
    labels = batch.get("labels") if isinstance(batch, Mapping) else None
    is_usual = isinstance(labels, Tensor) and labels.ndim == 2 and not labels.is_floating_point()
    return labels if is_usual else None


def _total(loss: Any) -> Tensor:
    return read_losses(loss)[0].float()


def _complain(num_counted: int, num_all: int, is_packed: bool) -> None:
    text = (
        f"the model's loss is a mean over all {num_all} positions of a microbatch, and only "
        f"{num_counted} of them have a label that counts (the others are {IGNORED_LABEL}): it "
        "depends on how much padding there is. Let it divide by the labels that count, as "
        f"torch.nn.functional.cross_entropy(..., ignore_index={IGNORED_LABEL}) does"
    )
    if is_packed:
        raise ConfigError(f"{text}. Packed documents cannot be trained on otherwise")
    warnings.warn(
        f"{text}, or give accumulate_train_batch_on_tokens=False to weigh microbatches by samples",
        stacklevel=2,
    )
