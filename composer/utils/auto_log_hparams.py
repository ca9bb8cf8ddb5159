"""Collect hyperparameters from a function's arguments, and flatten nested dictionaries."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from composer.errors import ConfigError

__all__ = [
    "convert_flat_dict_to_nested_dict",
    "convert_nested_dict_to_flat_dict",
    "extract_hparams",
]


def extract_hparams(locals_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Turn ``locals()`` into hyperparameters a logger can store.

    Private names, ``self`` and classes are left out. Numbers, text and ``None`` stay, an
    enumeration member gives its value, and any other object the name of its class; lists and
    dictionaries are looked into one level deep. An object with an attribute ``local_hparams`` (it
    called this function in its own constructor) gives ``{class name: its hyperparameters}``.

    Args:
        locals_dict: values by name, as ``locals()`` returns.

    Example:
        >>> extract_hparams({"lr": 0.1, "layers": (1, 2), "model": object(), "_cache": 3})
        {'lr': 0.1, 'layers': [1, 2], 'model': 'object'}
    """
    return {
        name: _describe(value)
        for name, value in locals_dict.items()
        if not (name.startswith("_") or name == "self" or isinstance(value, type))
    }


def _describe(value: Any) -> Any:
    if hasattr(value, "local_hparams"):
        return {type(value).__name__: value.local_hparams}
    if isinstance(value, list | tuple):
        return [_describe_one(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _describe_one(item) for key, item in value.items()}
    return _describe_one(value)


def _describe_one(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, int | float | str):
        return value
    return type(value).__name__


def convert_nested_dict_to_flat_dict(
    nested_dict: Mapping[str, Any], prefix: str = ""
) -> dict[str, Any]:
    """Flatten nested dictionaries; keys are joined with slashes.

    Args:
        nested_dict: the dictionary.
        prefix: put before every key, with a slash.

    Example:
        >>> convert_nested_dict_to_flat_dict({"a": 1, "b": {"c": 2}})
        {'a': 1, 'b/c': 2}
    """
    flat: dict[str, Any] = {}
    for name, value in nested_dict.items():
        key = f"{prefix}/{name}" if prefix else name
        if isinstance(value, Mapping):
            flat.update(convert_nested_dict_to_flat_dict(value, key))
        else:
            flat[key] = value
    return flat


def convert_flat_dict_to_nested_dict(flat_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Undo :func:`convert_nested_dict_to_flat_dict`.

    Args:
        flat_dict: values by keys joined with slashes.

    Raises:
        ValueError: a key is both a value and a prefix of other keys.

    Example:
        >>> convert_flat_dict_to_nested_dict({"a": 1, "b/c": 2})
        {'a': 1, 'b': {'c': 2}}
    """
    nested: dict[str, Any] = {}
    for key, value in flat_dict.items():
        *parents, last = key.split("/")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise ConfigError(f"{key!r} cannot lie under {parent!r}, which has a value itself")
        if isinstance(place.get(last), dict) and not isinstance(value, dict):
            raise ConfigError(f"{key!r} has a value, and other keys lie under it")
        place[last] = value
    return nested
