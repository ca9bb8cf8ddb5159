"""Log statistics of what goes through each module."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle

from composer.callbacks._due import DueBatches
from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.logger_destination import LoggerDestination
from composer.core.state import State
from composer.core.time import Time
from composer.errors import ArgumentTypeError

__all__ = ["ActivationMonitor"]

log = logging.getLogger(__name__)


class ActivationMonitor(Callback):
    """Logs statistics of every module's inputs and outputs, for one microbatch an interval.

    ``activations/<statistic>/<module>_<input or output>.<i>`` with the statistics ``l2_norm``,
    ``average``, ``max`` and ``kurtosis`` (the fourth standardised moment, 3 for a normal
    distribution: large values tell of outliers that low precision loses). Integers are left out.

    Args:
        interval: how often, in batches (``'25ba'`` or a number) or epochs.
        ignore_module_types: names of module classes to leave out.
        only_log_wandb: whether only the W&B logger gets them: there are many.

    Raises:
        ValueError: an interval in another unit, or none.
    """

    def __init__(
        self,
        interval: int | str | Time[int] = "25ba",
        ignore_module_types: list[str] | None = None,
        only_log_wandb: bool = True,
    ) -> None:
        if isinstance(ignore_module_types, str):
            raise ArgumentTypeError(f"ignore_module_types={ignore_module_types!r} must be a list")
        self._batches = DueBatches(interval)
        self.ignore_module_types = ignore_module_types
        self.only_log_wandb = only_log_wandb
        self._handles: list[RemovableHandle] = []
        self._names: dict[int, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handles": [], "_names": {}}

    def fit_start(self, state: State, logger: Logger) -> None:
        """Say if nobody would see the statistics."""
        if self.only_log_wandb and not any(map(_is_wandb, logger.destinations)):
            log.warning(
                "ActivationMonitor logs to W&B only, and there is no WandBLogger; give it "
                "only_log_wandb=False to log to every destination"
            )

    def before_forward(self, state: State, logger: Logger) -> None:
        """Watch the first microbatch of a batch that is due."""
        if self._batches.is_due(state):
            self.attach_forward_hooks(state, logger)

    def after_forward(self, state: State, logger: Logger) -> None:
        """Stop watching."""
        del state, logger
        if self._handles:
            self.remove_forward_hooks()

    def attach_forward_hooks(self, state: State, logger: Logger) -> None:
        """Begin to watch, where somebody takes what is seen."""
        if self.only_log_wandb and not any(map(_is_wandb, logger.destinations)):
            return
        self.register_forward_hook(state.model, logger, state.timestamp.batch.value)

    def remove_forward_hooks(self) -> None:
        """Leave the model as it was."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._names.clear()

    def register_forward_hook(self, model: torch.nn.Module, logger: Logger, step: int) -> None:
        """Watch every module that is not left out.

        Args:
            model: the model.
            logger: where the statistics go.
            step: batches trained.
        """
        self.create_module_names(model)
        hook = partial(self.forward_hook, logger, step)
        ignored = self.ignore_module_types or ()
        for module in model.modules():
            if type(module).__name__ not in ignored:
                self._handles.append(module.register_forward_hook(hook))

    def create_module_names(self, model: torch.nn.Module) -> None:
        """Note the name of every module; the model itself goes by its class."""
        self._names = {id(m): name or type(m).__name__ for name, m in model.named_modules()}

    @torch.no_grad()
    def forward_hook(
        self, logger: Logger, step: int, module: torch.nn.Module, input: Any, output: Any
    ) -> None:
        """Measure what went into a module and what came out.

        Args:
            logger: where the statistics go.
            step: batches trained.
            module: the module.
            input: its arguments.
            output: what it returned.
        """
        metrics: dict[str, Any] = {}
        name = self._names[id(module)]
        self.recursively_add_metrics(metrics, name, "_input", input)
        self.recursively_add_metrics(metrics, name, "_output", output)
        if not metrics:
            return
        if not self.only_log_wandb:
            logger.log_metrics(metrics, step)
            return
        wandb = [destination for destination in logger.destinations if _is_wandb(destination)]
        logger.read(metrics, partial(_send, wandb, step))

    def recursively_add_metrics(
        self, metrics: dict[str, Any], name: str, suffix: str, values: Any
    ) -> None:
        """Add the statistics of all tensors in a collection.

        Args:
            metrics: where they are added.
            name: the module's name.
            suffix: what follows it: ``_input`` or ``_output``, and the place in the collection.
            values: a tensor, or a collection of values.
        """
        if isinstance(values, torch.Tensor):
            self.add_metrics(metrics, name, suffix, values)
        elif isinstance(values, Mapping):
            for key, value in values.items():
                self.recursively_add_metrics(metrics, name, f"{suffix}.{key}", value)
        elif isinstance(values, Sequence) and not isinstance(values, str):
            for index, value in enumerate(values):
                self.recursively_add_metrics(metrics, name, f"{suffix}.{index}", value)

    def add_metrics(
        self, metrics: dict[str, Any], name: str, suffix: str, value: torch.Tensor
    ) -> None:
        """Add the statistics of one tensor; of a sharded one, as a whole.

        Args:
            metrics: where they are added.
            name: the module's name.
            suffix: as in :meth:`recursively_add_metrics`.
            value: the tensor, any shape.
        """
        if not value.is_floating_point() or value.numel() == 0:
            return
        gather = getattr(value, "full_tensor", None)  # only sharded tensors have it
        whole = (value if gather is None else gather()).float()
        centred = whole - whole.mean()
        variance = (centred**2).mean()
        statistics = {
            "l2_norm": torch.linalg.vector_norm(whole),
            "average": whole.mean(),
            "max": whole.max(),
            "kurtosis": (centred**4).mean() / variance**2,
        }
        for statistic, number in statistics.items():
            metrics[f"activations/{statistic}/{name}{suffix}"] = number


def _is_wandb(destination: LoggerDestination) -> bool:
    # By name: callbacks and loggers stand side by side and do not import each other.
    return any(cls.__name__ == "WandBLogger" for cls in type(destination).__mro__)


def _send(destinations: list[LoggerDestination], step: int, metrics: dict[str, Any]) -> None:
    for destination in destinations:
        destination.log_metrics(metrics, step)
