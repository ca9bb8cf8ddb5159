"""Find what in a file can only be read by running code, without running any.

A pickle names classes and functions and says which to call. Here every name stands for an inert
stand-in, so the structure appears with harmless things in it, and what is not on the list of
harmless types is found by its place.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Collection, Iterator
from typing import Any, cast

__all__ = ["find_entries"]

# Names that torch itself writes for tensors and containers; torch's own safe mode reads them.
_HARMLESS = ("torch.", "torch._utils.", "collections.", "_codecs.", "numpy.")


class _StandIn:
    """Takes the place of a thing in a pickle and does nothing."""

    name = ""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.contents: dict[Any, Any] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> _StandIn:
        return self

    def __setstate__(self, state: Any) -> None:
        del state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.contents = {**getattr(self, "contents", {}), key: value}

    def append(self, item: Any) -> None:
        self[len(getattr(self, "contents", {}))] = item

    def extend(self, items: Any) -> None:
        for item in items:
            self.append(item)

    def __reduce__(self) -> Any:
        raise TypeError("a stand-in is not written")


class _Probe(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) == ("collections", "OrderedDict"):
            return dict
        # Old protocols have Python 2's name of the module.
        module_name = module_name.replace("__builtin__", "builtins")
        return type("StandIn", (_StandIn,), {"name": f"{module_name}.{global_name}"})

    def persistent_load(self, pid: Any, /) -> Any:
        return _StandIn()


def find_entries(path: str, allowed: Collection[str]) -> list[tuple[str, str]]:
    """Find the entries of a file of ``torch.save`` that need code.

    Args:
        path: the file.
        allowed: names of types, with their modules, that are read all the same.

    Returns:
        For each such entry its place, with ``/`` between keys, and the name of what would be
        called. Empty where the file does not tell.
    """
    try:
        with zipfile.ZipFile(path) as file:
            name = next(each for each in file.namelist() if each.endswith("/data.pkl"))
            contents = _Probe(io.BytesIO(file.read(name))).load()
    except Exception:  # noqa: BLE001 - this only adds to a message; damaged bytes fail in every way
        return []
    return list(_walk(contents, "", allowed))


def _walk(value: Any, path: str, allowed: Collection[str]) -> Iterator[tuple[str, str]]:
    if isinstance(value, type) and issubclass(value, _StandIn):
        yield path, value.name
    elif isinstance(value, _StandIn):
        if value.name and value.name not in allowed and not value.name.startswith(_HARMLESS):
            yield path, value.name
        for key, item in getattr(value, "contents", {}).items():
            yield from _walk(item, _join(path, key), allowed)
    elif isinstance(value, dict):
        for key, item in cast("dict[Any, Any]", value).items():
            yield from _walk(item, _join(path, key), allowed)
    elif isinstance(value, list | tuple | set | frozenset):
        for index, item in enumerate(cast("list[Any]", value)):
            yield from _walk(item, _join(path, index), allowed)


def _join(path: str, key: object) -> str:
    return f"{path}/{key}" if path else str(key)
