"""Positions of data sets and loaders that can say where they are.

Two kinds can: a loader with ``state_dict`` and ``load_state_dict`` (torchdata's
StatefulDataLoader), and an iterable data set with both. A data set whose ``state_dict`` takes the
number of samples (mosaicml-streaming) is asked for the position training has reached; one that
takes nothing is asked only where it is read in this process, so that it knows. Everything else is
positioned by the trainer.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from torch.utils.data import IterableDataset

from composer.core.index_cursor import cursor_of, dataset_length
from composer.core.random_sources import find_generators, load_generator, read_generator
from composer.errors import DataError

if TYPE_CHECKING:
    from composer.core.state import State

__all__ = [
    "apply_dataset_state",
    "check_stateful_position",
    "dataset_state_to_dict",
    "generator_states",
    "is_open",
    "load_dataset_state",
    "load_generator_states",
    "reload_dataset_state",
]


def dataset_state_to_dict(state: State) -> dict[str, Any]:
    """Return where the data sets of a run are.

    Returns:
        ``train`` and ``eval``: states of the data sets (``None``, or absent, where a data set has
        none); ``loader``: the training loader's own state, where it has one; ``position``: what the
        trainer has noted about the current epoch, if anything, with a ``mark`` of where it stands
        (see :meth:`composer.core.index_cursor.IndexCursor.mark`); ``length``: samples of the
        training data set; ``generators``: states of the random generators that the training loader
        was given or its data set holds; ``open``: labels of the evaluators whose workers have been
        started for good.
    """
    num_samples = int(state.timestamp.sample_in_epoch)
    saved: dict[str, Any] = {"train": _read(state.train_dataloader, num_samples), "eval": {}}
    if state.timestamp.epoch > 0 and state.timestamp.batch_in_epoch == 0:
        saved["train"] = _at_next_epoch(saved["train"], state)
    for evaluator in state.evaluators:
        position = _read(evaluator.dataloader, 0)
        if position is not None:
            saved["eval"][evaluator.label] = position
    loader = _loader(state.train_dataloader)
    # Between epochs a loader that was not asked for more than its last batch stands at the end of
    # the old epoch; opening it anew begins the next.
    if _has_state(loader) and state.timestamp.batch_in_epoch.value > 0:
        saved["loader"] = loader.state_dict()
    if state.dataset_state.get("position") is not None:
        saved["position"] = {**state.dataset_state["position"], **_mark(state)}
    length = dataset_length(loader)
    if length is not None:
        saved["length"] = length
    generators = generator_states(state.train_dataloader)
    if generators:
        saved["generators"] = generators
    opened = [e.label for e in state.evaluators if is_open(e.dataloader)]
    if opened:
        saved["open"] = opened
    return saved


def load_dataset_state(state: State, saved: dict[str, Any]) -> None:
    """Keep a saved position and pass it on to the data sets that are there already."""
    state.dataset_state = {"train": None, "eval": {}, **saved}
    state.dataset_resumption = {"train": False, "eval": {}}
    apply_dataset_state(state)


def apply_dataset_state(state: State) -> None:
    """Pass kept positions on to data sets that have appeared since; each is passed on once."""
    kept: dict[str, Any] = state.dataset_state
    resumed: dict[str, Any] = state.dataset_resumption
    loader, dataset = _loader(state.train_dataloader), _dataset(state.train_dataloader)
    if kept.get("loader") is not None and _has_state(loader):
        loader.load_state_dict(kept.pop("loader"))
        resumed["train"] = True
    if kept.get("train") is not None and _has_state(dataset):
        dataset.load_state_dict(kept["train"])
        kept["train"] = None
        resumed["train"] = True
    for evaluator in state.evaluators:
        dataset = _dataset(evaluator.dataloader)
        if kept["eval"].get(evaluator.label) is not None and _has_state(dataset):
            dataset.load_state_dict(kept["eval"].pop(evaluator.label))
            resumed["eval"][evaluator.label] = True


def _at_next_epoch(position: Any, state: State) -> Any:
    """Return a position between two epochs as the beginning of the later one.

    mosaicml-streaming names the epoch that was begun last; gone on with, it would begin that again.
    What was loaded and not opened yet names the epoch to come already.
    """
    if not isinstance(position, Mapping) or state.dataset_resumption.get("train", False):
        return position
    known = cast("Mapping[str, Any]", position)
    return {**known, "epoch": known["epoch"] + 1} if "sample_in_epoch" in known else position


def _mark(state: State) -> dict[str, Any]:
    """Return the mark of where the epoch stands; nothing if nobody knows, or it was kept before."""
    cursor, num_done = cursor_of(_loader(state.train_dataloader)), state.timestamp.batch_in_epoch
    mark = None if cursor is None else cursor.mark(num_done.value)
    return {} if mark is None else {"mark": mark}


def check_stateful_position(state: State) -> None:
    """Compare what a loader that knows its position says with the batches trained on.

    Raises:
        ValueError: it says another number of batches, so it was not put where it was.
    """
    loader = _loader(state.train_dataloader)
    said = _batches_said(loader.state_dict()) if _has_state(loader) else None
    trained = state.timestamp.batch_in_epoch.value
    if said is not None and said != trained:
        raise DataError(
            f"{trained} batches of the epoch have been trained on, and {type(loader).__name__} "
            f"says after its state was loaded that it has given {said}. Give load_path and "
            "load_ignore_keys=['state/dataset_state/*'] to go on by replaying."
        )


def _batches_said(saved: Mapping[str, Any]) -> int | None:
    """Return how many batches a state of torchdata's loader counts; ``None`` for other states."""
    if "_num_yielded" in saved:
        return saved["_num_yielded"]
    snapshot = saved.get("_snapshot")
    if isinstance(snapshot, Mapping) and "_snapshot_step" in snapshot:
        return snapshot["_snapshot_step"] + saved.get("_steps_since_snapshot", 0)
    return None


