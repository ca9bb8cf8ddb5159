"""What the low precision normalisation layers share: their number format, and the surgery."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from composer.algorithms._checks import check_choice, warn_no_effect
from composer.core.algorithm import Algorithm, Order
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.precision import Precision
from composer.core.state import State
from composer.utils.module_surgery import count_module_instances, replace_module_classes
from composer.utils.warnings import NoEffectWarning

__all__ = ["LowPrecisionNorm", "autocast_format", "cast_all", "replace_norms"]

_LOW = (Precision.AMP_FP16, Precision.AMP_BF16, Precision.AMP_FP8)
_APPLY_AT = (Event.INIT, Event.BEFORE_LOAD, Event.AFTER_LOAD)


def autocast_format(input: Tensor) -> torch.dtype | None:
    """Return the number format of the autocast that is on for a tensor's device, if one is."""
    kind = input.device.type
    is_on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if is_on else None


def cast_all(dtype: torch.dtype, *tensors: Tensor | None) -> list[Tensor | None]:
    """Return the tensors in one number format; ``None`` stays."""
    return [None if tensor is None else tensor.to(dtype) for tensor in tensors]


def replace_norms(
    model: nn.Module,
    norm: type[nn.Module],
    low: type[nn.Module],
    convert: Callable[[Any], nn.Module],
    precision: str | Precision | None,
    optimizers: Optimizer | Sequence[Optimizer] | None,
) -> None:
    """Replace normalisation layers that compute as torch's own do.

    Args:
        model: the model, changed in place.
        norm: torch's class. A subclass with a forward pass of its own is left alone.
        low: its low precision form.
        convert: makes the one of the other, with the same parameters.
        precision: the run's number format; ``None`` where it is not known yet.
        optimizers: optimizers of the model's parameters.
    """
    name = f"LowPrecision{norm.__name__}"
    if precision is not None and Precision(precision) not in _LOW:
        warnings.warn(
            f"{name} changes nothing with precision={Precision(precision).value!r}: it works with "
            f"{[each.value for each in _LOW]}, whose autocast keeps {norm.__name__} in float32",
            NoEffectWarning,
            stacklevel=3,
        )
        return

    def policy(module: nn.Module, index: int) -> nn.Module | None:
        del index
        is_plain = type(module).forward is norm.forward
        return convert(module) if is_plain else None

    replaced = replace_module_classes(model, {norm: policy}, optimizers)
    if not replaced and not count_module_instances(model, low):
        warn_no_effect(name, model, norm.__name__)


class LowPrecisionNorm(Algorithm):
    """Base of the two methods: one surgery at a moment of the user's choice.

    Args:
        apply_at: ``Event.INIT``, ``Event.BEFORE_LOAD`` or ``Event.AFTER_LOAD``.

    Raises:
        ValueError: another event.
    """

    # After methods that bring normalisation layers of their own.
    order: ClassVar[Order] = Order.LAST
    writes: ClassVar[tuple[str, ...]] = ("model", "optimizers")

    def __init__(self, apply_at: str | Event = Event.INIT) -> None:
        name = apply_at.value if isinstance(apply_at, Event) else apply_at
        check_choice("apply_at", name, [event.value for event in _APPLY_AT])
        self.apply_at = Event(apply_at)
        self.events = {self.apply_at: "convert"}

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values."""
        return {"apply_at": self.apply_at.value}

    @staticmethod
    def required_on_load() -> bool:
        """Return True: a model trained with low precision layers is evaluated with them."""
        return True

    @abstractmethod
    def convert(self, state: State, logger: Logger) -> None:
        """Replace the layers."""
