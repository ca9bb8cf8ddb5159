"""What the number format means for one optimizer step: autocast, loss scaling, unscaling."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.optim import Optimizer

from composer.core.precision import Precision, check_precision, get_precision_context
from composer.errors import ConfigError, unknown_name

__all__ = ["PrecisionPolicy", "convert_to_float8", "make_scaler"]

_SCALER_OPTIONS = {
    "init_scale": 2.0**16,
    "growth_factor": 2.0,
    "backoff_factor": 0.5,
    "growth_interval": 2000,
}


def make_scaler(
    precision: Precision, device_type: str, options: Mapping[str, Any] | None
) -> torch.amp.GradScaler | None:
    """Return the gradient scaler of ``amp_fp16``, ``None`` for the other formats.

    Args:
        precision: the number format.
        device_type: where the model lives.
        options: ``init_scale``, ``growth_factor``, ``backoff_factor``, ``growth_interval``.

    Raises:
        ValueError: an unknown option, or one that is not positive and finite.
    """
    if precision is not Precision.AMP_FP16:
        return None
    options = dict(options or {})
    for name, value in options.items():
        if name not in _SCALER_OPTIONS:
            raise unknown_name("key of precision_config for 'amp_fp16'", name, _SCALER_OPTIONS)
        if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            raise ConfigError(f"precision_config[{name!r}]={value!r} must be positive and finite")
    return torch.amp.GradScaler(device_type, **options)


def convert_to_float8(model: torch.nn.Module, options: Mapping[str, Any] | None) -> None:
    """Replace the linear layers of a model by torchao's float8 ones, in place.

    Layers whose sizes are not multiples of 16 stay as they are, because the hardware cannot
    multiply them in float8.

    Args:
        model: the model, on its GPU.
        options: keyword arguments of ``torchao.float8.Float8LinearConfig``.
    """
    from torchao.float8 import (  # pyright: ignore[reportMissingImports]
        Float8LinearConfig,
        convert_to_float8_training,
    )

    def fits(module: torch.nn.Module, name: str) -> bool:
        del name
        sizes = (
            (module.in_features, module.out_features)
            if isinstance(module, torch.nn.Linear)
            else (1,)
        )
        return all(size % 16 == 0 for size in sizes)

    config = Float8LinearConfig(**(options or {}))
    convert_to_float8_training(model, module_filter_fn=fits, config=config)


class PrecisionPolicy:
    """Autocast for the forward pass, scaling for the backward pass, the parameter update.

    Args:
        precision: the number format.
        device_type: where the model lives.
        scaler: the gradient scaler of ``amp_fp16``.
    """

    def __init__(
        self, precision: Precision, device_type: str, scaler: torch.amp.GradScaler | None
    ) -> None:
        check_precision(precision, device_type)
        self.precision = precision
        self.scaler = scaler
        # One context, entered again and again: making one costs more than entering it.
        self._autocast = get_precision_context(precision, device_type=device_type)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context of a forward pass and its loss; not for nested use."""
        return self._autocast

    def backward(self, loss: torch.Tensor, create_graph: bool) -> None:
        """Add the gradients of ``loss`` to those there are."""
        if self.scaler is not None:
            loss = self.scaler.scale(loss)
        if create_graph:
            loss.backward(create_graph=True)
        else:
            loss.backward()

    def unscale(self, optimizers: Sequence[Optimizer]) -> None:
        """Give the gradients their true size, so that methods may clip them."""
        if self.scaler is not None:
            for optimizer in optimizers:
                self.scaler.unscale_(optimizer)

    def step_with_closure(self, optimizer: Optimizer, closure: Callable[..., torch.Tensor]) -> None:
        """Let an optimizer that computes gradients itself step.

        With loss scaling the closure returns ``None`` where gradients are not finite, and each of
        its calls counts as one step of the scaler. All ranks then average every time, because all
        of them must skip the same steps.

        Args:
            optimizer: the optimizer.
            closure: computes complete, unscaled gradients; takes ``ddp_sync``.
        """
        scaler = self.scaler
        if scaler is None:
            optimizer.step(closure)  # pyright: ignore[reportCallIssue, reportArgumentType]
            return

        def checked_closure(**keywords: Any) -> torch.Tensor | None:
            scale = scaler.get_scale()
            loss = closure(**{**keywords, "ddp_sync": True})
            scaler.update()
            # Asked of the scaler, which looked before methods could clip infinities away.
            return None if scaler.get_scale() < scale else loss

        optimizer.step(checked_closure)  # pyright: ignore[reportCallIssue, reportArgumentType]

    def step(self, optimizers: Sequence[Optimizer]) -> None:
        """Update the parameters; skipped by the scaler where gradients are not finite."""
        if self.scaler is None:
            for optimizer in optimizers:
                optimizer.step()
            return
        for optimizer in optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()
