"""The GPU of an Apple computer as a device."""

import torch
from torch import Tensor

from composer.devices.device import Device
from composer.errors import ConfigError

__all__ = ["DeviceMPS"]


class DeviceMPS(Device):
    """Apple's Metal backend, for one process.

    Raises:
        ConfigError: this machine or this torch has no MPS; says which of the two.
    """

    name = "mps"
    dist_backend = ""

    def __init__(self) -> None:
        if not torch.backends.mps.is_built():
            raise ConfigError(
                f"device='mps' needs a torch with MPS and torch {torch.__version__} was built "
                "without it. Use device='cpu', or torch for macOS."
            )
        if not torch.backends.mps.is_available():
            raise ConfigError(
                "device='mps' needs an Apple GPU and macOS 14 or later, which this machine does "
                "not have. Use device='cpu'."
            )
        self.torch_device = torch.device("mps")

    def tensor_to_device(self, tensor: Tensor) -> Tensor:
        """Move one tensor here."""
        return tensor if tensor.is_mps else tensor.to(self.torch_device)
