"""Parts of a layer that must not be compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch

__all__ = ["run_eagerly"]

F = TypeVar("F", bound=Callable[..., Any])


def run_eagerly(function: F) -> F:
    """Keep a function out of compiled graphs: they break before it and go on after it.

    For decisions that Python takes anew in each pass. In a graph they would be taken once, or the
    graph would be compiled again for each answer.

    Args:
        function: the function.
    """
    return cast("F", torch.compiler.disable(function))
