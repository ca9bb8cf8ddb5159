"""Opens a map-style loader anywhere in its epoch, without reading what lies before.

Such a loader asks its sampler for indices and reads the samples they name. While it is opened, a
cursor stands in for the sampler: it passes over the indices that were used, keeps the last ones it
gave, and so can say in a checkpoint where the epoch stands, and check, when it is put there again,
that the order is still the same. Passing over is one step for the samplers of this library and of
torch; of any other sampler indices are drawn and dropped, which costs little next to reading data.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sized
from itertools import islice
from typing import Any, cast
from weakref import WeakKeyDictionary

from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from composer.core.index_order import Mark, SharedOrder, check_tail, find_order, marker
from composer.core.worker_draws import DrawsWatch
from composer.errors import DataError

__all__ = ["IndexCursor", "cursor_of", "dataset_length", "why_not_by_index"]

# So many of the last indices are compared when a position is restored.
_TAIL = 8
_cursors: WeakKeyDictionary[DataLoader[Any], IndexCursor] = WeakKeyDictionary()


def why_not_by_index(loader: Any) -> str | None:
    """Return why a loader cannot be opened in the middle of its epoch; ``None`` if it can."""
    name = type(loader).__name__
    if not isinstance(loader, DataLoader):
        return f"a {name} gives its batches only one after the other"
    if type(loader).__iter__ is not DataLoader.__iter__:
        return f"{name} makes its batches in an __iter__ of its own"
    if isinstance(cast("Any", loader).dataset, IterableDataset):
        return (
            f"its data set {type(loader.dataset).__name__} is iterable and has no state_dict and "
            "load_state_dict"
        )
    return None


def cursor_of(loader: Any) -> IndexCursor | None:
    """Return the loader's cursor, always the same one; ``None`` if it cannot have one."""
    if why_not_by_index(loader) is not None:
        return None
    if loader not in _cursors:
        _cursors[loader] = IndexCursor(loader)
    return _cursors[loader]


def dataset_length(loader: Any) -> int | None:
    """Return the number of samples of a map-style loader's data set, where it has one."""
    dataset = getattr(loader, "dataset", None)
    if isinstance(dataset, IterableDataset) or not isinstance(dataset, Sized):
        return None
    return len(dataset)


