"""The state of a run as one nested dict, and back.

The keys are the layout of a checkpoint: they stay. Things of which there may be several are keyed
by class name, a second one of a class as ``Name_1``, so that both keep their state. Tensors are
those of the run, not copies, and nothing is read from the device; whoever writes them to a file
opens :func:`composer.core.weight_view.evaluation_weights` around both steps.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from composer.core.dataset_io import dataset_state_to_dict, load_dataset_state
from composer.core.metrics_io import load_metrics, metrics_to_dict
from composer.core.optimizer_io import load_optimizer, optimizer_to_dict, parameter_names
from composer.core.required_algorithms import SavedAlgorithm, add_required_algorithms
from composer.core.run_metadata import integrations_to_dict, is_foreign, metadata_to_dict
from composer.errors import CheckpointError

if TYPE_CHECKING:
    from composer.core.logger import Logger
    from composer.core.passes import AlgorithmPass
    from composer.core.state import State

__all__ = [
    "instance_keys",
    "load_model_state",
    "load_optimizer_state",
    "load_state",
    "optimizers_to_dict",
    "state_to_dict",
]

log = logging.getLogger(__name__)


class _Restorable(Protocol):
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any], /) -> object: ...


_LoadOne = Callable[[_Restorable, dict[str, Any]], None]


def state_to_dict(state: State) -> dict[str, Any]:
    """Return everything a checkpoint keeps of a run.

    Args:
        state: the run's state.

    Returns:
        ``model``, ``optimizers``, ``schedulers``, ``algorithms``, ``callbacks``, ``scaler`` (if
        there is one), ``timestamp``, ``rank_zero_seed``, ``run_name``, ``dataset_state``,
        ``progress``, ``total_loss_dict``, ``train_metric_values``, ``train_metrics`` and
        ``eval_metrics`` (with ``state.save_metrics``), ``integrations`` and ``metadata``.
    """
    saved: dict[str, Any] = {
        "model": state.get_model_state_dict(),
        "optimizers": optimizers_to_dict(state),
        "schedulers": _by_instance(state.schedulers),
        "algorithms": [(type(a).__qualname__, a.state_dict()) for a in state.algorithms],
        "callbacks": _by_instance(state.callbacks),
        "timestamp": {"Timestamp": state.timestamp.state_dict()},
        "rank_zero_seed": state.rank_zero_seed,
        "run_name": state.run_name,
        "dataset_state": dataset_state_to_dict(state),
        "progress": state.progress,
        # Looked at and logged at the end of an epoch, where a run may be gone on with.
        "total_loss_dict": dict(state.total_loss_dict),
        "train_metric_values": dict(state.train_metric_values),
        "integrations": integrations_to_dict(state.model),
        "metadata": metadata_to_dict(state),
    }
    if state.scaler is not None:
        saved["scaler"] = _by_instance([state.scaler])
    if state.save_metrics:
        saved["train_metrics"] = metrics_to_dict(state.train_metrics or {})
        saved["eval_metrics"] = {
            label: metrics_to_dict(metrics) for label, metrics in state.eval_metrics.items()
        }
    return saved


def load_state(
    state: State,
    state_dict: Mapping[str, Any],
    logger: Logger,
    strict: bool = False,
    exclude_algorithms: Sequence[str] | None = None,
    algorithm_passes: Sequence[AlgorithmPass] | None = None,
) -> None:
    """Take over what :func:`state_to_dict` returned; what is absent there stays as it is.

    Args:
        state: the run's state. Its ``run_name`` is kept.
        state_dict: the saved state. Its tensors may be taken over without copying.
        logger: the run's logger.
        strict: whether the model must have exactly the saved weights.
        exclude_algorithms: names of required methods not to make; see
            :mod:`composer.core.required_algorithms`.
        algorithm_passes: the passes that order methods.

    Raises:
        RuntimeError: the saved state does not fit the run.
    """
    load_model_state(state, state_dict, logger, strict, exclude_algorithms, algorithm_passes)
    load_one = _load_foreign if is_foreign(state_dict) else _load_own
    # Before the optimizers: methods may have taken parameters out of them.
    _load_algorithms(state, state_dict.get("algorithms"), load_one)
    load_optimizer_state(state, state_dict)
    _load_by_instance(state.schedulers, state_dict.get("schedulers"), "scheduler", load_one)
    _load_by_instance(state.callbacks, state_dict.get("callbacks"), "callback", load_one)
    if state.scaler is not None:
        _load_by_instance([state.scaler], state_dict.get("scaler"), "gradient scaler", load_one)
    _load_counters(state, state_dict)
    load_metrics(state.train_metrics or {}, state_dict.get("train_metrics") or {})
    saved_eval: dict[str, Any] = state_dict.get("eval_metrics") or {}
    for label, metrics in state.eval_metrics.items():
        load_metrics(metrics, saved_eval.get(label, {}))


def load_model_state(
    state: State,
    state_dict: Mapping[str, Any],
    logger: Logger,
    strict: bool,
    exclude_algorithms: Sequence[str] | None = None,
    algorithm_passes: Sequence[AlgorithmPass] | None = None,
) -> None:
    """Take over only the weights; arguments as in :func:`load_state`."""
    if "algorithms" in state_dict:
        saved = _algorithm_pairs(state_dict["algorithms"])
        add_required_algorithms(state, logger, saved, exclude_algorithms, algorithm_passes)
    if "model" not in state_dict:
        return
    missing, unexpected = cast(
        "tuple[list[str], list[str]]",
        state.model.load_state_dict(state_dict["model"], strict=False),
    )
    if not missing and not unexpected:
        return
    difference = (
        f"the model's weights differ from the checkpoint's: not in the checkpoint "
        f"{_shortened(missing)}, only there {_shortened(unexpected)}"
    )
    if strict:
        raise CheckpointError(
            f"{difference}. Build the same model, or load what fits with "
            "load_strict_model_weights=False."
        )
    log.warning("%s", difference)


def optimizers_to_dict(state: State) -> dict[str, Any]:
    """Return the states of the optimizers, by the optimizer's name and the parameters' names."""
    names = parameter_names(state.model)
    return {
        name: optimizer_to_dict(optimizer, names)
        for name, optimizer in state.named_optimizers.items()
    }


def load_optimizer_state(state: State, state_dict: Mapping[str, Any]) -> None:
    """Take over the states of the optimizers from under ``optimizers``."""
    saved = state_dict.get("optimizers")
    if saved is None:
        return
    names = parameter_names(state.model)
    for name, optimizer in state.named_optimizers.items():
        if name in saved:
            load_optimizer(optimizer, names, saved[name], name)
        else:
            _warn_not_restored(f"optimizer {name!r}", saved)


def instance_keys(items: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Yield each item under its class name, a second one of a class under ``Name_1``, and so on."""
    taken: set[str] = set()
    for item in items:
        name = key = type(item).__qualname__
        number = 0
        while key in taken:
            number += 1
            key = f"{name}_{number}"
        taken.add(key)
        yield key, item


