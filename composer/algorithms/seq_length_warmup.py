"""Sequence length warmup: begin with short sequences and let them grow.

Paper: Li, Zhang, He, "The Stability-Efficiency Dilemma: Investigating Sequence Length Warmup for
Training GPT Models", 2021, arXiv:2108.06084.

Idea: early steps on long sequences have gradients of large variance, which makes large language
models diverge. Sequences that grow from short to full length in the first part of training allow
larger batches and learning rates, and early steps cost less.

When it helps: language models trained from scratch with large batches or rates. When it hurts:
truncation leaves tokens unused, so compare at equal tokens; data with little in the first tokens;
each new length makes a compiled model compile again, so let ``step_size`` be large there.

Suggested values: ``duration=0.3``, ``min_seq_length`` 8 to 64, ``step_size`` a multiple of 8 for
tensor cores. ``truncate=False`` uses all tokens, as more and shorter sequences.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from composer.algorithms._checks import check_flags, check_number, check_whole
from composer.algorithms._run_length import total_batches
from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.precision import get_precision_context
from composer.core.split import default_split_batch
from composer.core.state import State
from composer.errors import ConfigError, DataError
from composer.utils.iter_helpers import ensure_tuple

__all__ = ["SeqLengthWarmup", "set_batch_sequence_length"]

_MASK = "attention_mask"


def set_batch_sequence_length(
    batch: Mapping[str, Any],
    curr_seq_len: int,
    truncate: bool = True,
    preserve_end_of_sequence: bool = False,
) -> dict[str, Any]:
    """Return a batch of shorter sequences.

    Entries of shape (B, L, ...) are shortened, where (B, L) is the shape of ``input_ids``, or of
    the first tensor of two dimensions where there are none. Other entries stay as they are.

    Args:
        batch: the batch; it is not changed.
        curr_seq_len: the new length, >= 1; a batch that is not longer is returned as it is.
        truncate: whether to leave tokens out at the end; else sequences are cut into more and
            shorter ones, and only what does not fill the last one is left out.
        preserve_end_of_sequence: when truncating, keep each sequence's last token, as
            ``attention_mask`` has it, at the end of what is left.

    Raises:
        ValueError: not a mapping, no sequences in it, no ``attention_mask`` to find the ends, or,
            when cutting, an entry with one value for each sequence.

    Example:
        >>> ids = torch.arange(8).view(1, 8)
        >>> set_batch_sequence_length({"input_ids": ids}, 4, truncate=False)["input_ids"]
        tensor([[0, 1, 2, 3],
                [4, 5, 6, 7]])
    """
    check_whole("curr_seq_len", curr_seq_len, 1)
    shape = _shape(batch)
    if curr_seq_len >= shape[1]:
        return dict(batch)
    if truncate:
        ends = _ends(batch) if preserve_end_of_sequence else None
        return _mapped(batch, shape, lambda value: _truncated(value, curr_seq_len, ends))
    _check_can_be_cut(batch, shape)
    number = shape[0] * shape[1] // curr_seq_len

    def cut(value: Tensor) -> Tensor:
        flat = value.reshape(-1, *value.shape[2:])
        return flat[: number * curr_seq_len].view(number, curr_seq_len, *value.shape[2:])

    return _mapped(batch, shape, cut)


def _shape(batch: Any) -> tuple[int, int]:
    """Return the number and length of a batch's sequences."""
    if not isinstance(batch, Mapping):
        raise DataError(
            "sequence length warmup shortens the entries of batches that are mappings, got a "
            f"{type(batch).__name__}; let the dataloader give e.g. {{'input_ids': ...}}"
        )
    values = [batch["input_ids"]] if "input_ids" in batch else list(batch.values())
    shapes = [each.shape for each in values if isinstance(each, Tensor) and each.ndim == 2]
    if not shapes:
        raise DataError(
            f"the batch has no tensor of shape (sequences, tokens): it has {sorted(batch)}"
        )
    return int(shapes[0][0]), int(shapes[0][1])


def _mapped(batch: Mapping[str, Any], shape: tuple[int, int], change: Any) -> dict[str, Any]:
    def is_sequence(value: Any) -> bool:
        return isinstance(value, Tensor) and tuple(value.shape[:2]) == shape

    return {name: change(v) if is_sequence(v) else v for name, v in batch.items()}


def _truncated(value: Tensor, length: int, ends: Tensor | None) -> Tensor:
    short = value[:, :length]
    if ends is None:
        return short
    # Sequences that end within what is left keep their end anyway.
    rows = torch.arange(len(value), device=value.device)
    last = value[rows, ends.to(value.device)]
    is_longer = (ends >= length).to(value.device).view(-1, *(1,) * (last.ndim - 1))
    return torch.cat([short[:, :-1], torch.where(is_longer, last, short[:, -1])[:, None]], dim=1)


def _ends(batch: Mapping[str, Any]) -> Tensor:
    """Return the position of each sequence's last token."""
    mask = batch.get(_MASK)
    if not isinstance(mask, Tensor):
        raise DataError(
            "preserve_end_of_sequence=True needs an 'attention_mask' to find the ends; the batch "
            f"has {sorted(batch)}"
        )
    positions = torch.arange(mask.shape[1], device=mask.device)
    return (mask.bool() * positions).amax(dim=1)