class IndexCursor:
    """What a loader asks for indices, in place of its sampler.

    Args:
        loader: a map-style loader.
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._is_batched = loader.batch_sampler is not None
        self._sampler: Any = loader.batch_sampler if self._is_batched else loader.sampler
        self._num_ahead = loader.num_workers * (loader.prefetch_factor or 0)
        self._watch = DrawsWatch(loader) if loader.num_workers else None
        self._start: Mark | None = None
        self._given: _Given | None = None

    def __len__(self) -> int:
        return len(self._sampler)

    def __iter__(self) -> _Given:
        self._given = _Given(self._source(), self._start, self._num_ahead + 2, self._is_batched)
        return self._given

    def open(self, loader: DataLoader[Any], start: Mark | None = None) -> Iterator[Any]:
        """Return the loader's batches from a position on.

        Args:
            loader: the loader this cursor belongs to.
            start: what :meth:`mark` returned; ``None`` for the beginning.

        Raises:
            ValueError: at the position the order is not what it was.
        """
        self._start = start
        name = "batch_sampler" if self._is_batched else "sampler"
        stand_ins: dict[str, Any] = {name: self}
        if self._watch is not None:
            stand_ins |= {"collate_fn": self._watch.collate, "worker_init_fn": self._watch.begin}
        own = {each: loader.__dict__[each] for each in stand_ins}
        # Assigning to a loader's sampler is refused; it is back before anybody can see it.
        loader.__dict__.update(stand_ins)
        running = getattr(loader, "_iterator", None)
        if running is not None:  # persistent workers: it goes on with the sampler it began with
            running._index_sampler = self
        try:
            batches = iter(loader)
        finally:
            loader.__dict__.update(own)
        # Now, before anybody else draws a random number.
        if self._given is not None and start is not None:
            self._given.advance()
        return batches

    def mark(self, num_batches: int) -> Mark | None:
        """Return where the epoch stands after a number of its batches; ``None`` if unknown.

        Returns:
            ``batches``; ``samples``, of this share; ``tail``: its last indices; ``share`` of
            ``shares``: whose it was; ``cursor``: samples of all shares together, where the sampler
            shares one order out; ``draws``: whether worker processes draw random numbers that
            belong to no sample.
        """
        draws = self._watch is not None and self._watch.has_seen_draws
        if self._start is not None and self._start["batches"] == num_batches:
            return {**self._start, "draws": draws}
        found = None if self._given is None else self._given.at(num_batches)
        if found is None:
            return None
        samples, indices = found
        tail = [marker(index) for index in indices[-_TAIL:]]
        mark = {"batches": num_batches, "samples": samples, "tail": tail, "draws": draws}
        return {**mark, **find_order(self._index_sampler).place(samples, self._start)}

    def indices(self, num_batches: int) -> list[Any] | None:
        """Return the indices of one of the last batches; ``None`` if they are not known (any more).

        Args:
            num_batches: its number in the epoch, from 1.
        """
        found = None if self._given is None else self._given.at(num_batches)
        return None if found is None else found[1]

    def can_start_at(self, mark: Mark) -> bool:
        """Whether the order does not depend on how many ranks there were at the mark."""
        order = find_order(self._index_sampler)
        return isinstance(order, SharedOrder) or order.is_same_share(mark)

    def num_batches_after(self, mark: Mark) -> int | None:
        """Return how many batches the epoch has left after a mark; ``None`` if nobody knows."""
        order, batches = find_order(self._index_sampler), self._plain_batches
        if batches is None or not isinstance(order, SharedOrder):
            return None
        left, size = order.num_left(mark), batches.batch_size
        return left // size if batches.drop_last else -(-left // size)

    @property
    def _plain_batches(self) -> BatchSampler | None:
        """The sampler of batches, if it only cuts an order into equal parts."""
        return self._sampler if type(self._sampler) is BatchSampler else None

    @property
    def _index_sampler(self) -> Any:
        return self._sampler if self._plain_batches is None else self._plain_batches.sampler

    def _source(self) -> Iterator[Any]:
        """Return what gives the indices; asked once more than it has to give if it must advance.

        Nothing is drawn here: a sampler draws its random numbers when it is first asked, after the
        loader has drawn its own.
        """
        if self._start is None:
            return iter(self._sampler)
        if self._plain_batches is not None:
            return _cut(self._index_sampler, self._start, self._plain_batches)
        own = iter(self._sampler)
        if self._is_batched:
            return _pass_over_batches(own, self._start)
        return find_order(self._sampler).after(self._start, own)


class _Given:
    """Gives indices and remembers the last."""

    def __init__(
        self, source: Iterator[Any], start: Mark | None, num_kept: int, is_batched: bool
    ) -> None:
        self._source = source
        self._must_advance = start is not None
        self._batches: int = 0 if start is None else start["batches"]
        self._samples: int = 0 if start is None else start["samples"]
        self._is_batched = is_batched
        self._kept: deque[tuple[int, int, Any]] = deque(maxlen=num_kept)

    def __iter__(self) -> _Given:
        return self

    def __next__(self) -> Any:
        if self._must_advance:
            self.advance()
        given = next(self._source)
        self._batches += 1
        self._samples += len(given) if self._is_batched else 1
        self._kept.append((self._batches, self._samples, given))
        return given

    def advance(self) -> None:
        """Go to where the indices begin that are to be given."""
        if self._must_advance:
            self._must_advance = False
            next(self._source)

    def at(self, num_batches: int) -> tuple[int, list[Any]] | None:
        """Return how many samples were given up to a batch, and that batch's indices."""
        for batches, samples, given in self._kept:
            if batches == num_batches:
                return samples, list(given) if self._is_batched else [given]
        return None


def _cut(sampler: Any, start: Mark, batches: BatchSampler) -> Iterator[Any]:
    """Yield nothing, once everything before the start is passed over, and then the batches."""
    indices = find_order(sampler).after(start, None)
    yield next(indices)
    while batch := list(islice(indices, batches.batch_size)):
        if len(batch) == batches.batch_size or not batches.drop_last:
            yield batch


def _pass_over_batches(batches: Iterator[Any], start: Mark) -> Iterator[Any]:
    last = next(islice(batches, start["batches"] - 1, None), None)
    if last is None:
        raise DataError(
            f"the checkpoint stands at batch {start['batches']} of its epoch, and the sampler of "
            "batches gives fewer: the data set or the batch size has changed"
        )
    check_tail(start, [marker(index) for index in list(last)[-_TAIL:]])
    yield None
    yield from batches
