"""What a checkpoint says about the run that wrote it, for people and other libraries."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from composer.distributed import comm
from composer.utils.collect_env import get_composer_env_dict

if TYPE_CHECKING:
    from composer.core.state import State

__all__ = ["environment_to_dict", "integrations_to_dict", "is_foreign", "metadata_to_dict"]


def integrations_to_dict(model: torch.nn.Module) -> dict[str, Any]:
    """Return what a model says other libraries need to rebuild it.

    A model says so through a method ``checkpoint_integrations() -> dict``, for instance
    ``{"huggingface": {...}}``.
    """
    describe: Callable[[], dict[str, Any]] | None
    describe = getattr(model, "checkpoint_integrations", None)
    return {} if describe is None else describe()


def metadata_to_dict(state: State) -> dict[str, Any]:
    """Return facts about the run; only the microbatch size is ever read back."""
    metadata: dict[str, Any] = {
        "composer_env_info": environment_to_dict(),
        "torch_version": str(torch.__version__),
        "device": state.device.name,
        "precision": state.precision.value,
        "world_size": comm.get_world_size(),
        "device_train_microbatch_size": state.device_train_microbatch_size,
    }
    batch_size = getattr(state.train_dataloader, "batch_size", None)
    if batch_size is not None:
        metadata["train_dataloader_batch_size"] = batch_size
    return metadata


def is_foreign(state_dict: Mapping[str, Any]) -> bool:
    """Return whether a saved state says that MosaicML Composer wrote it, whose versions are 0.x."""
    facts = state_dict.get("metadata", {}).get("composer_env_info", {})
    return str(facts.get("composer_version", "")).startswith("0.")


def environment_to_dict() -> dict[str, Any]:
    """Return versions and hardware."""
    return dict(_environment())


@functools.cache
def _environment() -> dict[str, Any]:
    # Asks git, which takes longer than writing a small checkpoint: once per process is enough.
    return get_composer_env_dict()
