"""Count the GPUs a process here would see, without loading torch.

The launcher needs one number; torch would take seconds to give it. The driver's own library counts
in milliseconds, honours ``CUDA_VISIBLE_DEVICES`` and makes no context.
"""

import ctypes

__all__ = ["count_gpus"]

# Driver library, how to start it, how to count.
_DRIVERS = (
    ("libcuda.so.1", "cuInit", "cuDeviceGetCount"),
    ("libamdhip64.so", "hipInit", "hipGetDeviceCount"),
)


def count_gpus() -> int:
    """Count NVIDIA GPUs, or else AMD's; 0 where there is no driver."""
    for library, start, count in _DRIVERS:
        found = _ask(library, start, count)
        if found:
            return found
    return 0


def _ask(library: str, start: str, count: str) -> int:
    number = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL(library)
        if getattr(driver, start)(0) != 0:
            return 0
        if getattr(driver, count)(ctypes.byref(number)) != 0:
            return 0
    except (OSError, AttributeError):
        return 0
    return number.value
