"""Images, masks and tables as W&B's own objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from composer.loggers._images import to_arrays_and_masks
from composer.loggers._plain import plain
from composer.loggers._tables import check_is_even

__all__ = ["to_images", "to_table"]


def to_images(
    wandb: Any,
    images: Any,
    channels_last: bool,
    masks: Mapping[str, Any] | None,
    mask_class_labels: Mapping[int, str] | None,
) -> list[Any]:
    """Return a ``wandb.Image`` for each image, with its masks.

    Raises:
        ValueError: an image or mask of a wrong shape.
    """
    arrays, by_name = to_arrays_and_masks(images, channels_last, masks)
    labels = {"class_labels": dict(mask_class_labels)} if mask_class_labels else {}
    found: list[Any] = []
    for index, array in enumerate(arrays):
        drawn = {name: {"mask_data": each[index], **labels} for name, each in by_name.items()}
        # One channel is shown as grey.
        shown = array[..., 0] if array.shape[-1] == 1 else array
        found.append(wandb.Image(shown, masks=drawn or None))
    return found


def to_table(wandb: Any, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Any:
    """Return a ``wandb.Table``; cells that are objects of W&B stay what they are.

    Raises:
        ValueError: a row that is not as long as ``columns``.
    """
    check_is_even(columns, rows)
    value_class = wandb.sdk.data_types.base_types.wb_value.WBValue
    cells = [[c if isinstance(c, value_class) else plain(c) for c in row] for row in rows]
    return wandb.Table(columns=list(columns), data=cells, allow_mixed_types=True)
