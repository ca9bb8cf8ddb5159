"""Pick a device by name (public as `composer.utils.get_device`)."""

import torch

from composer.devices.device import Device
from composer.devices.device_cpu import DeviceCPU
from composer.devices.device_gpu import DeviceGPU
from composer.devices.device_mps import DeviceMPS
from composer.errors import ArgumentTypeError, unknown_name

__all__ = ["get_device"]

_BY_NAME: dict[str, type[Device]] = {"cpu": DeviceCPU, "gpu": DeviceGPU, "mps": DeviceMPS}


def get_device(device: str | Device | None = None) -> Device:
    """Make the device a user asks for.

    Args:
        device: ``'cpu'``, ``'gpu'`` (``'cuda'`` means the same) or ``'mps'``, in any case; a
            `Device`, which is returned as it is; or ``None`` for a GPU if there is one, else the
            CPU. MPS is never chosen unasked.

    Returns:
        The device.

    Raises:
        UnknownNameError: no device has this name.
        ArgumentTypeError: neither text nor a device.
        ConfigError: the hardware is not there.
    """
    if isinstance(device, Device):
        return device
    if device is None:
        return DeviceGPU() if torch.cuda.is_available() else DeviceCPU()
    if not isinstance(device, str):
        raise ArgumentTypeError(
            f"device={device!r} is a {type(device).__name__}; give one of "
            f"{sorted(_BY_NAME)}, a composer Device, or None."
        )
    name = device.strip().lower()
    kind = _BY_NAME.get("gpu" if name == "cuda" else name)
    if kind is None:
        raise unknown_name("device", device, _BY_NAME)
    return kind()
