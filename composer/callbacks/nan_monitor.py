"""Stop at once when the loss is not a number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.core.time import TimeUnit
from composer.errors import TrainingError

__all__ = ["NaNMonitor"]


class NaNMonitor(Callback):
    """Raises an error when a loss is NaN.

    On the CPU it does so before the backward pass. On an accelerator the answer comes with the
    logger's next read, a few batches later at most, so that training never waits for it.

    Raises:
        RuntimeError: (while training) a loss is NaN; the batch is named.
    """

    def after_loss(self, state: State, logger: Logger) -> None:
        """Look at every loss of the microbatch."""
        batch = state.timestamp.count(TimeUnit.BATCH)
        for name, loss in _named(state.loss):
            if loss.is_cpu and loss.numel() == 1:
                _check({name: not math.isnan(loss.item())}, batch=batch)
                continue
            is_number = loss.detach().isnan().logical_not().all()
            if is_number.is_cpu:
                _check({name: is_number.item()}, batch=batch)
            else:
                logger.read({name: is_number}, partial(_check, batch=batch))


def _check(is_number: Mapping[str, Any], batch: int) -> None:
    names = [name for name, answer in is_number.items() if not answer]
    if names:
        raise TrainingError(
            f"{names[0]} of batch {batch} is NaN. Look at that batch's data, lower the learning "
            "rate, or clip gradients; LossSpikeMonitor can skip such batches"
        )


def _named(loss: Any, name: str = "the loss") -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(loss, torch.Tensor):
        yield name, loss
    elif isinstance(loss, Mapping):
        for key, part in loss.items():
            yield from _named(part, f"the loss {key!r}")
    elif isinstance(loss, Sequence):
        for index, part in enumerate(loss):
            yield from _named(part, f"the loss {index}")
