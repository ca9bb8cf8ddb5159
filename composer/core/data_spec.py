"""A dataloader together with what the trainer must know about its batches.

How many samples and tokens a batch has, how it is cut into microbatches, and how it is changed on
the way to the model. Everything that can be decided once is decided when the specification is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.data.distributed import DistributedSampler

from composer.core.split import count_samples, default_split_batch
from composer.core.types import Batch
from composer.distributed import comm
from composer.errors import ArgumentTypeError, ConfigError, unknown_name

__all__ = ["IGNORED_LABEL", "DataSpec", "ensure_data_spec"]

IGNORED_LABEL = -100
"""The label of tokens that make no loss, as in ``torch.nn.functional.cross_entropy``."""

_MAPPING: Any = Mapping  # Any, so that no cast is called for every batch
_NO_MAPPINGS: Any = (tuple, list, torch.Tensor)
_TOTAL = "total"
_LOSS_GENERATING = "loss_generating"

SplitFunction = Callable[[Batch, int | float], Sequence[Batch]]
TokenFunction = Callable[[Batch], int | dict[str, int]]


class DataSpec:
    """A dataloader and functions on its batches.

    Tokens are counted by kind. ``total`` are all tokens, padding included; ``loss_generating`` are
    those a loss is computed for, by which microbatches are weighted where they are known. Without
    a function of the user's,

    * ``total`` is the number of entries of the first two dimensions of ``batch['input_ids']``,
      else samples times ``dataset.max_seq_len``, else 0;
    * ``loss_generating`` is known where ``batch['labels']`` is a tensor of integers of shape
      (samples, tokens) in host memory: the number of labels that are not -100. (A causal model
      that shifts labels inside makes no loss for the first label of each sequence; give a function
      where that matters.)

    Args:
        dataloader: any iterable of batches.
        num_samples: samples in one epoch over all ranks; by default the length of the loader's
            data set, where it has one.
        num_tokens: tokens in one epoch over all ranks.
        batch_transforms: changes a whole batch in host memory, before it is counted and cut.
        microbatch_transforms: changes each microbatch on the device, before the model sees it.
        split_batch: cuts a batch into microbatches of a given size; by default
            :func:`~composer.core.split.default_split_batch`.
        get_num_samples_in_batch: counts the samples of a batch; by default the length that all its
            tensors and lists have.
        get_num_tokens_in_batch: counts the tokens of a batch: a number, or a dictionary with
            ``total`` and perhaps ``loss_generating`` and other kinds.

    The arguments are attributes of the same name; ``batch_transforms`` and
    ``microbatch_transforms`` stay ``None`` where nothing is to be changed.

    Raises:
        TypeError: the dataloader is not iterable, or a function is not callable.
        ValueError: the dataloader is being iterated over already, or every rank would get the same
            samples.
    """

    def __init__(
        self,
        dataloader: Iterable[Batch] | DataLoader[Any],
        num_samples: int | None = None,
        num_tokens: int | None = None,
        batch_transforms: Callable[[Batch], Batch] | None = None,
        microbatch_transforms: Callable[[Batch], Batch] | None = None,
        split_batch: SplitFunction | None = None,
        get_num_samples_in_batch: Callable[[Batch], int | float] | None = None,
        get_num_tokens_in_batch: TokenFunction | None = None,
    ) -> None:
        _check_iterable(dataloader)
        _check_callable("batch_transforms", batch_transforms)
        _check_callable("microbatch_transforms", microbatch_transforms)
        _check_callable("split_batch", split_batch)
        _check_callable("get_num_samples_in_batch", get_num_samples_in_batch)
        _check_callable("get_num_tokens_in_batch", get_num_tokens_in_batch)
        loader: Any = dataloader
        if isinstance(loader, DataLoader):
            _check_not_started(cast("Any", loader))
            _check_distributed(cast("Any", loader))

        self.dataloader: Iterable[Batch] = dataloader
        self.num_samples = _num_samples(dataloader) if num_samples is None else num_samples
        self.num_tokens = num_tokens
        self.batch_transforms = batch_transforms
        self.microbatch_transforms = microbatch_transforms
        self.split_batch = split_batch or default_split_batch
        self.get_num_samples_in_batch = get_num_samples_in_batch or count_samples
        self._count_tokens = get_num_tokens_in_batch
        # Whether the user counts tokens himself.
        self.counts_tokens = get_num_tokens_in_batch is not None
        dataset = getattr(cast("Any", loader), "dataset", None)
        has_length = getattr(dataset, "max_seq_len", None) is not None
        self._dataset_of_tokens: Any = dataset if has_length else None

    def get_num_tokens_in_batch(self, batch: Batch, token_type: str = _TOTAL) -> int:
        """Return the number of tokens of one kind.

        Args:
            batch: the batch, in host memory.
            token_type: ``'total'``, ``'loss_generating'``, or another kind that the user's function
                counts. A function that returns a plain number answers every kind with it.

        Raises:
            ValueError: tokens of this kind are not counted.
        """
        if self._count_tokens is None:
            if token_type == _TOTAL:
                return self._num_tokens(batch)
            loss_generating = self.loss_generating_tokens(batch)
            counts = {} if loss_generating is None else {_LOSS_GENERATING: loss_generating}
        else:
            counts = self._count_tokens(batch)
            if not isinstance(counts, Mapping):
                return counts
        if token_type not in counts:
            raise unknown_name("token type of this batch", token_type, {*counts, _TOTAL})
        return counts[token_type]

    def loss_generating_tokens(self, batch: Batch) -> int | None:
        """Return the number of tokens a loss is computed for; ``None`` where it is not known.

        Args:
            batch: the batch or microbatch, in host memory.
        """
        if self._count_tokens is not None:
            counts = self._count_tokens(batch)
            return counts.get(_LOSS_GENERATING) if isinstance(counts, Mapping) else None
        labels = _labels_of_tokens(batch)
        if labels is None:
            return None
        return int(np.count_nonzero(labels.numpy() != IGNORED_LABEL))

    def _num_tokens(self, batch: Batch) -> int:
        ids = _entry(batch, "input_ids")
        if ids is not None:
            return math.prod(ids.shape[:2])
        if self._dataset_of_tokens is None:
            return 0
        return int(self._dataset_of_tokens.max_seq_len * self.get_num_samples_in_batch(batch))

    def __repr__(self) -> str:
        return f"DataSpec({self.dataloader!r}, num_samples={self.num_samples})"


def ensure_data_spec(dataloader: DataSpec | Iterable[Batch] | dict[str, Any]) -> DataSpec:
    """Return a specification for a dataloader.

    Args:
        dataloader: a :class:`DataSpec`, which is returned as it is; a dictionary of its arguments;
            or any iterable of batches.

    Raises:
        ValueError: a dictionary without ``dataloader`` or with an unknown key.
    """
    if isinstance(dataloader, DataSpec):
        return dataloader
    if not isinstance(dataloader, dict):
        return DataSpec(dataloader)
    dataloader = cast("dict[str, Any]", dataloader)
    for name in dataloader:
        if name not in _ARGUMENTS:
            raise unknown_name("argument of DataSpec", name, _ARGUMENTS)
    if "dataloader" not in dataloader:
        raise ConfigError(
            "a dictionary in place of a dataloader holds the arguments of DataSpec; "
            f"'dataloader' is missing from {sorted(dataloader)}"
        )
    return DataSpec(**dataloader)


_ARGUMENTS = (
    "dataloader",
    "num_samples",
    "num_tokens",
    "batch_transforms",
    "microbatch_transforms",
    "split_batch",
    "get_num_samples_in_batch",
    "get_num_tokens_in_batch",
)


def _entry(batch: Batch, name: str) -> Any:
    """Return an entry of a batch that is a mapping and has it; ``None`` otherwise."""
    # Pairs are the usual form, and asking whether one is a mapping takes longest.
    if isinstance(batch, _NO_MAPPINGS):
        return None
    return batch.get(name) if isinstance(batch, _MAPPING) else None


def _labels_of_tokens(batch: Batch) -> torch.Tensor | None:
    """Return labels of shape (samples, tokens), where the batch has some in host memory."""
    labels = _entry(batch, "labels")
    if not isinstance(labels, torch.Tensor) or labels.dim() != 2:
        return None
    # Labels on a device are not counted: that would make the host wait for the device.
    if labels.device.type != "cpu" or labels.is_floating_point() or labels.dtype == torch.bool:
        return None
    return labels


def _num_samples(dataloader: Any) -> int | None:
    dataset = getattr(dataloader, "dataset", None)
    try:
        return None if dataset is None else len(dataset)
    except (TypeError, NotImplementedError):
        return None


def _check_iterable(dataloader: Any) -> None:
    if not hasattr(dataloader, "__iter__") and not hasattr(dataloader, "__getitem__"):
        raise ArgumentTypeError(
            f"a dataloader is an iterable of batches, a DataSpec, or a dictionary of the arguments "
            f"of DataSpec, got {dataloader!r}"
        )


def _check_callable(name: str, function: Any) -> None:
    if function is not None and not callable(function):
        raise ArgumentTypeError(f"{name} must be a function, got {function!r}")


def _check_not_started(dataloader: Any) -> None:
    if getattr(dataloader, "_iterator", None) is not None:
        raise ConfigError(
            "the dataloader is being iterated over already (persistent workers keep the iterator "
            "of the last loop); give a dataloader nothing has been drawn from"
        )


def _check_distributed(dataloader: Any) -> None:
    world_size = comm.get_world_size()
    if world_size == 1 or isinstance(dataloader.dataset, IterableDataset):
        return
    samplers = (dataloader.sampler, dataloader.batch_sampler)
    # Samplers of other libraries that share out samples say so in the same attribute.
    if any(isinstance(s, DistributedSampler) or hasattr(s, "num_replicas") for s in samplers):
        return
    raise ConfigError(
        f"all {world_size} ranks would train on the same samples: the dataloader has no "
        "DistributedSampler. Use DataLoader(..., sampler=composer.utils.dist.get_sampler(dataset))."
    )
