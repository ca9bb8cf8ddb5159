"""Layer freezing: stop training early layers before late ones.

Papers: Raghu, Gilmer, Yosinski, Sohl-Dickstein, "SVCCA", 2017, arXiv:1706.05806 (layers settle from
the input on); Brock, Lim, Ritchie, Weston, "FreezeOut", 2017, arXiv:1706.04983.

Idea: after a share of training the layers are frozen one after the other, from the first on. A
frozen layer needs no gradient, no optimizer state and no communication.

When it helps: fine-tuning, in which early layers hardly change. When it hurts: training from
scratch; accuracy falls about as fast as time is saved. No independent gain is known to us.

Suggested values: ``freeze_start=0.5, freeze_level=1.0``; lower levels freeze less. It acts at the
ends of epochs.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn
from torch.nn import Parameter
from torch.optim import Optimizer

from composer.algorithms._checks import check_number
from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.utils.iter_helpers import ensure_tuple
from composer.utils.optimizer_surgery import swap_parameters

__all__ = ["LayerFreezing", "freeze_layers"]


def freeze_layers(
    model: nn.Module,
    optimizers: Optimizer | Sequence[Optimizer],
    current_duration: float,
    freeze_start: float = 0.5,
    freeze_level: float = 1.0,
) -> tuple[int, float]:
    """Freeze the layers that are due, in place.

    A layer is a module without children that has parameters; the last one always trains. Frozen
    parameters need no gradient and leave the optimizers. One that a later layer uses too trains on
    with it.

    Args:
        model: the model.
        optimizers: its optimizers.
        current_duration: share of training that is done, in [0, 1].
        freeze_start: share of training after which layers begin to be frozen, in [0, 1].
        freeze_level: share of the layers that are frozen in the end, in [0, 1].

    Returns:
        How many layers are frozen, and which share of them is due, in [0, 1].

    Raises:
        ValueError: an argument is out of range.
    """
    _check(freeze_start, freeze_level)
    share = _share(current_duration, freeze_start, freeze_level)
    layers = _layers(model)
    depth = _depth(layers, share)
    early = _only_early(layers, depth)
    _remove(early, ensure_tuple(optimizers))
    _stop(early)
    return depth, share


def _share(elapsed: float, start: float, level: float) -> float:
    return 0.0 if elapsed <= start else level * (elapsed - start) / (1 - start)


def _layers(model: nn.Module) -> list[nn.Module]:
    """Return the modules without children that have parameters, in the order of registration."""
    leaves = (module for module in model.modules() if not any(True for _ in module.children()))
    return [leaf for leaf in leaves if any(True for _ in leaf.parameters())]


def _depth(layers: Sequence[nn.Module], share: float) -> int:
    return int(share * max(0, len(layers) - 1))


def _only_early(layers: Sequence[nn.Module], depth: int) -> list[Parameter]:
    """Return the parameters of the first layers that no later layer uses."""
    used_later = {parameter for layer in layers[depth:] for parameter in layer.parameters()}
    early = dict.fromkeys(p for layer in layers[:depth] for p in layer.parameters())
    return [parameter for parameter in early if parameter not in used_later]


def _groups(optimizers: Iterable[Optimizer]) -> list[dict[str, Any]]:
    return [group for optimizer in optimizers for group in optimizer.param_groups]


def _remove(
    parameters: Sequence[Parameter], optimizers: Sequence[Optimizer]
) -> dict[Parameter, int]:
    """Take parameters out of optimizers; return the number of the group each was in."""
    gone = set(parameters)
    home = {
        parameter: number
        for number, group in enumerate(_groups(optimizers))
        for parameter in group["params"]
        if parameter in gone
    }
    swap_parameters({str(number): p for number, p in enumerate(parameters)}, {}, optimizers)
    return home


def _stop(parameters: Iterable[Parameter]) -> None:
    for parameter in parameters:
        parameter.requires_grad = False
        # What is left of the last batch must not count in norms of gradients.
        parameter.grad = None


def _check(freeze_start: float, freeze_level: float) -> None:
    check_number("freeze_start", freeze_start, 0, 1)
    check_number("freeze_level", freeze_level, 0, 1)


class LayerFreezing(Algorithm):
    """Freeze layers at the ends of epochs; see :func:`freeze_layers`.

    A later ``fit`` that makes the run longer lets layers train again that are not due any more.
    Logs ``layer_freezing/layers_frozen`` and ``layer_freezing/percentage_frozen`` (a share).

    Args:
        freeze_start: share of training after which layers begin to be frozen, in [0, 1].
        freeze_level: share of the layers that are frozen in the end, in [0, 1].

    Raises:
        ValueError: an argument is out of range.
    """

    events: Mapping[Event, str] = {
        Event.INIT: "begin",
        Event.FIT_START: "resume",
        Event.EPOCH_END: "freeze",
    }
    writes = ("model", "optimizers")

    def __init__(self, freeze_start: float = 0.5, freeze_level: float = 1.0) -> None:
        _check(freeze_start, freeze_level)
        self.freeze_start = freeze_start
        self.freeze_level = freeze_level
        self._run: weakref.ref[State] | None = None
        self._depth = 0
        # Frozen parameters by name, each with the number of the group it was in.
        self._home: dict[str, int] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_run": None}

    @property
    def find_unused_parameters(self) -> bool:
        """Return True: layers that are frozen get no gradient."""
        return True

    def begin(self, state: State, logger: Logger) -> None:
        """Forget an earlier run."""
        self._run = weakref.ref(state)
        self._depth, self._home = 0, {}

    def resume(self, state: State, logger: Logger) -> None:
        """Freeze what a checkpoint had frozen, and let go what is not due in a longer run."""
        due = _depth(_layers(state.model), self._due(state))
        self._set_depth(state, min(self._depth, due))

    def freeze(self, state: State, logger: Logger) -> None:
        """Freeze the layers that are due."""
        share = self._due(state)
        self._set_depth(state, _depth(_layers(state.model), share))
        if logger.listens_to_metrics:
            logger.log_metrics(
                {
                    "layer_freezing/layers_frozen": self._depth,
                    "layer_freezing/percentage_frozen": share,
                }
            )

    def _due(self, state: State) -> float:
        elapsed = state.get_elapsed_duration()
        return _share(
            0.0 if elapsed is None else elapsed.value, self.freeze_start, self.freeze_level
        )

    def _set_depth(self, state: State, depth: int) -> None:
        self._depth = depth
        names = {parameter: name for name, parameter in state.model.named_parameters()}
        early = {names[p]: p for p in _only_early(_layers(state.model), depth)}
        self._thaw(state, [name for name in self._home if name not in early])
        # What the user had frozen himself was never in an optimizer, and is not ours to thaw.
        new = [p for name, p in early.items() if p.requires_grad and name not in self._home]
        home = _remove(new, state.optimizers)
        self._home.update({names[parameter]: number for parameter, number in home.items()})
        _stop(early[name] for name in self._home)

    def _thaw(self, state: State, thawed: Sequence[str]) -> None:
        parameters = dict(state.model.named_parameters())
        groups = _groups(state.optimizers)
        for name in thawed:
            group = groups[self._home.pop(name)]
            group["params"].append(parameters[name])
            if "param_names" in group:
                group["param_names"].append(name)
            parameters[name].requires_grad = True

    def state_dict(self) -> dict[str, Any]:
        """Return which parameters are frozen, and to which groups they belong."""
        return {**super().state_dict(), "depth": self._depth, "frozen": dict(self._home)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take frozen parameters out of the optimizers, whose states in a checkpoint lack them.

        They are frozen when ``fit`` starts: what wraps the model for several ranks must see all of
        its parameters, in case they train again.

        Args:
            state: what :meth:`state_dict` returned.
        """
        self._depth, self._home = int(state.get("depth", 0)), dict(state.get("frozen", {}))
        run = None if self._run is None else self._run()
        if run is not None:
            parameters = dict(run.model.named_parameters())
            _remove([parameters[name] for name in self._home], run.optimizers)
