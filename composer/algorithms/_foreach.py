"""Whether one operation may treat many tensors at once."""

from __future__ import annotations

from torch import Tensor

__all__ = ["prefers_foreach"]

_DEVICES = ("cpu", "cuda")


def prefers_foreach(tensor: Tensor) -> bool | None:
    """Return what torch's functions are to be given as ``foreach`` for tensors like this one.

    By itself torch does not choose it on the CPU, where it spares one call for each tensor.

    Returns:
        True, or ``None`` on devices for which torch is to choose.
    """
    return True if tensor.device.type in _DEVICES else None
