"""What happens to each image of an epoch: whether it is flipped, where it is moved and cut.

All of it follows from the seed, the epoch and the image's index, so nothing is drawn, nothing has
to be kept, and an epoch can begin anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from composer.distributed.permutation import mix_each

__all__ = ["Flip", "ImageDraws", "alternating_flips"]

Flip = Literal["alternating", "random"]
Integers = NDArray[np.integer]

# One stream of numbers for each purpose, so that they know nothing of each other.
_FLIP, _DOWN, _RIGHT, _CUT_DOWN, _CUT_RIGHT = range(5)
_LAST_BIT = np.uint64(1)


def alternating_flips(indices: Integers, epoch: int, seed: int = 0) -> NDArray[np.bool_]:
    """Return which images to flip: half of them in one epoch, the other half in the next.

    With independent draws an image is seen the same way round in two epochs in a row half of the
    time. Here it never is, so that two epochs show twice as many different images.

    Args:
        indices: the images' indices in the data set, shape (N,).
        epoch: the epoch, from 0.
        seed: which half begins.

    Returns:
        Shape (N,).

    Example:
        >>> first = alternating_flips(np.arange(6), epoch=0)
        >>> bool((alternating_flips(np.arange(6), epoch=1) == ~first).all())
        True

    Source:
        Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, 2024, arXiv:2404.00498, section
        3.6, with a hash of seed and index in place of the one of its listing.
    """
    return (mix_each(indices, seed, _FLIP) & _LAST_BIT) != epoch % 2


@dataclass(frozen=True, slots=True)
class ImageDraws:
    """How images are changed.

    Attributes:
        side: height and width of an image, in pixels.
        flip: how images are flipped; ``None`` for not at all.
        translate: by how many pixels an image is moved at most, each way.
        cutout: side of the square that is cut out, in pixels; 0 for none.
        seed: of everything.
    """

    side: tuple[int, int]
    flip: Flip | None
    translate: int
    cutout: int
    seed: int

    def rows(self, indices: Integers, epoch: int) -> NDArray[np.int64]:
        """Return what happens to images in an epoch.

        Args:
            indices: their indices in the data set, shape (N,).
            epoch: the epoch, from 0.

        Returns:
            Shape (6, N): the index; 1 where it is flipped; the first row and column that are read
            of the padded image; the first row and column of the square that is cut out, which may
            lie outside by half its side.
        """
        flips = np.zeros(len(indices), dtype=np.int64)
        if self.flip == "alternating":
            flips = alternating_flips(indices, epoch, self.seed)
        elif self.flip == "random":
            flips = _numbers(indices, 2, self.seed, _FLIP, epoch)
        places = [
            _numbers(indices, 2 * self.translate + 1, self.seed, stream, epoch)
            for stream in (_DOWN, _RIGHT)
        ]
        corners = [
            _numbers(indices, length, self.seed, stream, epoch) - self.cutout // 2
            for length, stream in zip(self.side, (_CUT_DOWN, _CUT_RIGHT), strict=True)
        ]
        return np.stack([indices, flips, *places, *corners]).astype(np.int64)


def _numbers(indices: Integers, limit: int, *key: int) -> NDArray[np.int64]:
    """Return a number from 0 to before ``limit`` for each index."""
    if limit == 1:
        return np.zeros(len(indices), dtype=np.int64)
    return (mix_each(indices, *key) % np.uint64(limit)).astype(np.int64)
