"""Blocks of rows boiled down to minimum, maximum, mean and count.

Rows are grouped by line number in blocks of ``2**level``. Stored levels start at 64 rows and grow
by a factor of eight; every power of two between is the union of at most four stored blocks. Numbers
that are not finite are counted apart, so that a chart can show them and an average is not spoilt by
them.
"""

import math
import struct
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

FIRST_LEVEL: Final = 6
LEVEL_STEP: Final = 3
NUM_LEVELS: Final = 6
LEVELS: Final = tuple(FIRST_LEVEL + LEVEL_STEP * i for i in range(NUM_LEVELS))
BLOCK_ROWS: Final = 1 << FIRST_LEVEL
FAN: Final = 1 << LEVEL_STEP

_ENTRY: Final = struct.Struct("<IdddIIII")


class Block(NamedTuple):
    """What is kept of one block of one key.

    Attributes:
        index: the block covers rows ``index * 2**level`` up to the next index.
        low: smallest finite value, NaN if there is none.
        high: largest finite value, NaN if there is none.
        total: sum of the finite values.
        count: number of finite values.
        nans: number of NaNs.
        plus: number of ``+Infinity``.
        minus: number of ``-Infinity``.
    """

    index: int  # pyright: ignore[reportIncompatibleMethodOverride]
    low: float
    high: float
    total: float
    count: int  # pyright: ignore[reportIncompatibleMethodOverride]
    nans: int = 0
    plus: int = 0
    minus: int = 0

    @property
    def mean(self) -> float:
        """Mean of the finite values; NaN if there is none."""
        return self.total / self.count if self.count else math.nan


def summarise(index: int, values: Sequence[float]) -> Block:
    """Boil down the numbers of one block.

    Args:
        index: the block's index.
        values: at least one number.
    """
    try:
        total = math.fsum(values)
    except (OverflowError, ValueError):
        total = math.inf
    if total - total == 0.0:  # Finite, and so is every value.
        return Block(index, min(values), max(values), total, len(values), 0, 0, 0)
    good = [value for value in values if math.isfinite(value)]
    nans = sum(map(math.isnan, values))
    plus = sum(1 for value in values if value == math.inf)
    minus = len(values) - len(good) - nans - plus
    if not good:
        return Block(index, math.nan, math.nan, 0.0, 0, nans, plus, minus)
    return Block(index, min(good), max(good), _sum(good), len(good), nans, plus, minus)


def _sum(values: Sequence[float]) -> float:
    # A sum of finite doubles may still overflow; then the nearest double that exists will do.
    try:
        return math.fsum(values)
    except OverflowError:
        return math.copysign(1.7976931348623157e308, sum(value / 2**20 for value in values))


def merge(index: int, blocks: Iterable[Block]) -> Block:
    """Unite blocks of one key into one block with the given index."""
    low = high = math.nan
    total = 0.0
    count = nans = plus = minus = 0
    for block in blocks:
        if block.count:
            low = block.low if not count or block.low < low else low
            high = block.high if not count or block.high > high else high
            total += block.total
            count += block.count
        nans += block.nans
        plus += block.plus
        minus += block.minus
    if not math.isfinite(total):
        total = math.copysign(1.7976931348623157e308, 1.0 if math.isnan(total) else total)
    return Block(index, low, high, total, count, nans, plus, minus)


def pack(blocks: Iterable[Block]) -> bytes:
    """Write blocks as bytes, 44 each."""
    return b"".join(_ENTRY.pack(*block) for block in blocks)


def pack_one(block: Block) -> bytes:
    """Write one block as bytes."""
    return _ENTRY.pack(*block)


def unpack(data: bytes) -> list[Block]:
    """Read what `pack` wrote."""
    return [Block._make(each) for each in _ENTRY.iter_unpack(data)]


def numbers(values: list[Any]) -> list[float]:
    """The numbers among ``values``, as doubles; huge integers become infinite rather than fail."""
    if set(map(type, values)) == {int}:
        try:
            return list(map(float, values))
        except OverflowError:
            pass
    found: list[float] = []
    for value in values:
        if type(value) is float:
            found.append(value)
        elif type(value) is int:
            try:
                found.append(float(value))
            except OverflowError:
                found.append(math.inf if value > 0 else -math.inf)
    return found
