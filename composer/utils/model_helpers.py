"""Small tools for models: number formats by name, evaluation mode, whether one is sharded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["STR_TO_DTYPE", "is_model_fsdp", "is_model_fsdp2", "model_eval_mode"]

STR_TO_DTYPE: dict[str, torch.dtype] = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}
"""The number formats that exports and configurations name by text."""


@contextmanager
def model_eval_mode(model: torch.nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode, and every module back in its own mode afterwards.

    Args:
        model: the model; modules that were in evaluation mode before (frozen batch norms) stay so.
    """
    was_training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        # Setting the flag touches each module alone; `train()` would also wake frozen children.
        for module in was_training:
            module.training = True


def is_model_fsdp2(model: torch.nn.Module) -> bool:
    """Return whether a model, or a module in it, is sharded with ``fully_shard``."""
    fsdp = sys.modules.get("torch.distributed.fsdp")
    # Nothing can be sharded before the module that shards is loaded, so do not load it to ask.
    if fsdp is None:
        return False
    return any(isinstance(module, fsdp.FSDPModule) for module in model.modules())


def is_model_fsdp(model: torch.nn.Module) -> bool:
    """Return whether a model is sharded; the same as :func:`is_model_fsdp2`, the only sharding."""
    return is_model_fsdp2(model)
