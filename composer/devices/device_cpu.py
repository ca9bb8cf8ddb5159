"""The CPU as a device."""

import torch
from torch import Tensor

from composer.devices.device import Device

__all__ = ["DeviceCPU"]


class DeviceCPU(Device):
    """Tensors in the machine's memory; ranks speak through gloo."""

    name = "cpu"
    dist_backend = "gloo"

    def __init__(self) -> None:
        self.torch_device = torch.device("cpu")

    def tensor_to_device(self, tensor: Tensor) -> Tensor:
        """Move one tensor here; a copy from an accelerator waits until the data has arrived."""
        return tensor if tensor.is_cpu else tensor.to(self.torch_device)
