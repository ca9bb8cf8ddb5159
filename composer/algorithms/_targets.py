"""Which modules of a model a user points at."""

from __future__ import annotations

from fnmatch import fnmatchcase

from torch import nn

__all__ = ["Target", "find_targets"]

Target = str | type[nn.Module]


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


def _fits(name: str, module: nn.Module, target: Target) -> bool:
    if isinstance(target, type):
        return isinstance(module, target)
    # The last two are Module and object.
    classes = type(module).__mro__[:-2]
    return any(each.__name__ == target for each in classes) or _matches(name, target)


def _matches(name: str, pattern: str) -> bool:
    parts, wanted = name.split("."), pattern.split(".")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
