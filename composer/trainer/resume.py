"""Where to go on: which checkpoint, and where in the data.

A run that is interrupted and resumed must be the same run. The order of an epoch's samples follows
from the random states in which the epoch was opened, so those are noted and kept in checkpoints:
the epoch is opened in the same states again, the batches already trained are drawn and dropped, and
then the checkpoint's random states are put back. Finished epochs need not be replayed.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from composer.checkpoint.layout import fill_for_loading
from composer.checkpoint.newest import Found, find_newest_valid
from composer.checkpoint.remote_folder import RemoteFolder
from composer.core.dataset_io import (
    apply_dataset_state,
    generator_states,
    is_open,
    load_generator_states,
    reload_dataset_state,
)
from composer.core.state import State
from composer.distributed import comm
from composer.distributed.reproducibility import (
    get_own_rng_state,
    load_own_rng_state,
    load_rng_state,
)
from composer.distributed.waiting import busy_wait_for_local_rank_zero
from composer.errors import CorruptCheckpointError, DataError, DistributedError, StateError
from composer.storage.uri import is_uri

__all__ = ["DataloaderPosition", "find_latest"]

log = logging.getLogger(__name__)

_NO_BATCH = object()


def find_latest(
    save_folder: str,
    latest_filename: str,
    run_name: str,
    filename: str = "ep{epoch}-ba{batch}-rank{rank}.pt",
) -> str | None:
    """Return the newest whole checkpoint of a run, for ``autoresume``; all ranks call this.

    Newer ones that are broken are skipped, and it is said which and why. From a folder at an
    address, each machine fetches the checkpoint once.

    Args:
        save_folder: the run's folder of checkpoints, here or at an address; ``{run_name}`` is
            filled in.
        latest_filename: name of the link in it; ``{rank}`` is 0.
        run_name: the run's name.
        filename: name template of the run's checkpoints.

    Returns:
        The local path to load, or ``None`` if the run has no checkpoint yet.

    Raises:
        ValueError: there are checkpoints, and all of them are broken.
        RuntimeError: some ranks see the checkpoint and others do not.
    """
    folder = fill_for_loading(save_folder, run_name)
    latest = fill_for_loading(latest_filename, run_name)
    remote = RemoteFolder(folder, run_name, latest) if is_uri(folder) else None
    choice: list[Found | None] = [None]
    with busy_wait_for_local_rank_zero(tempfile.gettempdir()):
        if comm.get_global_rank() == 0:
            # Whether a file is whole is judged once, by reading all of it.
            local = find_newest_valid(folder, filename, latest) if remote is None else None
            choice[0] = local if remote is None else remote.fetch_newest(filename)
    comm.broadcast_object_list(choice, src=0)
    found = choice[0]
    assert found is not None
    if found.path is None:
        _refuse_to_start_over(folder, found)
        return None
    path = found.path if remote is None else _fetch_on_each_machine(remote, found.path)
    _check_all_see(path)
    return path


def _fetch_on_each_machine(remote: RemoteFolder, path_on_first: str) -> str:
    """Return this machine's copy of a checkpoint that rank 0 has on its own."""
    path = path_on_first
    with busy_wait_for_local_rank_zero(tempfile.gettempdir()):
        if comm.get_local_rank() == 0 and comm.get_global_rank() != 0:
            path = remote.fetch(os.path.basename(path_on_first))
    remote.close()
    offers = comm.all_gather_object((comm.get_node_rank(), comm.get_global_rank(), path))
    return min(each for each in offers if each[0] == comm.get_node_rank())[2]


def _check_all_see(path: str) -> None:
    everywhere = comm.all_gather_object(os.path.lexists(path))
    if not all(everywhere):
        ranks = [rank for rank, is_there in enumerate(everywhere) if not is_there]
        raise DistributedError(
            f"autoresume found {path!r} on rank 0 and not on the ranks {ranks}: save_folder must "
            "be one folder that all nodes see, an address, or be copied to all of them"
        )


def _refuse_to_start_over(folder: str, found: Found) -> None:
    if found.skipped:
        reasons = "; ".join(f"{os.path.basename(path)}: {why}" for path, why in found.skipped)
        raise CorruptCheckpointError(
            f"{folder!r} holds checkpoints and none of them is whole: {reasons}. To start from the "
            "beginning, empty the folder or use another one."
        )


class DataloaderPosition:
    """Opens the training loader so that an interrupted epoch goes on where it stopped.

    The next batch must be asked for only after the one before is trained and saved: loaders without
    workers draw random numbers when they are asked.

    Args:
        spin_dataloaders: whether batches of an interrupted epoch that were trained already are
            drawn again and dropped. Without it an interrupted epoch is opened anew, in another
            order. Data that can say where it is needs neither.
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
        """
        apply_dataset_state(state)
        if self._rng_states is None:
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
            ValueError: the epoch has fewer batches than have been trained on.
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
            self._restore_random_states(kept)
            return batches
        if self.spin_dataloaders:
            return self._reopen(state, loader, epoch, num_done)
        log.warning(
            "spin_dataloaders=False: epoch %d is opened anew, although %d of its batches were "
            "trained on; some samples will be seen twice and others not at all",
            epoch,
            num_done,
        )
        self._restore_random_states()
        return self._open(state, loader, epoch)

    def _open(self, state: State, loader: Iterable[Any], epoch: int) -> Iterator[Any]:
        state.dataset_state["position"] = {
            "epoch": epoch,
            "rng": get_own_rng_state(),
            "generators": generator_states(loader),
            "was_open": is_open(loader),
        }
        return iter(loader)

    def _reopen(
        self, state: State, loader: Iterable[Any], epoch: int, num_done: int
    ) -> Iterator[Any]:
        kept = get_own_rng_state()
        note: dict[str, Any] | None = state.dataset_state.get("position")
        if note is not None and note["epoch"] == epoch:
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
        batches = iter(loader)
        for index in range(num_done):
            if next(batches, _NO_BATCH) is _NO_BATCH:
                raise DataError(
                    f"the checkpoint stands at batch {num_done} of epoch {epoch}, but the "
                    f"dataloader gives only {index}: the data set or the batch size has changed. "
                    "Use the same data, or load_weights_only=True."
                )
        self._restore_random_states(kept)
        return batches

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


def _match_workers(loader: Iterable[Any], was_open: bool) -> None:
    """Give a loader persistent workers, or take them away, as they were when it was opened.

    Starting them draws a random number, going on with them does not, and the order of samples
    depends on what is drawn after.
    """
    if not getattr(loader, "persistent_workers", False) or is_open(loader) == was_open:
        return
    if was_open:
        iter(loader)
    else:
        loader._iterator = None  # pyright: ignore[reportAttributeAccessIssue]


def _replay_finished_epochs(loader: Iterable[Any], num_epochs: int) -> None:
    """Open the loader once for each finished epoch, which moves its sampler's random states on."""
    for epoch in range(num_epochs):
        _set_epoch(loader, epoch)
        next(iter(loader), None)


def _set_epoch(loader: Iterable[Any], epoch: int) -> None:
    """Tell the loader's samplers the epoch, each once."""
    named = [getattr(loader, name, None) for name in ("sampler", "batch_sampler")]
    samplers = [*named, *(getattr(sampler, "sampler", None) for sampler in named)]
    for sampler in {id(sampler): sampler for sampler in samplers}.values():
        set_epoch = getattr(sampler, "set_epoch", None)
        if callable(set_epoch):
            set_epoch(epoch)
