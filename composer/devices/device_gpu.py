"""A CUDA (or ROCm) GPU as a device."""

import functools

import torch
from torch import Tensor

from composer.devices.device import Device
from composer.env import LOCAL_RANK
from composer.errors import ArgumentTypeError, ConfigError

__all__ = ["DeviceGPU"]


class DeviceGPU(Device):
    """One GPU; ranks speak through NCCL.

    Making the object selects the GPU for the process and sets whether float32 matrix products
    and convolutions may use TensorFloat-32.

    Args:
        device_id: number of the GPU among those this process sees; ``None`` means the local rank.
        allow_tf32: whether float32 products may be computed in TF32, which is faster and keeps
            10 instead of 23 bits of the mantissa.

    Raises:
        ConfigError: there is no GPU, or none of this number; says what there is.
        ArgumentTypeError: `device_id` is not a whole number.
    """

    name = "gpu"
    dist_backend = "nccl"

    def __init__(self, device_id: int | None = None, *, allow_tf32: bool = True) -> None:
        index = _checked_index(device_id)
        self.torch_device = torch.device("cuda", index)
        torch.cuda.set_device(self.torch_device)
        torch.backends.cuda.matmul.allow_tf32 = allow_tf32
        torch.backends.cudnn.allow_tf32 = allow_tf32

    def tensor_to_device(self, tensor: Tensor) -> Tensor:
        """Move one tensor here without waiting for the copy.

        Pinned memory is copied on a stream of its own. The host runs ahead of the GPU, so the copy
        is made while the step before is still computed, and what uses the tensor waits for it.
        """
        if tensor.device == self.torch_device:
            return tensor
        if not (tensor.is_cpu and tensor.is_pinned()):
            return tensor.to(self.torch_device, non_blocking=True)
        copying = _copy_stream(self.torch_device)
        with torch.cuda.stream(copying):
            moved = tensor.to(self.torch_device, non_blocking=True)
        computing = torch.cuda.current_stream(self.torch_device)
        computing.wait_stream(copying)
        # Or the allocator of the copying stream could give the memory away while it is in use.
        moved.record_stream(computing)
        return moved


@functools.cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream of copies to a GPU; no attribute, because a stream cannot be copied."""
    return torch.cuda.Stream(device)


def _checked_index(device_id: int | None) -> int:
    if not torch.cuda.is_available():
        raise ConfigError(
            f"device='gpu' needs a GPU and torch {torch.__version__} finds none here. "
            "Use device='cpu', or install a torch built for this machine's GPU and driver."
        )
    count = torch.cuda.device_count()
    if device_id is None:
        index, origin = LOCAL_RANK.get() or 0, "the local rank (LOCAL_RANK)"
    elif type(device_id) is int:
        index, origin = device_id, "device_id"
    else:
        raise ArgumentTypeError(
            f"device_id={device_id!r} is a {type(device_id).__name__}; "
            f"give a whole number from 0 to {count - 1}, or None for the local rank."
        )
    if not 0 <= index < count:
        raise ConfigError(
            f"there is no GPU {index}, which {origin} asks for; this process sees {count}, "
            f"numbered 0 to {count - 1}. Start at most {count} processes per machine, or check "
            "CUDA_VISIBLE_DEVICES."
        )
    return index
