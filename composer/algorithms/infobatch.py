"""InfoBatch: leave out samples that are learnt already, without bias.

Paper: Qin, Wang, Zheng, Gu, Peng, Xu, Zhou, Shang, Sun, Xie, You, "InfoBatch: Lossless Training
Speed Up by Unbiased Dynamic Data Pruning", 2024, arXiv:2303.04947.

Idea: of the samples whose last loss was below the mean, each is left out of an epoch with a chance
of ``prune_ratio``; the gradients of those that stay are scaled up by ``1 / (1 - prune_ratio)``, so
that an epoch's sum of gradients is expected to be what it was. The last epochs read everything, so
that nothing that was left out last is missed.

When it helps: many epochs over data of which a good part is learnt early, where reading and
training take most of the time; a quarter to two fifths of all samples are saved. When it hurts: few
epochs, as the first one reads everything; losses that differ little; noisy labels, whose samples
stay. Batch norm sees other samples than in the whole data set.

Suggested values: ``prune_ratio=0.5, anneal_start=0.875``, as in the paper. Compare at equal time,
not at equal epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from composer.algorithms._checks import check_number, check_sample_count, check_whole
from composer.algorithms._run_length import share_done
from composer.algorithms._sample_losses import check_sample_losses, sample_losses
from composer.core.algorithm import Algorithm, Order
from composer.core.batch_indices import batch_indices
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.precision import get_precision_context
from composer.core.state import State
from composer.distributed import comm
from composer.distributed.permutation import mix_each
from composer.distributed.sampler import KeyedSampler, num_left
from composer.errors import ConfigError, DataError

__all__ = ["InfoBatch", "prune_samples"]

# From numbers of 53 bits, which are exact in 64-bit floats, to [0, 1).
_CHANCES = 2.0**-53


def prune_samples(
    is_learnt: NDArray[np.bool_], prune_ratio: float = 0.5, epoch: int = 0, seed: int = 0
) -> NDArray[np.int64]:
    """Return which samples an epoch is made of.

    Args:
        is_learnt: whether a sample may be left out, shape (N,).
        prune_ratio: the chance that such a sample is, in [0, 1).
        epoch: the epoch.
        seed: any whole number.

    Returns:
        The indices of those that stay, in order. They depend on the arguments alone.

    Raises:
        ValueError: ``prune_ratio`` is out of range.

    Example:
        >>> learnt = np.array([True, False, True, False, True, True])
        >>> prune_samples(learnt, 0.5, epoch=2).tolist()
        [0, 1, 3, 5]

    Source:
        Qin et al. 2024, equation 2.
    """
    _check_ratio(prune_ratio)
    numbers = mix_each(np.arange(len(is_learnt)), seed, epoch)
    chances = (numbers >> np.uint64(11)) * _CHANCES
    return np.flatnonzero(~is_learnt | (chances >= prune_ratio))


def _check_ratio(prune_ratio: float) -> None:
    check_number("prune_ratio", prune_ratio, 0)
    if prune_ratio >= 1:
        raise ConfigError(f"prune_ratio={prune_ratio!r} must be less than 1: some must stay")


class InfoBatch(Algorithm):
    """Leave learnt samples out of epochs; see :func:`prune_samples`.

    It needs a loader over a data set that is read by index, with the sampler of
    :func:`composer.utils.dist.get_sampler` (:class:`~composer.data.DeviceImageLoader` has it), and
    a model whose ``loss(outputs, batch, reduction='none')`` returns one number for each sample. The
    loss is computed a second time that way, which costs next to nothing beside a forward pass.

    Epochs have fewer batches of the same size. Time counts what is trained: samples and batches
    that are left out are not counted. Schedules of the learning rate end with the run all the same
    where ``max_duration`` is in epochs. With several ranks, all know the losses of all, and leave
    out the same.

    Logs ``infobatch/kept``: samples of the epoch as a share of the data set.

    Args:
        prune_ratio: the chance that a learnt sample is left out, in [0, 1).
        anneal_start: share of training from which on epochs are whole, in [0, 1].
        seed: any whole number.

    Raises:
        ValueError: an argument is out of range; when training starts, the loader cannot leave
            samples out, or the loss cannot be had per sample.

    Source:
        Qin et al. 2024, algorithm 1 and section 3.2, with the mean over the losses that are known.
    """

    # The last acts first on AFTER_LOSS: labels are as the loss saw them.
    order = Order.LAST
    events: Mapping[Event, str] = {
        Event.INIT: "check",
        Event.AFTER_LOAD: "take_over",
        Event.FIT_START: "go_on",
        Event.EPOCH_START: "plan",
        Event.BATCH_START: "note",
        Event.BEFORE_TRAIN_BATCH: "begin",
        Event.AFTER_LOSS: "weigh",
        Event.BATCH_END: "remember",
    }
    writes = ("loss", "batches_left_out")

    def __init__(
        self, prune_ratio: float = 0.5, anneal_start: float = 0.875, seed: int = 0
    ) -> None:
        _check_ratio(prune_ratio)
        check_number("anneal_start", anneal_start, 0, 1)
        check_whole("seed", seed)
        self.prune_ratio = prune_ratio
        self.anneal_start = anneal_start
        self.seed = seed
        # Each sample's last loss; NaN for those not seen.
        self._losses: Tensor | None = None
        self._is_learnt: Tensor | None = None
        self._left_out_before = 0
        self._left_out = 0
        # How many batches the epoch leaves out for each that it has.
        self._left_out_each = 0.0
        self._weights = self._batch_weights = torch.empty(0)
        self._indices = torch.empty(0, dtype=torch.int64)
        self._found: list[Tensor] = []
        self._num_found = 0
        self._microbatch_size: Any = None
        self._has_peers = False

    def check(self, state: State, logger: Logger) -> None:
        """Refuse a model whose loss cannot be had per sample."""
        check_sample_losses("InfoBatch", state.model)

    def take_over(self, state: State, logger: Logger) -> None:
        """Say how much was left out before a checkpoint, before a schedule asks."""
        state.batches_left_out = self._left_out

    def go_on(self, state: State, logger: Logger) -> None:
        """Look at the loader, and leave out what was left out of an epoch that is under way.

        Raises:
            ValueError: the loader cannot leave samples out.
        """
        sampler = _sampler_of(state)
        num_samples, device = len(cast("Any", sampler.dataset)), state.device.torch_device
        if self._losses is None or self._is_learnt is None:
            self._losses = torch.full((num_samples,), torch.nan)
            self._is_learnt = torch.zeros(num_samples, dtype=torch.bool)
        if len(self._losses) != num_samples:
            raise DataError(
                f"InfoBatch knows the losses of {len(self._losses)} samples, and the data set has "
                f"{num_samples}: use the same data, or begin a new run"
            )
        self._losses, self._is_learnt = self._losses.to(device), self._is_learnt.to(device)
        self._has_peers = comm.get_world_size() > 1
        if state.timestamp.batch_in_epoch.value > 0:
            self._choose(state, sampler)

    def plan(self, state: State, logger: Logger) -> None:
        """Decide what the epoch is made of."""
        assert self._losses is not None
        # The one time in an epoch that the host asks for losses.
        losses = self._losses.cpu()
        if share_done(self, state) >= self.anneal_start:
            is_learnt = torch.zeros(len(losses), dtype=torch.bool)
        else:
            is_learnt = losses < losses.nanmean()
        self._is_learnt = is_learnt.to(self._losses.device)
        self._left_out_before = self._left_out
        sampler = _sampler_of(state)
        self._choose(state, sampler)
        kept = 1.0 if sampler.chosen is None else len(sampler.chosen) / len(losses)
        logger.log_metrics({"infobatch/kept": kept})

    def _choose(self, state: State, sampler: KeyedSampler) -> None:
        assert self._is_learnt is not None
        is_learnt = self._is_learnt.cpu().numpy()
        epoch = state.timestamp.epoch.value
        kept = prune_samples(is_learnt, self.prune_ratio, epoch, self.seed)
        sampler.chosen = None if len(kept) == len(is_learnt) else kept
        # Worked out once an epoch, so that a step is little more than one look-up.
        self._weights = 1 + self._is_learnt * (1 / (1 - self.prune_ratio) - 1)
        self._left_out_each = _left_out_each(state, sampler)

    def note(self, state: State, logger: Logger) -> None:
        """Note which samples the batch is made of."""
        self._indices = batch_indices(state).to(state.device.torch_device, non_blocking=True)
        self._batch_weights = self._weights.index_select(0, self._indices)
        done = state.timestamp.batch_in_epoch.value + 1
        self._left_out = self._left_out_before + round(done * self._left_out_each)
        state.batches_left_out = self._left_out

    def begin(self, state: State, logger: Logger) -> None:
        """Begin with a batch's first sample.

        Raises:
            ValueError: another method cuts batches into several steps.
        """
        if state.steps_per_batch != 1:
            raise ConfigError(
                f"a batch is cut into {state.steps_per_batch} steps (BatchSizeSchedule), and "
                "InfoBatch weighs the samples of whole batches; use one of them"
            )
        self._begin(state)

    def _begin(self, state: State) -> None:
        self._found = []
        self._num_found = 0
        self._microbatch_size = state.device_train_microbatch_size

    def weigh(self, state: State, logger: Logger) -> None:
        """Replace the loss by one in which learnt samples count for those that were left out."""
        if state.device_train_microbatch_size != self._microbatch_size:
            # The batch ran out of memory and is done again in smaller parts.
            self._begin(state)
        device_type = state.device.torch_device.type
        with get_precision_context(state.precision, device_type=device_type):
            losses = sample_losses("InfoBatch", state)
        weights, count = self._batch_weights, losses.shape[0]
        if count != weights.shape[0]:
            weights = weights[self._num_found : self._num_found + count]
            check_sample_count("InfoBatch", weights.shape[0], count)
        self._num_found += count
        state.loss = (losses * weights).mean()
        self._found.append(losses.detach().float())

    def remember(self, state: State, logger: Logger) -> None:
        """Keep the batch's losses, of all ranks."""
        assert self._losses is not None
        indices, found = self._indices, self._found
        losses = found[0] if len(found) == 1 else torch.cat(found)
        check_sample_count("InfoBatch", indices.shape[0], losses.shape[0])
        if self._has_peers:
            indices = torch.cat(comm.all_gather(indices))
            losses = torch.cat(comm.all_gather(losses))
        self._losses.index_copy_(0, indices, losses)

    def state_dict(self) -> dict[str, Any]:
        """Return the arguments, each sample's last loss, and what the epoch leaves out."""
        return {
            **super().state_dict(),
            "losses": _copy(self._losses),
            "is_learnt": _copy(self._is_learnt),
            "left_out": [self._left_out_before, self._left_out],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state of :meth:`state_dict`."""
        self._losses, self._is_learnt = state.get("losses"), state.get("is_learnt")
        self._left_out_before, self._left_out = state.get("left_out", (0, 0))


def _copy(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.to("cpu", copy=True)


def _sampler_of(state: State) -> KeyedSampler:
    """Return the sampler that can leave samples out.

    Raises:
        ValueError: the loader has none.
    """
    sampler = getattr(state.dataloader, "sampler", None)
    if isinstance(sampler, KeyedSampler):
        return sampler
    raise ConfigError(
        "InfoBatch leaves samples out of epochs, and takes a loader that lets it: "
        "DataLoader(data, batch_size, sampler=composer.utils.dist.get_sampler(data, shuffle=True)) "
        f"or composer.data.DeviceImageLoader; got a {type(state.dataloader).__name__} with "
        f"sampler {type(sampler).__name__}"
    )


def _left_out_each(state: State, sampler: KeyedSampler) -> float:
    """Return how many batches the epoch leaves out for each that it has."""
    loader, whole = cast("Any", state.dataloader), state.dataloader_len
    if whole is None:
        return 0.0
    share = num_left(sampler, 0)
    length = share // loader.batch_size if loader.drop_last else -(-share // loader.batch_size)
    return whole.value / max(1, min(length, whole.value)) - 1
