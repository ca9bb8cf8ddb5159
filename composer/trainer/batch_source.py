"""From a dataloader's batches to microbatches on the device, each with its weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from composer.core.data_spec import DataSpec
from composer.devices.device import Device
from composer.errors import ConfigError

__all__ = ["BatchSource"]


class BatchSource:
    """Cuts, moves, transforms and weighs the batches of a dataloader.

    Args:
        data_spec: how the dataloader's batches are counted and split.
        device: where the model lives.
        on_tokens: whether a batch weighs by the tokens that generate loss: always, never, or
            (``None``) where the batch says which tokens count.
    """

    def __init__(self, data_spec: DataSpec, device: Device, on_tokens: bool | None) -> None:
        self.data_spec = data_spec
        # Batches are made on the CPU: there is nothing to look for and nothing to move.
        self._to_device = None if device.torch_device.type == "cpu" else device.batch_to_device
        self._on_tokens = on_tokens

    def prepare(self, microbatch: Any) -> Any:
        """Move a microbatch to the device and transform it there."""
        if self._to_device is not None:
            microbatch = self._to_device(microbatch)
        transforms = self.data_spec.microbatch_transforms
        return microbatch if transforms is None else transforms(microbatch)

    def split(self, batch: Any, size: int | float | None) -> Sequence[Any]:
        """Cut a batch into microbatches of ``size`` samples; ``None`` leaves it whole."""
        return [batch] if size is None else self.data_spec.split_batch(batch, size)

    def samples(self, batch: Any) -> int | float:
        """Return the number of samples in a batch."""
        return self.data_spec.get_num_samples_in_batch(batch)

    def weight(self, batch: Any) -> int | float:
        """Return the weight of a batch in the loss."""
        if self._on_tokens is not False:
            tokens = self.data_spec.loss_generating_tokens(batch)
            if tokens is not None:
                return tokens
            if self._on_tokens and self.data_spec.counts_tokens:
                return self.data_spec.get_num_tokens_in_batch(batch)
            if self._on_tokens:
                raise ConfigError(
                    "accumulate_train_batch_on_tokens=True, but the batch does not say which "
                    "tokens generate loss: let the DataSpec's get_num_tokens_in_batch return "
                    "{'total': ..., 'loss_generating': ...}"
                )
        return self.samples(batch)
