"""The parallelism plan: how a model is spread over ranks, decided once and asked in each step.

The Trainer makes one plan and talks to nothing else about parallel training: `apply` wraps the
model, `sync_context` surrounds each microbatch, `finish_gradients` ends the last backward pass and
`unwrap` gives the user's model back. Today a plan replicates the model over ranks (DDP). Sharded
and tensor parallel training (``fsdp``, ``tp``) will be chosen here, behind the same methods; until
then a config that asks for them is refused, so that nobody trains replicated unawares.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from composer.devices.device import Device
from composer.distributed import comm
from composer.distributed.config import ParallelismConfig, parse
from composer.distributed.data_parallel import (
    NOTHING,
    DDPSyncStrategy,
    average_gradients,
    microbatch_context,
    prepare_ddp_module,
)
from composer.errors import ConfigError

__all__ = ["ParallelismPlan"]


class ParallelismPlan:
    """How a model is spread over ranks.

    Args:
        device: where the model lives.
        world_size: how many ranks train together, at least 1.
        config: what is asked for beside data parallel training; see `ParallelismConfig`.
        ddp_sync_strategy: when gradients are averaged; by default in the last microbatch, or in
            each one if parameters may be unused.
        find_unused_parameters: whether a pass may leave parameters unused.

    Raises:
        ConfigError: the config asks for what this version cannot do, or has a wrong setting.
        ValueError: no such strategy.
    """

    def __init__(
        self,
        device: Device,
        world_size: int,
        config: ParallelismConfig | Mapping[str, Any] | None = None,
        *,
        ddp_sync_strategy: str | DDPSyncStrategy | None = None,
        find_unused_parameters: bool = False,
    ) -> None:
        self.config = parse(config)
        _refuse_unsupported(self.config)
        if world_size > 1 and not device.dist_backend:
            raise ConfigError(
                f"device={device.name!r} trains with one process and there are {world_size}."
            )
        self.device = device
        self.world_size = world_size
        self.find_unused_parameters = find_unused_parameters
        self.sync_strategy = _strategy(ddp_sync_strategy, find_unused_parameters)
        self._is_uneven = False

    @property
    def is_sharded(self) -> bool:
        """Whether a rank holds a part of the model only; no plan of today does."""
        return False

    def apply(self, model: nn.Module) -> nn.Module:
        """Spread the model over the ranks; all ranks must call this.

        Args:
            model: the model, on its device.

        Returns:
            The model to train: wrapped if there are several ranks and something to train.
        """
        if self.world_size == 1:
            return model
        return prepare_ddp_module(model, self.find_unused_parameters)

    def begin_batch(self, num_microbatches: int) -> None:
        """Say how many microbatches follow; all ranks must call this before the first of them.

        Ranks with unequal batches may cut them into unequal numbers of parts. Averaging in each
        backward pass would then wait for a rank that has no more; such a batch is averaged by hand.

        Args:
            num_microbatches: of this rank.
        """
        if self.world_size == 1 or self.sync_strategy is not DDPSyncStrategy.MULTI_AUTO_SYNC:
            return
        fewest, minus_most = comm.all_reduce_counts([num_microbatches, -num_microbatches], "MIN")
        self._is_uneven = fewest != -minus_most

    @property
    def _strategy_now(self) -> DDPSyncStrategy:
        return DDPSyncStrategy.FORCED_SYNC if self._is_uneven else self.sync_strategy

    def sync_context(self, model: nn.Module, is_last: bool) -> AbstractContextManager[None]:
        """Surround the forward and backward pass of one microbatch.

        Args:
            model: what `apply` returned.
            is_last: whether it is the last microbatch before the optimizer steps; ``True`` also
                where each microbatch shall be averaged.

        Returns:
            A context; one that does nothing, always the same, where nothing is to be done.
        """
        if self.world_size == 1:
            return NOTHING
        return microbatch_context(model, is_last, self._strategy_now)

    def finish_gradients(self, model: nn.Module) -> None:
        """Average what the backward passes have not averaged; after the last one, on all ranks.

        Args:
            model: what `apply` returned.
        """
        if self.world_size == 1 or self._strategy_now is not DDPSyncStrategy.FORCED_SYNC:
            return
        if isinstance(model, DistributedDataParallel):
            average_gradients(model.parameters())

    def unwrap(self, model: nn.Module) -> nn.Module:
        """Give back the model that `apply` was given.

        Args:
            model: what `apply` returned, or any other model, which is returned as it is.
        """
        return model.module if isinstance(model, DistributedDataParallel) else model


def _refuse_unsupported(config: ParallelismConfig | None) -> None:
    if config is None:
        return
    asked = ", ".join(repr(part) for part in config.parts())
    raise ConfigError(
        f"parallelism_config asks for {asked}: sharded and tensor parallel training are not in "
        "this version of Composer, which trains a full copy of the model on each rank. Leave "
        "parallelism_config out to train so (the model, its gradients and the optimizer state "
        "must fit on one device)."
    )


def _strategy(given: str | DDPSyncStrategy | None, may_be_unused: bool) -> DDPSyncStrategy:
    if given is not None:
        return DDPSyncStrategy(given)
    return DDPSyncStrategy.MULTI_AUTO_SYNC if may_be_unused else DDPSyncStrategy.SINGLE_AUTO_SYNC
