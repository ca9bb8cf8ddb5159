"""Random boxes in images, for methods that cut one out."""

from __future__ import annotations

__all__ = ["place_interval"]


def place_interval(size: int, length: int, position: float, uniform: bool) -> tuple[int, int]:
    """Place ``length`` pixels on an axis of ``size`` pixels.

    Args:
        size: pixels of the axis.
        length: pixels to place; what reaches beyond the axis is cut off.
        position: where, a number drawn uniformly from [0, 1).
        uniform: let each pixel lie in equally many intervals; by default each is as often the
            centre, so that those at the border lie in fewer.

    Returns:
        The first pixel, and the one after the last.
    """
    if length == 0:
        return 0, 0
    if uniform:
        # All starts whose interval meets the image; each pixel lies in just `length` of them.
        start = int(position * (size + length - 1)) - (length - 1)
    else:
        start = int(position * size) - length // 2
    return max(start, 0), min(start + length, size)
