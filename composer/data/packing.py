"""Which documents share a window: a plan made from lengths alone, before any token is read.

Best fit, decreasing: the longest document first, each into the fullest window that still has room
for it. Looking at a few thousand documents at a time leaves hardly more room unused than looking
at all of them, and the plan takes a few seconds for a million.

Ding et al., Fewer Truncations Improve Language Modeling, 2024, arXiv:2404.10830. Krell et al.,
Efficient Sequence Packing without Cross-contamination, 2021, arXiv:2107.02027.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from composer.distributed.permutation import Permutation
from composer.errors import ConfigError, DataError

__all__ = ["Packing", "plan_packing"]

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Packing:
    """Which pieces of which documents lie in which window.

    Attributes:
        length: tokens of a window.
        documents: document of each piece, shape (pieces,), window by window.
        starts: its first token in the document.
        stops: the token after its last.
        first: window ``i`` holds the pieces from ``first[i]`` to before ``first[i + 1]``.
    """

    length: int
    documents: Numbers
    starts: Numbers
    stops: Numbers
    first: Numbers

    def __len__(self) -> int:
        return len(self.first) - 1

    def pieces(self, window: int) -> list[tuple[int, int, int]]:
        """Return document, start and stop of each piece of a window."""
        begin, end = self.first[window], self.first[window + 1]
        documents, starts = self.documents[begin:end], self.starts[begin:end]
        stops = self.stops[begin:end]
        return list(zip(documents.tolist(), starts.tolist(), stops.tolist(), strict=True))

    @property
    def fill(self) -> float:
        """The share of all positions that hold a token, in (0, 1]; the rest is padding."""
        return float((self.stops - self.starts).sum()) / (len(self) * self.length)


def plan_packing(
    lengths: Sequence[int] | Numbers,
    length: int,
    lookahead: int = 4096,
    seed: int | None = None,
) -> Packing:
    """Decide which documents share a window.

    A document is cut only where it is longer than a window: into whole windows, and a rest that is
    packed like any other document. Empty documents are left out.

    Args:
        lengths: tokens of each document, at least 0.
        length: tokens of a window, at least 2.
        lookahead: documents that are packed together, at least 1. More of them leave less room
            unused.
        seed: documents are taken in an order shuffled by this number, so that those packed together
            are a fair sample; ``None`` takes them as they come.

    Raises:
        ValueError: an argument is out of range, or no document has a token.

    Example:
        >>> plan = plan_packing([5, 3, 8, 2], length=8)
        >>> [plan.documents[a:b].tolist() for a, b in zip(plan.first, plan.first[1:])]
        [[2], [0, 1], [3]]
    """
    _check_whole("length", length, 2)
    _check_whole("lookahead", lookahead, 1)
    sizes = np.asarray(lengths, dtype=np.int64)
    if sizes.size and sizes.min() < 0:
        raise ConfigError(f"a document of {sizes.min()} tokens: lengths are at least 0")
    if not sizes.sum():
        raise DataError(f"nothing to pack: none of the {sizes.size} documents has a token")
    order = np.arange(sizes.size)
    if seed is not None:
        order = Permutation(sizes.size, seed).take(order).astype(np.int64)
    documents, starts, stops = _pieces(order[sizes[order] > 0], sizes, length)
    windows = _place(stops - starts, length, lookahead)
    by_window = np.argsort(windows, kind="stable")
    first = np.searchsorted(windows[by_window], np.arange(windows.max() + 2))
    return Packing(length, documents[by_window], starts[by_window], stops[by_window], first)


def _check_whole(name: str, value: object, low: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise ConfigError(f"{name}={value!r} must be a whole number from {low} on")


def _pieces(order: Numbers, sizes: Numbers, length: int) -> tuple[Numbers, Numbers, Numbers]:
    """Return documents, starts and stops of the pieces that documents are cut into."""
    counts = -(-sizes[order] // length)
    documents = np.repeat(order, counts)
    ends = np.cumsum(counts)
    number_in_document = np.arange(len(documents)) - np.repeat(ends - counts, counts)
    starts = number_in_document * length
    return documents, starts, np.minimum(starts + length, sizes[documents])


def _place(sizes: Numbers, length: int, lookahead: int) -> Numbers:
    """Return the window of each piece."""
    windows = np.empty(len(sizes), dtype=np.int64)
    num_windows = 0
    for begin in range(0, len(sizes), lookahead):
        part = sizes[begin : begin + lookahead]
        longest_first = np.argsort(-part, kind="stable")
        placed = _best_fit(part[longest_first].tolist(), length)
        windows[begin + longest_first] = np.asarray(placed) + num_windows
        num_windows += max(placed) + 1
    return windows


def _best_fit(sizes: list[int], length: int) -> list[int]:
    """Return the window of each piece, of those that are packed together."""
    placed: list[int] = []
    num_windows = 0
    # Windows that have room, the fullest first.
    rooms: list[int] = []
    owners: list[int] = []
    for size in sizes:
        found = bisect_left(rooms, size)
        if found == len(rooms):
            room, window = length, num_windows
            num_windows += 1
        else:
            room, window = rooms.pop(found), owners.pop(found)
        placed.append(window)
        if room > size:
            place = bisect_left(rooms, room - size)
            rooms.insert(place, room - size)
            owners.insert(place, window)
    return placed
