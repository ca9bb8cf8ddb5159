"""Selective backprop: train on the samples of a batch that have the largest losses.

Paper: Jiang, Wong, Zhou, Andersen, et al., "Accelerating Deep Learning by Focusing on the Biggest
Losers", 2019, arXiv:1910.00762.

Idea: an extra forward pass without gradients gives each sample's loss. A share ``keep`` of the
samples is drawn, those with large losses more likely, and only they are trained on. Two of three
parts of a step's work are saved for the rest.

When it helps: it saves time where the extra pass is cheap, as with ``scale_factor`` below 1, and
many samples are learnt already. When it hurts: at equal compute no gain over training with a fully
decayed learning rate was found (Kaddour et al., "No Train No Gain", 2023, arXiv:2307.06440); noisy
labels have large losses and are chosen again and again.

Suggested values: ``start=0.5, end=0.9, keep=0.5, interrupt=2``, ``scale_factor=0.5`` for large
images. No independent gain was found, so measure before you rely on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from composer.algorithms._checks import check_number, check_tensor, check_whole
from composer.algorithms._mixing import Key
from composer.algorithms._run_length import warn_if_never_due
from composer.algorithms._sample_losses import check_sample_losses
from composer.core.algorithm import Algorithm, Order
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.precision import get_precision_context
from composer.core.split import default_split_batch
from composer.core.state import State
from composer.errors import ConfigError, DataError
from composer.utils.batch_helpers import batch_get, batch_set
from composer.utils.iter_helpers import map_collection
from composer.utils.model_helpers import model_eval_mode

__all__ = ["SelectiveBackprop", "select_using_loss", "should_selective_backprop"]


def should_selective_backprop(
    current_duration: float,
    batch_idx: int,
    start: float = 0.5,
    end: float = 0.9,
    interrupt: int = 2,
) -> bool:
    """Return whether a batch is to be thinned out.

    Args:
        current_duration: share of training that is done, in [0, 1].
        batch_idx: number of the batch in its epoch, from 0.
        start: share of training from which on batches are thinned out.
        end: share of training from which on they are not any more.
        interrupt: every n-th batch is left whole; 0 for none.
    """
    is_whole = interrupt > 0 and (batch_idx + 1) % interrupt == 0
    return start <= current_duration < end and not is_whole


def select_using_loss(
    input: Tensor,
    target: Tensor,
    model: Callable[[Tensor], Any],
    loss_fun: Callable[..., Tensor],
    keep: float = 0.5,
    scale_factor: float = 1,
) -> tuple[Tensor, Tensor]:
    """Return some samples of a batch, those with large losses more likely.

    Args:
        input: inputs, shape (N, ...).
        target: their targets, shape (N, ...).
        model: computes outputs from inputs.
        loss_fun: called as ``loss_fun(outputs, target, reduction='none')``; returns losses of
            shape (N, ...).
        keep: share of the samples to return, in (0, 1]; ``int(keep * N)`` and at least one.
        scale_factor: side length at which images of shape (N, C, H, W) are judged, over the true
            one, in (0, 1].

    Returns:
        Inputs and targets, in random order.

    Raises:
        ValueError: an argument is out of range, losses are not per sample, or inputs that are no
            images are to be scaled.

    Source:
        Jiang et al. 2019, section 3.2: the probability of a sample is the percentile of its loss
        to the power ``1 / keep - 1``; drawn without replacement.
    """
    _check_sampling(keep, scale_factor)
    with torch.no_grad():
        losses = loss_fun(model(_scaled(input, scale_factor)), target, reduction="none")
        chosen = _choose(_per_sample(losses, len(input)), keep)
        return input[chosen.to(input.device)], target[chosen.to(target.device)]


def _choose(losses: Tensor, keep: float) -> Tensor:
    """Draw samples by the ranks of their losses; the host does not wait for the losses."""
    number = len(losses)
    percentiles = (torch.arange(number, dtype=torch.float64) + 0.5) / number
    chances = percentiles ** (1 / keep - 1)
    ranks = torch.multinomial(chances, max(1, int(keep * number)), replacement=False)
    return losses.argsort()[ranks.to(losses.device)]


def _scaled(images: Tensor, scale_factor: float) -> Tensor:
    if scale_factor == 1:
        return images
    if images.ndim != 4:
        raise DataError(
            f"scale_factor={scale_factor} scales images of shape (N, C, H, W), got "
            f"{tuple(images.shape)}; leave it at 1 for other inputs"
        )
    return F.interpolate(images, scale_factor=scale_factor, mode="bilinear", align_corners=False)


def _per_sample(losses: Tensor, number: int) -> Tensor:
    if losses.ndim == 0 or len(losses) != number:
        raise DataError(
            f"the loss of each of {number} samples is needed, got a loss of shape "
            f"{tuple(losses.shape)}; the loss must follow reduction='none'"
        )
    return losses.flatten(1).mean(1) if losses.ndim > 1 else losses


def _check_sampling(keep: float, scale_factor: float) -> None:
    check_number("keep", keep, high=1, above=0)
    check_number("scale_factor", scale_factor, high=1, above=0)


class SelectiveBackprop(Algorithm):
    """Thin out batches; see :func:`select_using_loss`.

    The extra forward pass runs in evaluation mode, so it neither moves running statistics nor draws
    random numbers; it is cut into microbatches as training is. All tensors of the batch that have
    one entry for each sample are thinned out.

    Args:
        start: share of training from which on batches are thinned out, in [0, 1].
        end: share of training from which on they are not any more, in [0, 1].
        keep: share of the samples to keep, in (0, 1].
        scale_factor: side length at which images are judged, over the true one, in (0, 1].
        interrupt: every n-th batch of an epoch is left whole; 0 for none.
        input_key: where the inputs lie in a batch, see :meth:`State.batch_get_item`.
        target_key: where the targets lie in a batch.

    Raises:
        ValueError: an argument is out of range.
    """

    # The first acts last on AFTER_* events: samples are judged as they will be trained on.
    order = Order.FIRST
    events: Mapping[Event, str] = {
        Event.INIT: "check",
        Event.FIT_START: "look_ahead",
        Event.AFTER_DATALOADER: "select",
    }
    writes = ("batch",)

    def __init__(
        self,
        start: float = 0.5,
        end: float = 0.9,
        keep: float = 0.5,
        scale_factor: float = 1.0,
        interrupt: int = 2,
        input_key: Key = 0,
        target_key: Key = 1,
    ) -> None:
        check_number("start", start, 0, 1)
        check_number("end", end, 0, 1)
        if start >= end:
            raise ConfigError(f"start={start!r} must be less than end={end!r}")
        _check_sampling(keep, scale_factor)
        check_whole("interrupt", interrupt, 0)
        self.start = start
        self.end = end
        self.keep = keep
        self.scale_factor = scale_factor
        self.interrupt = interrupt
        self.input_key = input_key
        self.target_key = target_key

    def check(self, state: State, logger: Logger) -> None:
        """Refuse a model whose loss cannot be had per sample."""
        check_sample_losses("SelectiveBackprop", state.model)

    def look_ahead(self, state: State, logger: Logger) -> None:
        """Warn where the run is too short for a batch to be thinned out."""
        warn_if_never_due(
            self, state, "thins out a batch", lambda done: self.start <= done < self.end
        )

    def apply(self, event: Event, state: State, logger: Logger | None = None) -> None:
        """Act on an event; a logger is not needed."""
        handle: Callable[..., None] = getattr(self, self.events[event])
        handle(state, logger)

    def select(self, state: State, logger: Logger | None) -> None:
        """Thin out the batch where it is due."""
        elapsed = state.get_elapsed_duration()
        share = 0.0 if elapsed is None else elapsed.value
        index = state.timestamp.batch_in_epoch.value
        if not should_selective_backprop(share, index, self.start, self.end, self.interrupt):
            return
        # Which samples are chosen is known on the device only, so they are picked out there.
        state.batch = state.device.batch_to_device(state.batch)
        number = len(check_tensor(self, "inputs", state.batch_get_item(self.input_key)))
        chosen = _choose(self._losses(state), self.keep)

        def thinned(value: Any) -> Any:
            if isinstance(value, Tensor) and value.ndim and len(value) == number:
                return value[chosen.to(value.device)]
            return value

        state.batch = map_collection(state.batch, thinned)

    @torch.no_grad()
    def _losses(self, state: State) -> Tensor:
        """Return the loss of each sample of the batch."""
        size = state.device_train_microbatch_size
        parts = [state.batch] if size is None else default_split_batch(state.batch, size)
        device_type = state.device.torch_device.type
        autocast = get_precision_context(state.precision, device_type=device_type)
        losses: list[Tensor] = []
        with model_eval_mode(state.model):
            for batch in parts:
                inputs = check_tensor(self, "inputs", batch_get(batch, self.input_key))
                scaled = _scaled(inputs, self.scale_factor)
                # A container of its own, because the batch keeps its inputs.
                judged = batch_set(map_collection(batch, _same), self.input_key, scaled)
                with autocast:
                    outputs = state.model(judged)
                    loss = state.model.loss(outputs, judged, reduction="none")
                losses.append(_per_sample(loss, len(inputs)))
        return torch.cat(losses)


def _same(value: Any) -> Any:
    return value