def _by_instance(items: Iterable[_Restorable]) -> dict[str, Any]:
    return {key: item.state_dict() for key, item in instance_keys(items)}


def _load_by_instance(
    items: Sequence[_Restorable], saved: Mapping[str, Any] | None, kind: str, load_one: _LoadOne
) -> None:
    if saved is None:
        return
    for key, item in instance_keys(items):
        if key in saved:
            load_one(item, saved[key])
        elif item.state_dict():
            _warn_not_restored(f"{kind} {key!r}", saved)


def _load_own(item: _Restorable, saved: dict[str, Any]) -> None:
    try:
        item.load_state_dict(saved)
    except Exception as error:
        error.add_note(f"while loading the checkpoint's state of {item!r}")
        raise


def _load_foreign(item: _Restorable, saved: dict[str, Any]) -> None:
    """Take over what MosaicML Composer kept of something, if it understands that."""
    try:
        item.load_state_dict(saved)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        warnings.warn(
            f"{type(item).__name__} does not understand the state that MosaicML Composer kept of "
            f"it ({type(error).__name__}: {error}) and starts afresh",
            stacklevel=2,
        )


def _warn_not_restored(what: str, saved: Mapping[str, Any]) -> None:
    warnings.warn(
        f"the checkpoint has no state of the {what}, which starts afresh; it has {sorted(saved)}",
        stacklevel=2,
    )


def _algorithm_pairs(saved: Any) -> list[SavedAlgorithm]:
    """Return the saved methods as pairs, also from files that keep them in a mapping."""
    if isinstance(saved, Mapping):
        return list(cast("Mapping[str, Any]", saved).items())
    return [(name, entries) for name, entries in cast("Sequence[SavedAlgorithm]", saved)]


def _load_algorithms(state: State, saved: Any, load_one: _LoadOne) -> None:
    if saved is None:
        return
    remaining = _algorithm_pairs(saved)
    for algorithm in state.algorithms:
        name = type(algorithm).__qualname__
        index = next((i for i, pair in enumerate(remaining) if pair[0] == name), None)
        if index is not None:
            load_one(algorithm, dict(remaining.pop(index)[1]))
        elif algorithm.state_dict().keys() - {"repr", "arguments"}:
            _warn_not_restored(f"method {name!r}", dict(_algorithm_pairs(saved)))


def _load_counters(state: State, state_dict: Mapping[str, Any]) -> None:
    if "timestamp" in state_dict:
        state.timestamp = type(state.timestamp)()
        state.timestamp.load_state_dict(state_dict["timestamp"]["Timestamp"])
        state.previous_timestamp = None
    if "rank_zero_seed" in state_dict:
        state.rank_zero_seed = state_dict["rank_zero_seed"]
    if "dataset_state" in state_dict:
        load_dataset_state(state, dict(state_dict["dataset_state"] or {}))
    if "progress" in state_dict:
        state.progress = dict(state_dict["progress"])
    for name in ("total_loss_dict", "train_metric_values"):
        if name in state_dict:
            setattr(state, name, dict(state_dict[name]))
    found = state_dict.get("metadata", {}).get("device_train_microbatch_size")
    if state.auto_microbatching and found is not None:
        state.device_train_microbatch_size = found


def _shortened(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{list(names[:5])}{more}"
