"""Random generators that objects carry with them, and the states of those and of the global ones.

An augmentation may draw from torch's, numpy's or Python's global generator, or from one of its own.
Those of its own are found where they usually are: on a data set, on its transforms, and in lists of
transforms.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import torch

__all__ = ["find_generators", "fingerprint", "load_generator", "read_generator"]

_TYPES = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
_DEEPEST = 6


def find_generators(thing: Any, name: str) -> dict[str, Any]:
    """Return the generators of an object, by the path of attributes that leads to each.

    Args:
        thing: a data set, a loader, a sampler, a transform.
        name: what the paths begin with.
    """
    return dict(_walk(thing, name, _DEEPEST))


def _walk(thing: Any, name: str, depth: int) -> Iterator[tuple[str, Any]]:
    if isinstance(thing, _TYPES):
        yield name, thing
        return
    if depth == 0:
        return
    if isinstance(thing, list | tuple):
        parts = {str(index): part for index, part in enumerate(cast("list[Any]", thing))}
    else:
        parts = getattr(thing, "__dict__", None)
    if not isinstance(parts, dict):
        return
    for key, part in cast("dict[str, Any]", parts).items():
        if isinstance(part, _TYPES) or _may_hold_generators(key, part):
            yield from _walk(part, f"{name}.{key}", depth - 1)


def _may_hold_generators(key: str, part: Any) -> bool:
    """Whether to look inside: not into a million samples, but into transforms and wrapped data."""
    if isinstance(part, str | bytes | torch.Tensor | np.ndarray | Mapping):
        return False
    return "transform" in key or "augment" in key or key == "dataset" or key.isdecimal()


def read_generator(generator: Any) -> Any:
    """Return a generator's state as plain values."""
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    if isinstance(generator, np.random.Generator):
        return _plain(generator.bit_generator.state)
    if isinstance(generator, np.random.RandomState):
        return _plain(generator.get_state(legacy=False))
    return generator.getstate()


def load_generator(generator: Any, saved: Any) -> None:
    """Put a generator into a state from :func:`read_generator`."""
    if isinstance(generator, torch.Generator):
        generator.set_state(saved)
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = _arrays(saved)
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(_arrays(saved))
    else:
        generator.setstate(_as_tuples(saved))


def fingerprint(holder: Any = None) -> int:
    """Return a number that changes when a global generator, or one of ``holder``, is drawn from.

    It means something only in the process that computed it.
    """
    # Not CUDA's: this is asked in forked processes, in which CUDA must not be touched.
    _, numbers, *position = cast("tuple[Any, ...]", np.random.get_state())
    parts = [random.getstate(), numbers.tobytes(), *position, _bytes(torch.get_rng_state())]
    for generator in find_generators(holder, "").values():
        value = read_generator(generator)
        parts.append(_bytes(value) if isinstance(value, torch.Tensor) else repr(value))
    return hash(tuple(parts))


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.numpy().tobytes()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in cast("Mapping[str, Any]", value).items()}
    return cast("Any", value).tolist() if isinstance(value, np.ndarray) else value


def _arrays(value: Any) -> Any:
    """Undo :func:`_plain`: numpy keeps single numbers as they are, and several in an array."""
    if isinstance(value, Mapping):
        return {key: _arrays(part) for key, part in cast("Mapping[str, Any]", value).items()}
    return np.asarray(value, np.uint64) if isinstance(value, list) else value


def _as_tuples(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_as_tuples(part) for part in cast("list[Any]", value))
    return value
