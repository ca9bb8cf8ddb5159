"""Positions of data sets and loaders that can say where they are.

Two kinds can: a loader with ``state_dict`` and ``load_state_dict`` (torchdata's
StatefulDataLoader), and an iterable data set with both. A data set whose ``state_dict`` takes the
number of samples (mosaicml-streaming) is asked for the position training has reached; one that
takes nothing is asked only where it is read in this process, so that it knows. Everything else is
positioned by the trainer.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.utils.data import IterableDataset

if TYPE_CHECKING:
    from composer.core.state import State

__all__ = [
    "apply_dataset_state",
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
        trainer has noted about the current epoch, if anything; ``generators``: states of the
        random generators the training loader was given; ``open``: labels of the evaluators whose
        workers have been started for good.
    """
    num_samples = int(state.timestamp.sample_in_epoch)
    saved: dict[str, Any] = {"train": _read(state.train_dataloader, num_samples), "eval": {}}
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
        saved["position"] = state.dataset_state["position"]
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


def generator_states(dataloader: Any) -> dict[str, torch.Tensor]:
    """Return the states of the random generators that a loader and its sampler were given."""
    return {name: generator.get_state() for name, generator in _generators(dataloader).items()}


def load_generator_states(dataloader: Any, saved: dict[str, torch.Tensor]) -> None:
    """Take over states from :func:`generator_states`."""
    for name, generator in _generators(dataloader).items():
        if name in saved:
            generator.set_state(saved[name])


def _generators(dataloader: Any) -> dict[str, torch.Generator]:
    loader = _loader(dataloader)
    holders = {
        "loader": loader,
        "sampler": getattr(loader, "sampler", None),
        "batch_sampler": getattr(loader, "batch_sampler", None),
    }
    found = {name: getattr(holder, "generator", None) for name, holder in holders.items()}
    return {name: each for name, each in found.items() if isinstance(each, torch.Generator)}


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
