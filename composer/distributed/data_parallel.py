"""Data parallel training: the whole model on each rank, gradients averaged over ranks.

This wraps torch's ``DistributedDataParallel`` (Li et al. 2020, arXiv:2006.15704) and decides when
it averages while a batch is split into microbatches. `composer.distributed.plan` calls it.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from composer.distributed import comm
from composer.utils.string_enum import StringEnum

__all__ = [
    "DDPSyncStrategy",
    "average_gradients",
    "ddp_sync_context",
    "microbatch_context",
    "prepare_ddp_module",
]

NOTHING: AbstractContextManager[None] = nullcontext()
"""One object for all the times when nothing is to be done; entering it twice is harmless."""

_BUCKET_BYTES = 25 * 2**20


class DDPSyncStrategy(StringEnum):
    """When gradients are averaged over ranks while a batch consists of several microbatches.

    Attributes:
        SINGLE_AUTO_SYNC: during the backward pass of the last microbatch: the least communication.
        MULTI_AUTO_SYNC: during each backward pass; needed when a rank may leave parameters unused
            in the last microbatch only.
        FORCED_SYNC: by hand after the last backward pass: slower, and right whatever each rank
            used.
    """

    SINGLE_AUTO_SYNC = "single_auto_sync"
    MULTI_AUTO_SYNC = "multi_auto_sync"
    FORCED_SYNC = "forced_sync"


class _HasModel(Protocol):
    model: nn.Module


def prepare_ddp_module(module: nn.Module, find_unused_parameters: bool) -> nn.Module:
    """Wrap a module so that its gradients are averaged over ranks.

    All ranks must call this; rank 0's parameters and buffers are copied to the others.

    Args:
        module: the module, on its device.
        find_unused_parameters: look in each pass for parameters that took no part; slower, and
            needed only if there can be some.

    Returns:
        The wrapped module; the module itself with one process or if no parameter needs gradients.
    """
    if comm.is_alone("prepare_ddp_module"):
        return module
    if not any(parameter.requires_grad for parameter in module.parameters()):
        return module
    return DistributedDataParallel(
        module,
        find_unused_parameters=find_unused_parameters,
        # Gradients lie in the buffers that are sent: no copy, and no second set of gradients.
        gradient_as_bucket_view=True,
    )


@contextmanager
def ddp_sync_context(
    state: nn.Module | _HasModel,
    is_final_microbatch: bool,
    sync_strategy: str | DDPSyncStrategy,
) -> Generator[None]:
    """Surround the forward and backward pass of one microbatch.

    Args:
        state: the model, or an object that has it as ``model``.
        is_final_microbatch: whether it is the last of its batch.
        sync_strategy: when gradients are averaged.
    """
    strategy = DDPSyncStrategy(sync_strategy)
    model = state if isinstance(state, nn.Module) else state.model
    with microbatch_context(model, is_final_microbatch, strategy):
        yield
    if strategy is DDPSyncStrategy.FORCED_SYNC and is_final_microbatch:
        average_gradients(model.parameters())


def microbatch_context(
    model: nn.Module, is_last: bool, strategy: DDPSyncStrategy
) -> AbstractContextManager[None]:
    """Choose the context for one microbatch; with `FORCED_SYNC`, `average_gradients` must follow.

    Args:
        model: the model, wrapped or not.
        is_last: whether the microbatch is the last of its batch.
        strategy: when gradients are averaged.

    Returns:
        ``no_sync`` of the wrapper, or a context that does nothing.
    """
    if not isinstance(model, DistributedDataParallel):
        return NOTHING
    if strategy is DDPSyncStrategy.MULTI_AUTO_SYNC:
        return NOTHING
    if strategy is DDPSyncStrategy.SINGLE_AUTO_SYNC and is_last:
        return NOTHING
    return model.no_sync()


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average gradients over ranks, by hand; all ranks must call this with the same parameters.

    Ranks need not have used the same parameters: a rank that lacks a gradient counts as zero, and
    a parameter that no rank used keeps none.

    Args:
        parameters: those of the model, in the same order on all ranks.
    """
    if comm.is_alone("average_gradients"):
        return
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    used = comm.all_reduce_counts([parameter.grad is not None for parameter in trained], "MAX")
    gradients = [
        _gradient_or_zero(parameter) for parameter, seen in zip(trained, used, strict=True) if seen
    ]
    for bucket in _buckets(gradients):
        _average(bucket)


def _gradient_or_zero(parameter: nn.Parameter) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    elif parameter.grad.is_sparse:
        # Ranks hold other rows; only dense gradients can be added up in one buffer.
        parameter.grad = parameter.grad.to_dense()
    return parameter.grad


def _buckets(gradients: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Group neighbours of one type and device up to some megabytes: few messages, little memory."""
    bucket: list[Tensor] = []
    size = 0
    for gradient in gradients:
        alike = not bucket or (gradient.dtype, gradient.device) == (
            bucket[0].dtype,
            bucket[0].device,
        )
        if bucket and (not alike or size + gradient.nbytes > _BUCKET_BYTES):
            yield bucket
            bucket, size = [], 0
        bucket.append(gradient)
        size += gradient.nbytes
    if bucket:
        yield bucket


def _average(bucket: list[Tensor]) -> None:
    flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
    comm.all_reduce(flat, "SUM")
    flat /= comm.get_world_size()
    parts = flat.split([gradient.numel() for gradient in bucket])
    for gradient, part in zip(bucket, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
