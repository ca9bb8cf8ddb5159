"""Count the samples of a batch and cut it into microbatches, for batches of the usual forms.

A batch is a tensor, or a structure of *columns* that have one entry per sample: tensors, arrays,
lists, and mappings or tuples of those. Numbers, text, ``None`` and tensors without dimensions are
the same for all samples and are repeated. Anything else needs functions of the user's in a
:class:`~composer.core.data_spec.DataSpec`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor

from composer.errors import BatchSplitError, ConfigError

__all__ = ["count_samples", "default_split_batch"]

_ADVICE = "Give a DataSpec with split_batch and get_num_samples_in_batch functions of your own."
# Declared as Any: these checks run for every batch, and must narrow nothing that needs a cast.
_PAIRS: Any = (tuple, list)
_DICT: Any = dict
_CONSTANTS = (str, bytes, int, float, complex, type(None))


def count_samples(batch: Any) -> int:
    """Return the number of samples in a batch: the length all its columns have.

    Args:
        batch: a tensor of shape (N, ...), a list or tuple of columns, a mapping of columns, or a
            list of numbers or texts.

    Raises:
        NotImplementedError: (also a ``ValueError``) columns of different lengths, or something
            that has no samples.
    """
    # The two usual forms first; this runs for every batch.
    num_samples = 0
    try:
        if isinstance(batch, _PAIRS):
            num_samples = _count_pair(batch)
        elif isinstance(batch, _DICT):
            num_samples = _count_tensors(batch)
    except IndexError:
        # A tensor without dimensions has no shape[0]; it is the same for all samples.
        pass
    return num_samples or _count_columns(batch)


def default_split_batch(batch: Any, microbatch_size: int | float) -> Sequence[Any]:
    """Cut a batch into microbatches.

    Tensors are views of the batch's. Mappings become dictionaries, lists of columns become tuples;
    named tuples keep their type. A batch that is not larger is returned as it is.

    Args:
        batch: as in :func:`count_samples`.
        microbatch_size: samples per microbatch, at least 1; the last one may be smaller.

    Raises:
        ValueError: the size is not a whole number of at least 1.
        NotImplementedError: the batch is of no form that can be cut, or can be read in two ways.
    """
    if not isinstance(microbatch_size, int) or microbatch_size < 1:
        raise ConfigError(
            f"microbatch size {microbatch_size!r}: samples are cut in whole numbers from 1 on; "
            "other sizes need a DataSpec with a split_batch function"
        )
    num_samples = count_samples(batch)
    if num_samples <= microbatch_size:
        return [batch]
    return _Cutter(num_samples, microbatch_size).cut_batch(batch)


def _count_pair(batch: Sequence[Any]) -> int:
    """Return the common length of two tensors, 0 for anything else."""
    if len(batch) != 2:
        return 0
    inputs, targets = batch
    if not (isinstance(inputs, Tensor) and isinstance(targets, Tensor)):
        return 0
    num_samples = inputs.shape[0]
    return num_samples if num_samples == targets.shape[0] else 0


def _count_tensors(batch: dict[Any, Any]) -> int:
    """Return the common length of a dictionary of tensors, 0 for anything else."""
    num_samples = 0
    for value in batch.values():
        if not isinstance(value, Tensor):
            return 0
        size = value.shape[0]
        if num_samples not in (0, size):
            return 0
        num_samples = size
    return num_samples


def _count_columns(batch: Any) -> int:
    sizes = _sizes_of_batch(batch)
    if not sizes:
        raise BatchSplitError(
            f"the number of samples in {_describe(batch)} is not clear: no length is common to all "
            f"its columns. {_ADVICE}"
        )
    if len(sizes) > 1:
        raise BatchSplitError(
            f"{_describe(batch)} may have {' or '.join(map(str, sorted(sizes)))} samples: its "
            f"lists of tensors can be read as columns or as samples. {_ADVICE}"
        )
    return next(iter(sizes))


def _sizes_of_batch(batch: Any) -> set[int]:
    if _is_sequence(batch):
        if all(_is_constant(item) for item in batch):
            is_uniform = all(type(item) is type(batch[0]) for item in batch)
            return {len(batch)} if is_uniform else set()
        return _common_sizes(batch) or set()
    return _sizes(batch) or set()


def _sizes(column: Any) -> set[int] | None:
    """Return the lengths a column may have; ``None`` where it is the same for all samples."""
    if _is_constant(column):
        return None
    if _is_array(column):
        return {int(column.shape[0])}
    if _is_mapping(column):
        return _common_sizes(column.values())
    if _is_sequence(column):
        nested = _common_sizes(column) if _is_columns(column) else None
        return {len(column), *(nested or ())}
    raise BatchSplitError(f"a {type(column).__name__} in a batch has no samples. {_ADVICE}")


def _common_sizes(columns: Iterable[Any]) -> set[int] | None:
    found = [sizes for column in columns if (sizes := _sizes(column)) is not None]
    if not found:
        return None
    first, *others = found
    return first.intersection(*others)


def _is_sequence(value: Any) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    return isinstance(value, list | tuple)


def _is_mapping(value: Any) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping)


def _is_constant(value: Any) -> bool:
    return isinstance(value, _CONSTANTS) or (hasattr(value, "shape") and len(value.shape) == 0)


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor) or hasattr(value, "shape")


def _is_columns(values: Sequence[Any]) -> bool:
    return len(values) > 0 and all(_is_array(value) and len(value.shape) > 0 for value in values)


def _describe(batch: Any) -> str:
    if _is_mapping(batch):
        inside = ", ".join(f"{key!r}: {_describe_column(value)}" for key, value in batch.items())
        return f"a batch {{{inside}}}"
    if _is_sequence(batch):
        more = ", ..." if len(batch) > 8 else ""
        return f"a batch ({', '.join(map(_describe_column, batch[:8]))}{more})"
    return f"a batch that is a {_describe_column(batch)}"


def _describe_column(column: Any) -> str:
    if _is_array(column):
        return f"{type(column).__name__}{list(column.shape)}"
    if _is_sequence(column) or _is_mapping(column):
        return f"{type(column).__name__} of {len(column)}"
    return type(column).__name__


class _Cutter:
    """Cuts the columns of one batch."""

    def __init__(self, num_samples: int, size: int) -> None:
        self._num_samples = num_samples
        self._size = size
        self._starts = range(0, num_samples, size)
        self._sizes = [min(size, num_samples - start) for start in self._starts]

    def cut_batch(self, batch: Any) -> Sequence[Any]:
        """Cut a whole batch; a list or tuple is one of columns, unless it holds plain values."""
        if _is_sequence(batch) and not all(_is_constant(item) for item in batch):
            return self._cut_columns(batch)
        return self._cut(batch)

    def _cut(self, column: Any) -> Sequence[Any]:
        if isinstance(column, Tensor) and column.dim() > 0:
            # A third of the time of `split`, which ends in the same kernel.
            return torch.split_with_sizes(column, self._sizes)
        if _is_mapping(column):
            return self._cut_mapping(column)
        if _is_sequence(column):
            return self._cut_list(column)
        if _is_constant(column):
            return [column] * len(self._starts)
        return self._slices(column)

    def _cut_mapping(self, columns: Mapping[Any, Any]) -> Sequence[Any]:
        cut = [self._cut(column) for column in columns.values()]
        return [dict(zip(columns, values, strict=True)) for values in zip(*cut, strict=True)]

    def _cut_columns(self, columns: Sequence[Any]) -> Sequence[Any]:
        make = getattr(type(columns), "_make", tuple)
        return [make(values) for values in zip(*map(self._cut, columns), strict=True)]

    def _cut_list(self, values: Sequence[Any]) -> Sequence[Any]:
        are_samples = len(values) == self._num_samples
        are_columns = _is_columns(values) and all(
            value.shape[0] == self._num_samples for value in values
        )
        if are_samples and are_columns:
            raise BatchSplitError(
                f"{len(values)} tensors with {self._num_samples} entries each can be read as "
                f"columns or as samples. {_ADVICE}"
            )
        return self._cut_columns(values) if are_columns else self._slices(values)

    def _slices(self, values: Any) -> Sequence[Any]:
        return [values[start : start + self._size] for start in self._starts]
