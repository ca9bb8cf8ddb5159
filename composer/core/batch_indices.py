"""Which samples of the data set the batch is made of that is trained on now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from composer.core.index_cursor import cursor_of, why_not_by_index
from composer.errors import DataError

if TYPE_CHECKING:
    from composer.core.state import State

__all__ = ["batch_indices", "check_batch_indices"]


def batch_indices(state: State) -> Tensor:
    """Return the indices of the current batch's samples in the data set of the training loader.

    They are known of loaders that read a data set by index, whatever their sampler and their
    workers, and of those that have them as an attribute ``indices``. Call it from AFTER_DATALOADER
    to AFTER_TRAIN_BATCH, before the timestamp moves on.

    Returns:
        int64, shape (N,), in host memory.

    Raises:
        ValueError: the loader does not say, or its indices are no whole numbers.
    """
    loader: Any = state.dataloader
    found: Any = getattr(loader, "indices", None)
    if isinstance(found, Tensor):
        return found
    cursor = cursor_of(loader)
    number = state.timestamp.batch_in_epoch.value + 1
    found = None if cursor is None else cursor.indices(number)
    if found is None:
        raise _unknown(why_not_by_index(loader) or "its epoch was not opened by a Trainer")
    try:
        return torch.tensor(found, dtype=torch.int64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"samples are named by {found[:1]!r} in this loader; whole numbers are needed"
        ) from error


def check_batch_indices(loader: Any) -> None:
    """Refuse a loader that does not say which samples its batches are made of.

    Args:
        loader: the training loader.

    Raises:
        ValueError: with the reason.
    """
    reason = why_not_by_index(loader)
    if reason is not None and not isinstance(getattr(loader, "indices", None), Tensor):
        raise _unknown(reason)


def _unknown(reason: str) -> DataError:
    return DataError(
        f"which samples a batch is made of cannot be known: {reason}. Use a DataLoader over a data "
        "set that is read by index, or a loader with an attribute 'indices', a tensor of the "
        "indices of the batch that it gave last"
    )