def reload_dataset_state(state: State) -> bool:
    """Let the training data go on from where it is now when it is next iterated over.

    Returns:
        Whether it can say where it is.
    """
    saved = dataset_state_to_dict(state)
    loader, dataset = _loader(state.train_dataloader), _dataset(state.train_dataloader)
    if _has_state(loader):
        loader.load_state_dict(saved["loader"])
        return True
    if saved["train"] is not None:
        if hasattr(dataset, "next_epoch"):
            # mosaicml-streaming takes a position for outdated if its epoch was begun already.
            dataset.next_epoch = saved["train"]["epoch"]
        dataset.load_state_dict(saved["train"])
        return True
    return False


def is_open(dataloader: Any) -> bool:
    """Return whether a loader has worker processes that live on from one pass to the next."""
    loader = _loader(dataloader)
    if not getattr(loader, "persistent_workers", False):
        return False
    # Such a loader keeps its iterator here; opening it draws a random number, reusing it does not.
    return getattr(loader, "_iterator", None) is not None


def generator_states(dataloader: Any) -> dict[str, Any]:
    """Return the states of the random generators that a loader, its samplers and data set hold.

    Returns:
        One state by the path of attributes that leads to its generator: ``loader.generator``,
        ``dataset.transform.rng``.
    """
    return {name: read_generator(each) for name, each in _generators(dataloader).items()}


def load_generator_states(
    dataloader: Any, saved: Mapping[str, Any], only_of_data: bool = False
) -> None:
    """Take over states from :func:`generator_states`.

    Args:
        dataloader: the loader.
        saved: the states; older files name generators of loaders and samplers by their holder.
        only_of_data: leave the loader and its samplers as they are.
    """
    for name, generator in _generators(dataloader).items():
        is_of_data = name.startswith("dataset.")
        found = saved.get(name, saved.get(name.removesuffix(".generator")))
        if found is not None and (is_of_data or not only_of_data):
            load_generator(generator, found)


def _generators(dataloader: Any) -> dict[str, Any]:
    loader = _loader(dataloader)
    found: dict[str, Any] = find_generators(getattr(loader, "dataset", None), "dataset")
    for name in ("loader", "sampler", "batch_sampler"):
        holder = loader if name == "loader" else getattr(loader, name, None)
        generator = getattr(holder, "generator", None)
        found.update(find_generators(generator, f"{name}.generator"))
    return found


def _loader(dataloader: Any) -> Any:
    """Return the loader itself, out of a ``DataSpec``."""
    return getattr(dataloader, "dataloader", dataloader)


def _dataset(dataloader: Any) -> Any:
    return getattr(_loader(dataloader), "dataset", None)


def _has_state(thing: Any) -> bool:
    has = (callable(getattr(thing, name, None)) for name in ("state_dict", "load_state_dict"))
    return all(has)


def _read(dataloader: Any, num_samples: int) -> Any:
    dataset = _dataset(dataloader)
    if not _has_state(dataset):
        return None
    parameters = inspect.signature(dataset.state_dict).parameters
    if len(parameters) >= 2:
        return dataset.state_dict(num_samples, True)
    # Worker processes read copies of the data set: the one here then knows nothing.
    is_read_here = getattr(_loader(dataloader), "num_workers", 0) == 0
    if is_read_here and isinstance(dataset, IterableDataset):
        return cast("Any", dataset).state_dict()
    return None
