"""A shuffle that is computed entry by entry, so that no list of it ever exists.

A Feistel network over two numbers, one after the other moved by a keyed hash of the other, is a
bijection of all pairs whatever the hash is. The pairs are chosen to be hardly more than there are
entries; what falls outside is sent round again until it falls inside (cycle walking), which keeps
the bijection.

Black and Rogaway, Ciphers with Arbitrary Finite Domains, CT-RSA 2002.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from composer.errors import ConfigError

__all__ = ["Permutation", "mix", "mix_each"]

Numbers = NDArray[np.uint64]

# Enough that even the shuffles of a handful of entries show no pattern; see the tests.
_ROUNDS = 10
_LONGEST = 2**62
_MASK = 2**64 - 1
# Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014.
_STEP = 0x9E3779B97F4A7C15
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_LAST_SHIFT = 31
# The same as numpy's numbers, whose making takes a good part of a hash of few.
_STEP_EACH, _LAST_SHIFT_EACH = np.uint64(_STEP), np.uint64(_LAST_SHIFT)
_MIX_EACH = tuple((np.uint64(shift), np.uint64(factor)) for shift, factor in _MIX)


class Permutation:
    """A permutation of ``0, 1, ... length - 1``; the same one for the same key, on any machine.

    Checkpoints rely on it: which permutation belongs to a key never changes.

    Args:
        length: how many entries, from 1 to 2**62.
        key: whole numbers that choose the permutation, such as a seed and an epoch.

    Raises:
        ValueError: a length out of range.

    Example:
        >>> [Permutation(5, 1)[position] for position in range(5)]
        [0, 1, 3, 4, 2]
    """

    def __init__(self, length: int, *key: int) -> None:
        if not 1 <= length <= _LONGEST:
            raise ConfigError(f"length={length} must be from 1 to 2**62")
        self.length = length
        self._rows = math.isqrt(length - 1) + 1
        self._columns = -(-length // self._rows)
        self._keys = _round_keys(key)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, position: int) -> int:
        """Return the entry at a position.

        Raises:
            IndexError: there is no such position.
        """
        if not 0 <= position < self.length:
            raise IndexError(f"position {position} is not from 0 to {self.length - 1}")
        return int(self.take(np.asarray([position]))[0])

    def take(self, positions: NDArray[np.integer]) -> Numbers:
        """Return the entries at many positions, each from 0 to ``length - 1``."""
        entries = self._scramble(positions.astype(np.uint64))
        outside = np.flatnonzero(entries >= self.length)
        while outside.size:
            entries[outside] = self._scramble(entries[outside])
            outside = outside[entries[outside] >= self.length]
        return entries

    def _scramble(self, numbers: Numbers) -> Numbers:
        rows, columns = np.uint64(self._rows), np.uint64(self._columns)
        row, column = numbers // columns, numbers % columns
        for number, key in enumerate(self._keys):
            if number % 2 == 0:
                row = (row + _hash(column, key) % rows) % rows
            else:
                column = (column + _hash(row, key) % columns) % columns
        return row * columns + column


def mix(*numbers: int) -> int:
    """Return a number from 0 to 2**64 - 1 that depends on all numbers and on their order."""
    state = 0
    for number in numbers:
        state = _hash_one(state ^ (number & _MASK))
    return state


def mix_each(numbers: NDArray[np.integer], *key: int) -> Numbers:
    """Return, for each of many numbers, a number from 0 to 2**64 - 1 that depends on it and a key.

    Checkpoints rely on it: what belongs to a number and a key never changes.
    """
    return _hash(numbers.astype(np.uint64), np.uint64(mix(*key)))


def _round_keys(key: tuple[int, ...]) -> list[np.uint64]:
    state = mix(*key)
    keys: list[np.uint64] = []
    for _ in range(_ROUNDS):
        state = (state + _STEP) & _MASK
        keys.append(np.uint64(_hash_one(state)))
    return keys


def _hash(numbers: Numbers, key: np.uint64) -> Numbers:
    mixed = numbers * _STEP_EACH + key  # arrays wrap round, as is meant
    for shift, factor in _MIX_EACH:
        mixed = (mixed ^ (mixed >> shift)) * factor
    return mixed ^ (mixed >> _LAST_SHIFT_EACH)


def _hash_one(number: int) -> int:
    mixed = (number + _STEP) & _MASK
    for shift, factor in _MIX:
        mixed = ((mixed ^ (mixed >> shift)) * factor) & _MASK
    return mixed ^ (mixed >> _LAST_SHIFT)
