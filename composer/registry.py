"""Names to classes: what algorithms, callbacks, loggers and object stores there are.

A name comes from one of three places: a line in the stub of the package that shows the kind
(``algorithms/__init__.pyi``), an entry point of an installed package, or a call of
`Registry.register`. A name means one thing: a second meaning is refused, never taken silently.
Nothing is imported before it is asked for. Used by checkpoints, the command line and the contract
tests alike.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from composer.errors import ArgumentTypeError, ConfigError, unknown_name

T = TypeVar("T")
C = TypeVar("C", bound=type[Any])


class Registry(Generic[T]):
    """The classes of one kind, by name.

    Args:
        kind: what one of them is called in messages, e.g. ``"algorithm"``.
        face: package whose public names may be of this kind, or ``None``.
        base: ``"module:Class"`` from which every one of them derives.
        group: entry-point group in which other packages announce theirs.
    """

    def __init__(self, kind: str, *, face: str | None, base: str, group: str) -> None:
        self.kind = kind
        self.group = group
        self._face = face
        self._base = base
        self._registered: dict[str, type[T]] = {}

    def register(self, cls: C, name: str | None = None) -> C:
        """Add a class, under its own name unless another is given; also usable as a decorator.

        Raises:
            ConfigError: the name already means something else.
            ArgumentTypeError: the class is not of this kind.
        """
        name = cls.__name__ if name is None else name
        if name in self._listed() and self.get(name) is not cls:
            raise ConfigError(
                f"the {self.kind} {name!r} already is {self.get(name)!r} and {cls!r} may not "
                f"replace it. Register it under a name of its own."
            )
        self._registered[name] = self._checked(name, cls)
        return cls

    def get(self, name: str) -> type[T]:
        """Load the class of this name.

        Raises:
            UnknownNameError: no such name; the message has the nearest ones.
            ConfigError: two packages claim the name.
            ArgumentTypeError: the name belongs to something that is not of this kind.
        """
        loaders = self._listed().get(name)
        if loaders is None:
            raise unknown_name(self.kind, name, self._listed())
        found = [load() for load in loaders]
        if any(each is not found[0] for each in found):
            raise ConfigError(
                f"the {self.kind} name {name!r} is claimed by {' and by '.join(map(repr, found))}. "
                f"Uninstall one of the packages, or ask its authors for another name."
            )
        return self._checked(name, found[0])

    def names(self) -> list[str]:
        """The names of all classes of this kind, sorted. Loads them, to leave out other things."""
        return sorted(name for name, loaders in self._listed().items() if self._fits(loaders[0]()))

    def __contains__(self, name: object) -> bool:
        return name in self._listed()

    def _listed(self) -> dict[str, list[Callable[[], Any]]]:
        listed: dict[str, list[Callable[[], Any]]] = {}
        for name in self._face_names():
            listed.setdefault(name, []).append(lambda name=name: self._from_face(name))
        for point in _points(self.group):
            listed.setdefault(point.name, []).append(point.load)
        for name, cls in self._registered.items():
            listed.setdefault(name, []).append(lambda cls=cls: cls)
        return listed

    def _face_names(self) -> Sequence[str]:
        return import_module(self._face).__all__ if self._face else ()

    def _from_face(self, name: str) -> Any:
        return getattr(import_module(self._face or ""), name)

    def _base_class(self) -> type[T]:
        module, _, name = self._base.partition(":")
        return getattr(import_module(module), name)

    def _fits(self, value: Any) -> bool:
        return isinstance(value, type) and issubclass(value, self._base_class())

    def _checked(self, name: str, value: Any) -> type[T]:
        if not self._fits(value):
            raise ArgumentTypeError(
                f"{name!r} is {value!r} and not a {self.kind}: it must be a class derived from "
                f"{self._base.replace(':', '.')}."
            )
        return value


@lru_cache
def _points(group: str) -> Sequence[EntryPoint]:
    # An editable install may show one entry point twice; the value says whether it is the same.
    return tuple({(each.name, each.value): each for each in entry_points(group=group)}.values())


# The packages are named as text: this floor knows of no other, and loads them only when asked.
ALGORITHMS: Registry[Any] = Registry(
    "algorithm",
    face="composer.algorithms",
    base="composer.core.algorithm:Algorithm",
    group="composer.algorithms",
)
CALLBACKS: Registry[Any] = Registry(
    "callback",
    face="composer.callbacks",
    base="composer.core.callback:Callback",
    group="composer.callbacks",
)
LOGGERS: Registry[Any] = Registry(
    "logger",
    face="composer.loggers",
    base="composer.core.logger_destination:LoggerDestination",
    group="composer.loggers",
)
STORES: Registry[Any] = Registry(
    "object store",
    face="composer.utils.object_store",
    base="composer.storage.object_store:ObjectStore",
    group="composer.stores",
)
