"""Where in the data to go on.

A run that is interrupted and resumed must be the same run. The order of an epoch's samples follows
from the random states in which the epoch was opened, so those are noted and kept in checkpoints:
the epoch is opened in the same states again, at the batch where it stopped, and then the
checkpoint's random states are put back. A map-style loader is opened there without reading anything
(:mod:`composer.core.index_cursor`); data that can say where it is goes on by itself; of all else
the batches already trained are read again and dropped. Finished epochs need not be replayed.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from composer.core.dataset_io import (
    apply_dataset_state,
    check_stateful_position,
    generator_states,
    is_open,
    load_generator_states,
    reload_dataset_state,
)
from composer.core.index_cursor import IndexCursor, cursor_of, dataset_length, why_not_by_index
from composer.core.index_order import BEGINNING, Mark
from composer.core.seeded_dataset import find_seeded
from composer.core.state import State
from composer.distributed.permutation import mix
from composer.distributed.reproducibility import (
    MAX_SEED,
    get_own_rng_state,
    load_own_rng_state,
    load_rng_state,
    seed_all,
)
from composer.errors import DataError, StateError

__all__ = ["DataloaderPosition"]

log = logging.getLogger(__name__)

_NO_BATCH = object()


class DataloaderPosition:
    """Opens the training loader so that an interrupted epoch goes on where it stopped.

    The next batch must be asked for only after the one before is trained and saved: loaders without
    workers draw random numbers when they are asked.

    Args:
        spin_dataloaders: whether batches of an interrupted epoch that were trained already may be
            read again and dropped where there is no other way, at the price of that time. Without
            it such an epoch is refused.
    """

    def __init__(self, spin_dataloaders: bool = True) -> None:
        self.spin_dataloaders = spin_dataloaders
        self._rng_states: Sequence[dict[str, Any]] | None = None
        self._was_loaded = False

    def continue_from(self, rng_states: Sequence[dict[str, Any]] | None) -> None:
        """Note that a checkpoint was loaded; its random states are put back in time.

        Args:
            rng_states: one mapping per rank; ``None`` if there are none.
        """
        self._rng_states = rng_states
        self._was_loaded = True

    def prepare(self, state: State) -> None:
        """Get ready for training; call it once per ``fit``, after ``FIT_START``.

        Between two epochs this puts back the random states, so that ``EPOCH_START`` finds them.

        Raises:
            ValueError: the data set is not as long as in the middle of the epoch.
        """
        apply_dataset_state(state)
        if self._was_loaded:
            _check_length(state)
        if self._rng_states is None:
            if self._was_loaded and state.timestamp.batch > 0:
                # The checkpoint's are of other ranks; those of the start would come again.
                seed_all(mix(state.seed, state.timestamp.batch.value) % MAX_SEED)
            return
        self._open_evaluators(state)
        if state.timestamp.batch_in_epoch.value > 0:
            return
        loader = _in_use(state)
        note: dict[str, Any] | None = state.dataset_state.get("position")
        if note is None and self.spin_dataloaders:
            _replay_finished_epochs(loader, state.timestamp.epoch.value)
        _match_workers(loader, was_open=note is not None)
        load_generator_states(loader, state.dataset_state.get("generators") or {})
        self._restore_random_states()

    def iterate(self, state: State) -> Iterator[Any]:
        """Return the batches of the current epoch that have not been trained on.

        What is needed to get there has happened when this returns.

        Raises:
            ValueError: the position cannot be restored: the epoch has fewer batches than have been
                trained on, the order of its samples is another, or ``spin_dataloaders`` is false
                and batches would have to be read again.
        """
        loader = _in_use(state)
        epoch, num_done = state.timestamp.epoch.value, state.timestamp.batch_in_epoch.value
        _set_epoch(loader, epoch)
        knows_itself: bool = state.dataset_resumption.get("train", False)
        state.dataset_resumption["train"] = False
        was_loaded, self._was_loaded = self._was_loaded, False
        if num_done == 0:
            return self._open(state, loader, epoch)
        if knows_itself or (not was_loaded and reload_dataset_state(state)):
            kept = get_own_rng_state()
            batches = iter(loader)
            check_stateful_position(state)
            if self.epoch_length(state) == num_done:
                # Nobody will ask for more, and data that counts epochs begins the next only then.
                next(batches, None)
            self._restore_random_states(kept)
            return batches
        return self._reopen(state, loader, was_loaded)

    def epoch_length(self, state: State) -> int | None:
        """Return how many batches the current epoch has, counting those already trained on.

        Where the number of ranks or the batch size has changed within the epoch, it is neither what
        it was nor what the loader says; nor is it where samples are left out of the epoch.
        """
        own = state.dataloader_len
        if own is None:
            return None
        cursor, mark = cursor_of(_in_use(state)), BEGINNING
        if state.timestamp.batch_in_epoch.value > 0:
            mark = self._mark(state, self._was_loaded)
        if cursor is None or mark is None or own.value != len(cursor):
            return own.value
        left = cursor.num_batches_after(mark)
        return own.value if left is None else mark["batches"] + left

    def _open(self, state: State, loader: Iterable[Any], epoch: int) -> Iterator[Any]:
        state.dataset_state["position"] = {
            "epoch": epoch,
            "rng": get_own_rng_state(),
            "generators": generator_states(loader),
            "was_open": is_open(loader),
        }
        return _start(loader)

    def _reopen(self, state: State, loader: Iterable[Any], was_loaded: bool) -> Iterator[Any]:
        kept, generators = get_own_rng_state(), generator_states(loader)
        if was_loaded:
            generators = state.dataset_state.get("generators") or generators
        epoch = state.timestamp.epoch.value
        note: dict[str, Any] | None = state.dataset_state.get("position")
        mark = self._mark(state, was_loaded)
        if note is not None and note["epoch"] == epoch:
            if "rng" in note:
                _match_workers(loader, note["was_open"])
                load_generator_states(loader, note["generators"])
                load_own_rng_state(note["rng"])
        else:
            log.warning(
                "the checkpoint does not say in which random states epoch %d was opened; the order "
                "of its samples is exact only if nothing else draws random numbers",
                epoch,
            )
            _replay_finished_epochs(loader, epoch)
            _set_epoch(loader, epoch)
        batches = self._go_to(state, loader, mark)
        load_generator_states(loader, generators, only_of_data=True)
        self._restore_random_states(kept)
        return batches

    def _go_to(self, state: State, loader: Iterable[Any], mark: Mark | None) -> Iterator[Any]:
        """Open the epoch and come to the first batch that was not trained on."""
        num_done = state.timestamp.batch_in_epoch.value
        cursor = cursor_of(loader)
        reason = _why_replay(loader, cursor, mark)
        if cursor is not None and reason is None:
            return cursor.open(loader, mark or _unverified_mark(state, loader))  # pyright: ignore[reportArgumentType]
        if isinstance(loader, list | tuple):  # read already: passing over its batches costs nothing
            return _replay(loader, state)
        if not self.spin_dataloaders:
            raise DataError(
                f"the epoch cannot be gone on with at batch {num_done} without reading {num_done} "
                f"batches again, and spin_dataloaders=False forbids that: {reason}. Allow it with "
                "spin_dataloaders=True, or use data that can be sought; docs/resumption.md says how"
            )
        warnings.warn(
            f"reading {num_done} batches again to come to where the epoch stopped, because "
            f"{reason}. docs/resumption.md says how to do without.",
            stacklevel=2,
        )
        began = time.perf_counter()
        batches = _replay(loader, state)
        log.info("read %d batches again in %.1f s", num_done, time.perf_counter() - began)
        return batches

    @staticmethod
    def _mark(state: State, was_loaded: bool) -> Mark | None:
        if was_loaded:
            return (state.dataset_state.get("position") or {}).get("mark")
        cursor = cursor_of(_in_use(state))
        return None if cursor is None else cursor.mark(state.timestamp.batch_in_epoch.value)

    def _restore_random_states(self, otherwise: dict[str, Any] | None = None) -> None:
        if self._rng_states is not None:
            load_rng_state(self._rng_states)
            self._rng_states = None
        elif otherwise is not None:
            load_own_rng_state(otherwise)

    @staticmethod
    def _open_evaluators(state: State) -> None:
        opened: list[str] = state.dataset_state.pop("open", [])
        for evaluator in state.evaluators:
            if evaluator.label in opened:
                _match_workers(evaluator.dataloader.dataloader, was_open=True)


def _in_use(state: State) -> Iterable[Any]:
    if state.dataloader is None:
        raise StateError("there is no dataloader to iterate over: call state.set_dataloader first")
    return state.dataloader


def _check_length(state: State) -> None:
    saved, found = state.dataset_state.get("length"), dataset_length(_in_use(state))
    if saved is None or found is None or saved == found:
        return
    num_done = state.timestamp.batch_in_epoch.value
    text = f"the data set had {saved} samples when the checkpoint was written and has {found} now"
    if num_done > 0:
        raise DataError(
            f"{text}, and the checkpoint stands in the middle of an epoch, at batch {num_done}: "
            "which samples are still to come cannot be said. Use the same data, or begin a new run "
            "from these weights with load_weights_only=True."
        )
    warnings.warn(f"{text}; training goes on with the new data from a whole epoch", stacklevel=2)


def _why_replay(loader: Iterable[Any], cursor: IndexCursor | None, mark: Mark | None) -> str | None:
    """Return why the batches trained on must be read again; ``None`` if they need not."""
    if cursor is None:
        return why_not_by_index(loader)
    if getattr(loader, "in_order", True) is False and getattr(loader, "num_workers", 0) > 0:
        return "in_order=False lets workers give batches in any order, so this will not be exact"
    if mark is None:
        return None
    if not cursor.can_start_at(mark):
        return (
            f"the number of ranks is no longer {mark['shares']} and its sampler cannot share the "
            "rest of the epoch out anew, so this will not be exact; a sampler made by "
            "composer.utils.dist.get_sampler can"
        )
    if mark["draws"]:
        drawing = "its worker processes draw random numbers as they read samples"
        if getattr(loader, "persistent_workers", False):
            drawing = f"{drawing}, which is exact in the first epoch alone as they live on"
        return (
            f"{drawing}; wrap the data set in composer.SeededDataset to make them depend on the "
            "sample alone"
        )
    return None


def _unverified_mark(state: State, loader: Any) -> Mark:
    """Return a mark made of counts alone, for files that hold none."""
    log.warning("the checkpoint does not say which samples were read last: order is not verified")
    num_done = state.timestamp.batch_in_epoch.value
    samples = num_done * (getattr(loader, "batch_size", None) or 1)
    return {"batches": num_done, "samples": samples, "tail": [], "share": 0, "shares": 1,
            "cursor": state.timestamp.sample_in_epoch.value, "draws": False}  # fmt: skip


def _start(loader: Any) -> Iterator[Any]:
    """Open a loader at the beginning of an epoch, in such a way that its position can be noted."""
    cursor = cursor_of(loader)
    return iter(loader) if cursor is None else cursor.open(loader)


def _replay(loader: Iterable[Any], state: State) -> Iterator[Any]:
    num_done = state.timestamp.batch_in_epoch.value
    batches = _start(loader)
    for index in range(num_done):
        if next(batches, _NO_BATCH) is _NO_BATCH:
            raise DataError(
                f"the checkpoint stands at batch {num_done} of epoch {state.timestamp.epoch.value},"
                f" but the dataloader gives only {index}: the data set or the batch size has "
                "changed. Use the same data, or load_weights_only=True."
            )
    return batches


def _match_workers(loader: Iterable[Any], was_open: bool) -> None:
    """Give a loader persistent workers, or take them away, as they were when it was opened.

    Starting them draws a random number, going on with them does not, and the order of samples
    depends on what is drawn after.
    """
    if not getattr(loader, "persistent_workers", False) or is_open(loader) == was_open:
        return
    if was_open:
        _start(loader)
    else:
        loader._iterator = None  # pyright: ignore[reportAttributeAccessIssue]


def _replay_finished_epochs(loader: Iterable[Any], num_epochs: int) -> None:
    """Open the loader once for each finished epoch, which moves its sampler's random states on."""
    for epoch in range(num_epochs):
        _set_epoch(loader, epoch)
        next(iter(loader), None)


def _set_epoch(loader: Iterable[Any], epoch: int) -> None:
    """Tell the loader's samplers and seeded data sets the epoch, each once."""
    named = [getattr(loader, name, None) for name in ("sampler", "batch_sampler")]
    samplers = [*named, *(getattr(sampler, "sampler", None) for sampler in named)]
    seeded = find_seeded(getattr(loader, "dataset", None))
    for each in {id(each): each for each in [*samplers, *seeded]}.values():
        set_epoch = getattr(each, "set_epoch", None)
        if callable(set_epoch):
            set_epoch(epoch)
