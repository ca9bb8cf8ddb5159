"""Lazy package faces made from type stubs.

A package's ``__init__.py`` holds three lines::

    from composer._lazy import attach

    __getattr__, __dir__, __all__ = attach(__name__, __file__)

and the ``__init__.pyi`` beside it lists the public names, each as ``from module import Name as
Name``. The stub is the one source for people, type checkers and the running program: a name's
module is imported when the name is first asked for (PEP 562), and nothing before that. The stub
itself is parsed on first use, so importing a package costs next to nothing.
"""

import ast
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, overload

from composer.errors import did_you_mean

# Where a public name lives: (module, attribute), or (module, None) when it is a module itself.
Target = tuple[str, str | None]


def attach(
    package_name: str, init_file: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], Sequence[str]]:
    """Make the module functions that turn a package into a lazy face.

    Args:
        package_name: the package's ``__name__``.
        init_file: the package's ``__file__``; the stub lies beside it.

    Returns:
        The package's ``__getattr__``, ``__dir__`` and ``__all__``.
    """
    face = _Face(package_name, init_file)
    return face.get, face.dir, face


def read_stub(package_name: str, stub_file: str) -> dict[str, Target]:
    """Read the public names of a stub, in the order in which they stand.

    Only ``from module import name as name`` makes a name public, as type checkers have it. In
    ``from package import child as child`` the name is the module ``child``.

    Args:
        package_name: the package the stub describes, to resolve relative imports.
        stub_file: path of the ``.pyi`` file.

    Returns:
        Public name to its module and attribute.

    Raises:
        ImportError: there is no stub.
    """
    try:
        with open(stub_file, encoding="utf-8") as file:
            tree = ast.parse(file.read(), stub_file)
    except FileNotFoundError:
        raise ImportError(
            f"{package_name!r} has lost {stub_file!r}, which lists its names. "
            f"Reinstall composer; bundlers must be told to keep .pyi files."
        ) from None
    names: dict[str, Target] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            module = _absolute(package_name, node)
            for alias in node.names:
                if alias.asname == alias.name:
                    names[alias.name] = _target(package_name, module, alias.name)
    return names


def _absolute(package_name: str, node: ast.ImportFrom) -> str:
    if node.level == 0:
        return node.module or ""
    parents = package_name.split(".")
    base = parents[: len(parents) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)


def _target(package_name: str, module: str, name: str) -> Target:
    # `from composer import core as core` names a child module; a child's face never
    # re-exports from its own package, so the package itself as source means just that.
    if module == package_name:
        return f"{module}.{name}", None
    return module, name


class _Face(Sequence[str]):
    """The names of one package; as a sequence it is the package's ``__all__``."""

    def __init__(self, package_name: str, init_file: str) -> None:
        self._package = package_name
        self._stub = os.path.splitext(init_file)[0] + ".pyi"
        self._read: dict[str, Target] | None = None

    @property
    def _names(self) -> dict[str, Target]:
        if self._read is None:
            self._read = read_stub(self._package, self._stub)
        return self._read

    def get(self, name: str) -> Any:
        """Load ``name`` and keep it in the package, so that this runs once per name."""
        target = self._names.get(name)
        if target is not None:
            value = self._load(name, *target)
            setattr(sys.modules[self._package], name, value)
            return value
        if not name.startswith("_"):
            child = _import_child(f"{self._package}.{name}")
            if child is not None:
                return child
        hint = "" if name.startswith("__") else did_you_mean(name, self._names)
        raise AttributeError(
            f"module {self._package!r} has no attribute {name!r}.{hint}",
            name=name,
            obj=sys.modules[self._package],
        )

    def _load(self, name: str, module_name: str, attribute: str | None) -> Any:
        # An AttributeError must not leave this function: `from package import name` would take it
        # for "no such name" and hide what really went wrong.
        try:
            module = import_module(module_name)
        except AttributeError as error:
            raise ImportError(f"importing {module_name!r} failed: {error}") from error
        if attribute is None:
            return module
        try:
            return getattr(module, attribute)
        except AttributeError:
            pass
        child = _import_child(f"{module_name}.{attribute}")
        if child is None:
            raise ImportError(
                f"{self._package}.{name} is listed in {self._stub!r} as {attribute!r} of "
                f"{module_name!r}, which does not define it."
            )
        return child

    def dir(self) -> list[str]:
        """Everything the package offers, loaded or not."""
        return sorted({*vars(sys.modules[self._package]), *self._names})

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, value: object) -> bool:
        return value in self._names

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return list(self._names)[index]

    def __repr__(self) -> str:
        return repr(list(self._names))


def _import_child(module_name: str) -> Any:
    """Import a submodule; ``None`` if there is none of that name."""
    try:
        return import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name:
            raise
        return None
