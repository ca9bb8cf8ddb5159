"""Which modules of a model a user points at."""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase

from torch import nn

from composer.errors import ArgumentTypeError

__all__ = ["Target", "check_target", "find_targets", "in_words", "transformers_class"]

Target = str | type[nn.Module]


def check_target(name: str, target: object) -> None:
    """Refuse what names no modules.

    Raises:
        TypeError: neither a text nor a class of modules.
    """
    is_class = isinstance(target, type) and issubclass(target, nn.Module)
    if not (is_class or isinstance(target, str)):
        raise ArgumentTypeError(
            f"{name} must be the name of a class, a pattern of names inside the model such as "
            f"'blocks.*', or a class of modules; got {target!r}"
        )


def find_targets(model: nn.Module, target: Target) -> dict[str, nn.Module]:
    """Return the modules inside a model that a target names, by their dotted names.

    Args:
        model: the model; itself it is no candidate.
        target: a class, the name of a class (base classes count), or a module's name inside the
            model, in which ``*`` stands for anything between two dots: ``'blocks.*.feed_forward'``.

    Example:
        >>> list(find_targets(nn.Sequential(nn.Linear(1, 1), nn.ReLU()), "Linear"))
        ['0']
    """
    return {
        name: module
        for name, module in model.named_modules()
        if name and _fits(name, module, target)
    }


def in_words(target: Target) -> str:
    """Say which modules a target names, for messages."""
    name = target if isinstance(target, str) else target.__name__
    return f"modules of the class, or with a name like, {name!r}"


def transformers_class(module: str, name: str) -> type[nn.Module] | None:
    """Return a class of the transformers library, if its module is loaded.

    It is not imported: a model that has such layers has loaded it.

    Args:
        module: the module's name below ``transformers.models``, e.g. ``'bert.modeling_bert'``.
        name: the class's name.
    """
    return getattr(sys.modules.get(f"transformers.models.{module}"), name, None)


def _fits(name: str, module: nn.Module, target: Target) -> bool:
    if isinstance(target, type):
        return isinstance(module, target)
    # The last two are Module and object.
    classes = type(module).__mro__[:-2]
    return any(each.__name__ == target for each in classes) or _matches(name, target)


def _matches(name: str, pattern: str) -> bool:
    parts, wanted = name.split("."), pattern.split(".")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