def _check_can_be_cut(batch: Mapping[str, Any], shape: tuple[int, int]) -> None:
    for name, value in batch.items():
        if isinstance(value, Tensor) and value.ndim and len(value) == shape[0]:
            if tuple(value.shape[:2]) == shape:
                continue
            raise DataError(
                f"{name!r} of shape {tuple(value.shape)} belongs to whole sequences, which "
                "truncate=False cuts into several; use truncate=True"
            )


class SeqLengthWarmup(Algorithm):
    """Shorten batches early in training; see :func:`set_batch_sequence_length`.

    The length grows by ``step_size`` at equal distances, from ``min_seq_length`` at the start to
    ``max_seq_length`` after ``duration`` of training, and stays there. Works on batches that are
    mappings, whatever the model. On an accelerator the first batch is preceded by a pass at full
    length, so that memory is laid out for the longest sequences from the start. Logs
    ``seq_length_warmup/curr_seq_len`` (tokens) and ``seq_length_warmup/curr_bs`` (sequences).

    Args:
        duration: share of training in which sequences grow, in [0, 1].
        min_seq_length: tokens at the start, >= 1.
        max_seq_length: tokens in the end, >= ``min_seq_length``.
        step_size: tokens by which the length grows, >= 1.
        truncate: whether tokens are left out; else sequences are cut into more of them.
        preserve_end_of_sequence: whether a truncated sequence keeps its last token.

    Raises:
        ValueError: an argument is out of range.

    Source:
        Li et al. 2021, section 4, with a length that grows linearly in steps.
    """

    events: Mapping[Event, str] = {
        Event.FIT_START: "plan",
        Event.AFTER_DATALOADER: "shorten",
    }
    writes = ("batch",)

    def __init__(
        self,
        duration: float = 0.3,
        min_seq_length: int = 8,
        max_seq_length: int = 1024,
        step_size: int = 8,
        truncate: bool = True,
        preserve_end_of_sequence: bool = False,
    ) -> None:
        check_number("duration", duration, 0, 1)
        check_whole("min_seq_length", min_seq_length, 1)
        check_whole("max_seq_length", max_seq_length, 1)
        check_whole("step_size", step_size, 1)
        check_flags(truncate=truncate, preserve_end_of_sequence=preserve_end_of_sequence)
        if max_seq_length < min_seq_length:
            raise ConfigError(
                f"max_seq_length={max_seq_length!r} is less than min_seq_length={min_seq_length!r}"
            )
        if preserve_end_of_sequence and not truncate:
            raise ConfigError(
                "preserve_end_of_sequence=True works with truncate=True only: cutting keeps all "
                "tokens"
            )
        self.duration = duration
        self.min_seq_length = min_seq_length
        self.max_seq_length = max_seq_length
        self.step_size = step_size
        self.truncate = truncate
        self.preserve_end_of_sequence = preserve_end_of_sequence
        self._num_warmup = 0
        self._has_reserved = False

    def plan(self, state: State, logger: Logger) -> None:
        """Work out how many batches the warmup has."""
        self._num_warmup = int(self.duration * total_batches(self, state))
        self._has_reserved = False

    def length_at(self, batch: int) -> int:
        """Return the length of sequences in a batch.

        Args:
            batch: its number, from 0.
        """
        num_steps = (self.max_seq_length - self.min_seq_length) // self.step_size
        if batch >= self._num_warmup or num_steps == 0:
            return self.max_seq_length
        if num_steps <= self._num_warmup:
            step = batch // (self._num_warmup // num_steps)
        else:
            # Fewer batches than steps: several at a time.
            step = batch * num_steps // self._num_warmup
        grown = self.min_seq_length + self.step_size * step
        return min(grown, self.max_seq_length)

    def shorten(self, state: State, logger: Logger) -> None:
        """Shorten the batch to the length that is due."""
        length = self.length_at(state.timestamp.batch.value)
        if not self._has_reserved:
            self._has_reserved = True
            if length < self.max_seq_length and state.device.torch_device.type != "cpu":
                self.reserve_memory(state)
        state.batch = batch = set_batch_sequence_length(
            state.batch, length, self.truncate, self.preserve_end_of_sequence
        )
        if logger.listens_to_metrics:
            size, length = _shape(batch)
            logger.log_metrics(
                {
                    "seq_length_warmup/curr_seq_len": length,
                    "seq_length_warmup/curr_bs": size,
                }
            )

    def reserve_memory(self, state: State) -> None:
        """Run the first microbatch at full length, and leave no trace of it but the memory.

        Otherwise the allocator would be asked for larger pieces with each new length.

        Args:
            state: the run's state, with a whole batch.
        """
        size = state.device_train_microbatch_size
        part = state.batch if size is None else default_split_batch(state.batch, size)[0]
        part = state.device.batch_to_device(
            set_batch_sequence_length(part, self.max_seq_length, truncate=True)
        )
        device = state.device.torch_device
        buffers = [(buffer, buffer.clone()) for buffer in state.model.buffers()]
        autocast = get_precision_context(state.precision, device_type=device.type)
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            try:
                with autocast:
                    loss = state.model.loss(state.model(part), part)
                torch.stack([each.float() for each in ensure_tuple(loss)]).sum().backward()
            except torch.OutOfMemoryError:
                # Automatic microbatching finds a smaller size when the batch itself comes.
                if not state.auto_microbatching:
                    raise
        for optimizer in state.optimizers:
            optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for buffer, kept in buffers:
                buffer.copy_(kept)
