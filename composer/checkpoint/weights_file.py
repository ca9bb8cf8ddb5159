"""A model's weights as a safetensors file, which other programs and languages read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch

from composer.checkpoint.commit import PendingCheckpoint
from composer.errors import CheckpointError
from composer.utils.import_helpers import import_extra

__all__ = ["check_can_write_weights", "save_weights", "weights_name", "write_weights"]


def check_can_write_weights() -> None:
    """Refuse to go on without the package.

    Raises:
        ImportError: ``safetensors`` is not installed.
    """
    import_extra("safetensors.torch", "safetensors")


def weights_name(checkpoint_name: str) -> str:
    """Return the name of the weights that belong to a checkpoint: ``ep1.safetensors``."""
    folder, name = os.path.split(checkpoint_name)
    stem = name.partition(".pt")[0] if ".pt" in name else os.path.splitext(name)[0]
    return os.path.join(folder, f"{stem}.safetensors")


def write_weights(weights: Mapping[str, Any], pending: PendingCheckpoint, name: str) -> None:
    """Write weights as one file of a pending checkpoint.

    Args:
        weights: a model's state dict.
        pending: what it is to be part of.
        name: the file's path in the folder of checkpoints.
    """
    with pending.path(name) as path:
        save_weights(weights, path)


def save_weights(weights: Mapping[str, Any], path: str) -> None:
    """Write weights to a file.

    A tensor that stands under two names, as tied weights do, is written under each, because the
    format knows no sharing.

    Args:
        weights: a model's state dict.
        path: the file.

    Raises:
        RuntimeError: an entry is no tensor.
        ImportError: ``safetensors`` is not installed.
    """
    save_file = import_extra("safetensors.torch", "safetensors").save_file
    seen: set[int] = set()
    separate: dict[str, torch.Tensor] = {}
    for name, tensor in weights.items():
        if not isinstance(tensor, torch.Tensor):
            raise CheckpointError(
                f"{name!r} of the model is a {type(tensor).__name__}; a safetensors file holds "
                "tensors only"
            )
        storage = tensor.untyped_storage().data_ptr()
        is_shared = storage in seen or tensor.nbytes < tensor.untyped_storage().nbytes()
        seen.add(storage)
        weight = tensor.detach().cpu()
        separate[name] = weight.clone().contiguous() if is_shared else weight.contiguous()
    save_file(separate, path, {"format": "pt"})
