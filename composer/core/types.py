"""Names for the types that everything speaks of."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch.utils.data

from composer.utils.string_enum import StringEnum

__all__ = ["JSON", "Batch", "Dataset", "MemoryFormat", "TrainerMode"]

Batch: TypeAlias = Any
"""What a dataloader yields: a tensor, a tuple, a list, a mapping, or an object of the user's."""

Dataset: TypeAlias = torch.utils.data.Dataset[Any]
"""A data set of which a dataloader makes batches."""

JSON: TypeAlias = str | int | float | bool | list["JSON"] | dict[str, "JSON"] | None
"""A value that JSON can hold."""


class TrainerMode(StringEnum):
    """What the trainer is doing."""

    TRAIN = "train"
    EVAL = "eval"
    PREDICT = "predict"


class MemoryFormat(StringEnum):
    """How a tensor lies in memory; the names are those of ``torch.memory_format``.

    Attributes:
        CONTIGUOUS_FORMAT: the last dimension is next to itself in memory.
        CHANNELS_LAST: images as (N, H, W, C), which convolutions on GPUs prefer.
        CHANNELS_LAST_3D: volumes as (N, D, H, W, C).
        PRESERVE_FORMAT: as the input lies.
    """

    CONTIGUOUS_FORMAT = "contiguous_format"
    CHANNELS_LAST = "channels_last"
    CHANNELS_LAST_3D = "channels_last_3d"
    PRESERVE_FORMAT = "preserve_format"
