"""Methods that a checkpoint cannot be loaded without.

A method that rebuilds the model (``required_on_load``) must be there before the weights are. The
checkpoint keeps its class name and arguments; the class is found in the registry and made anew.
Nothing from the file is run: arguments are JSON values, and an old file that holds only the text of
a constructor call is read as a call with literal arguments.
"""

from __future__ import annotations

import ast
import logging
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.core.passes import DEFAULT_PASSES, AlgorithmPass
from composer.errors import CheckpointError, ConfigError
from composer.registry import ALGORITHMS

if TYPE_CHECKING:
    from composer.core.logger import Logger
    from composer.core.state import State

__all__ = ["SavedAlgorithm", "add_required_algorithms", "parse_call"]

log = logging.getLogger(__name__)

SavedAlgorithm = tuple[str, Mapping[str, Any]]


def add_required_algorithms(
    state: State,
    logger: Logger,
    saved: Sequence[SavedAlgorithm],
    exclude_algorithms: Sequence[str] | None = None,
    algorithm_passes: Sequence[AlgorithmPass] | None = None,
) -> None:
    """Make the methods that a checkpoint requires and the run does not have, and let them act.

    Args:
        state: the run's state.
        logger: the run's logger.
        saved: class name and state of each method of the checkpoint.
        exclude_algorithms: names of methods not to make.
        algorithm_passes: the passes that order methods; the default ones if ``None``.

    Raises:
        ValueError: a method that is missing would have to act before one that has acted already.
        RuntimeError: a method cannot be made from what the checkpoint holds.

    Warns:
        UserWarning: a method was made, or has other arguments than in the checkpoint.
    """
    required = _pair_up(state, saved, exclude_algorithms or ())
    made = {id(algorithm) for algorithm, is_new in required if is_new}
    if not made:
        return
    ordered: Sequence[Algorithm] = [algorithm for algorithm, _ in required]
    for algorithm_pass in DEFAULT_PASSES if algorithm_passes is None else algorithm_passes:
        ordered = algorithm_pass(ordered, Event.INIT)
    _check_order(ordered, made)
    for algorithm in ordered:
        if id(algorithm) in made:
            _install(algorithm, state, logger)


def parse_call(text: str, name: str) -> dict[str, Any]:
    """Read ``Name(key=literal, ...)`` without running it.

    Args:
        text: the call.
        name: what must be called.

    Returns:
        The keyword arguments.

    Raises:
        ValueError: the text is no call of ``name`` with literal keyword arguments.
    """
    problem = ConfigError(f"{text!r} is no call of {name!r} with literal keyword arguments")
    try:
        call = ast.parse(text, mode="eval").body
    except SyntaxError:
        raise problem from None
    if not isinstance(call, ast.Call) or ast.unparse(call.func).rpartition(".")[2] != name:
        raise problem
    if call.args or any(keyword.arg is None for keyword in call.keywords):
        raise problem
    try:
        return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (ValueError, TypeError):
        raise problem from None


def _pair_up(
    state: State, saved: Sequence[SavedAlgorithm], excluded: Sequence[str]
) -> list[tuple[Algorithm, bool]]:
    """Return the checkpoint's required methods in its order, each with whether it is new."""
    present: dict[str, list[Algorithm]] = {}
    for algorithm in state.algorithms:
        present.setdefault(type(algorithm).__qualname__, []).append(algorithm)
    seen: Counter[str] = Counter()
    pairs: list[tuple[Algorithm, bool]] = []
    for name, entries in saved:
        number, same = seen[name], present.get(name, [])
        seen[name] += 1
        if number < len(same):
            if same[number].required_on_load():
                _warn_if_different(same[number], entries)
                pairs.append((same[number], False))
        elif name not in excluded and _is_required(name):
            pairs.append((_make(name, entries), True))
    return pairs


def _is_required(name: str) -> bool:
    if name not in ALGORITHMS:
        log.info(
            "the checkpoint was trained with %r, which is not registered here; register it with "
            "composer.registry.ALGORITHMS if the model needs it",
            name,
        )
        return False
    return ALGORITHMS.get(name).required_on_load()


def _make(name: str, entries: Mapping[str, Any]) -> Algorithm:
    try:
        arguments = entries.get("arguments")
        if arguments is None:
            arguments = parse_call(str(entries.get("repr")), name)
        return ALGORITHMS.get(name)(**arguments)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"the checkpoint was trained with {name}, which changes the model, and it could not be "
            f"made from the checkpoint: {error}. Pass it in algorithms=[...], or leave it out with "
            f"load_exclude_algorithms=[{name!r}]."
        ) from error


def _warn_if_different(algorithm: Algorithm, entries: Mapping[str, Any]) -> None:
    before, now = entries.get("arguments"), algorithm.arguments()
    if before is None:
        before, now = entries.get("repr"), repr(algorithm)
    if before != now:
        warnings.warn(
            f"{type(algorithm).__name__} was trained with {before!r} and is loaded with {now!r}; "
            "the weights may not fit",
            stacklevel=2,
        )


def _check_order(ordered: Sequence[Algorithm], made: set[int]) -> None:
    acted = [algorithm for algorithm in ordered if id(algorithm) not in made]
    if not acted:
        return
    last = max(index for index, each in enumerate(ordered) if id(each) not in made)
    late = [type(each).__name__ for each in ordered[:last] if id(each) in made]
    if late:
        raise ConfigError(
            f"the checkpoint needs {late}, which must act before {type(ordered[last]).__name__}, "
            "but that one has changed the model already. Pass all of them, in the order "
            f"algorithms={[type(each).__name__ for each in ordered]}, or leave them out with "
            f"load_exclude_algorithms={late}."
        )


def _install(algorithm: Algorithm, state: State, logger: Logger) -> None:
    name = type(algorithm).__name__
    warnings.warn(
        f"the checkpoint was trained with {name}, which changes the model, so it was made from the "
        f"checkpoint: {algorithm.arguments()}. Pass it in algorithms=[...] to silence this.",
        stacklevel=2,
    )
    for event in (Event.INIT, Event.BEFORE_LOAD):
        if algorithm.match(event, state):
            algorithm.apply(event, state, logger)
    state.algorithms.append(algorithm)
