"""What is switched on in each run: the arms of an ablation.

An arm is a set of methods. Four questions make the arms: none (``off``), one alone (``each``), all
together (``all``), and all without one (``all but one``). Sets that come out the same run once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from composer.core.algorithm import Algorithm
from composer.errors import ArgumentTypeError, ConfigError, unknown_name

__all__ = ["DESIGNS", "Arm", "Method", "make_arms", "name_methods"]

Method = Algorithm | Callable[[], Algorithm] | str
"""An algorithm, what makes one (a class or a function), or only a name that the user's function
looks for, such as that of an optimizer."""

DESIGNS = ("off", "each", "all", "all but one")
OFF, ALL = "off", "all"


class Arm:
    """The methods of one run.

    Args:
        name: what it is called in the report: ``'off'``, ``'+ CutMix'``, ``'all'``, ...
        methods: name -> method, of those that are on.
        group: name of the ablation, the same for all its runs.

    Attributes:
        name: as given.
        group: as given.

    Example:
        >>> arm = Arm("+ muon", {"muon": "muon"})
        >>> "muon" in arm, arm.algorithms
        (True, [])
    """

    def __init__(self, name: str, methods: Mapping[str, Method], group: str = "ablation") -> None:
        self.name = name
        self.group = group
        self._methods = dict(methods)

    @property
    def algorithms(self) -> list[Algorithm]:
        """The algorithms that are on, made anew each time: no run sees another's state."""
        made = [_make(method) for method in self._methods.values() if not isinstance(method, str)]
        for algorithm in made:
            if not isinstance(algorithm, Algorithm):
                raise ArgumentTypeError(
                    f"a method must be an Algorithm or make one, got {algorithm!r}"
                )
        return made

    @property
    def methods(self) -> dict[str, str]:
        """Name -> what it stands for, as text; equal texts mean equal runs."""
        return {name: _describe(method) for name, method in self._methods.items()}

    def __contains__(self, name: object) -> bool:
        return name in self._methods

    def __iter__(self) -> Iterator[str]:
        return iter(self._methods)

    def __len__(self) -> int:
        return len(self._methods)

    def __repr__(self) -> str:
        return f"Arm({self.name!r}, {list(self._methods)!r})"


def name_methods(methods: Mapping[str, Method] | Sequence[Method]) -> dict[str, Method]:
    """Give each method a name: its key, or that of its class.

    Raises:
        ValueError: no method, or two of one name.
        TypeError: something that is no method.
    """
    if isinstance(methods, str) or not isinstance(methods, Mapping | Sequence):
        raise ArgumentTypeError(
            f"methods={methods!r} must be a list of methods, or a mapping from names to methods; "
            "one method is a list, too"
        )
    if isinstance(methods, Mapping):
        named = list(methods.items())
    else:
        named = [(_name_of(method), method) for method in methods]
    if not named:
        raise ConfigError("no methods: an ablation needs at least one to switch on and off")
    names = [name for name, _ in named]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"two methods are called {twice[0]!r}; give them names: methods={{'weak': ..., ...}}"
        )
    for name, method in named:
        if not isinstance(method, Algorithm | str) and not callable(method):
            raise ArgumentTypeError(
                f"methods[{name!r}]={method!r} must be an Algorithm, a class or function that "
                "makes one, or a name that your function looks for in the arm"
            )
    return dict(named)


def make_arms(
    methods: Mapping[str, Method], designs: Sequence[str] = DESIGNS, group: str = "ablation"
) -> list[Arm]:
    """Return the arms of an ablation, each set of methods once.

    Args:
        methods: name -> method.
        designs: which questions to ask, of ``'off'``, ``'each'``, ``'all'`` and ``'all but one'``.
            ``'off'`` is always among them, because everything is compared with it.
        group: name of the ablation.

    Raises:
        ValueError: an unknown question.
    """
    for design in designs:
        if design not in DESIGNS:
            raise unknown_name("design of an ablation", design, DESIGNS)
    wanted: list[tuple[str, list[str]]] = [(OFF, [])]
    if "each" in designs:
        wanted += [(f"+ {name}", [name]) for name in methods]
    if "all" in designs:
        wanted.append((ALL, list(methods)))
    if "all but one" in designs:
        wanted += [(f"all - {name}", [n for n in methods if n != name]) for name in methods]
    arms: dict[tuple[str, ...], Arm] = {}
    for name, on in wanted:
        arms.setdefault(tuple(on), Arm(name, {each: methods[each] for each in on}, group))
    return list(arms.values())


def _make(method: Any) -> Any:
    return copy.deepcopy(method) if isinstance(method, Algorithm) else method()


def _name_of(method: Method) -> str:
    if isinstance(method, str):
        return method
    found = type(method) if isinstance(method, Algorithm) else method
    name = getattr(found, "__name__", None)
    if name is None or name == "<lambda>":
        raise ConfigError(f"{method!r} has no name; give one: methods={{'name': ...}}")
    return name


def _describe(method: Method) -> str:
    if isinstance(method, str):
        return method
    made = _make(method)
    arguments = made.arguments() if isinstance(made, Algorithm) else {}
    return f"{type(made).__name__}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})"
