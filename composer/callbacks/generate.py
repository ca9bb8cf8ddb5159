"""Show what a language model writes while it trains."""

from __future__ import annotations

from typing import Any

import torch

from composer.core.callback import Callback
from composer.core.event import Event
from composer.core.interval import create_interval_scheduler
from composer.core.logger import Logger
from composer.core.precision import get_precision_context
from composer.core.state import State
from composer.core.units import Time
from composer.core.weight_view import evaluation_weights
from composer.distributed import comm
from composer.errors import ConfigError
from composer.models.huggingface import HuggingFaceModel
from composer.utils.model_helpers import model_eval_mode

__all__ = ["Generate"]

TABLE = "generations"
COLUMNS = ["prompt", "generation"]


class Generate(Callback):
    """Logs the table ``generations`` of prompts and what the model writes after them.

    The weights are those the model is judged by (of EMA, the average). Training is not changed:
    random numbers that are drawn for a text are put back.

    Args:
        prompts: the prompts.
        interval: when to write: a time, a time string or a number of epochs; at the end of training
            too.
        batch_size: how many prompts at a time; all if ``None``.
        kwargs: arguments of transformers' ``generate``, such as ``max_new_tokens``.

    Raises:
        ValueError: there are no prompts, or ``batch_size`` is less than 1.
    """

    def __init__(
        self,
        prompts: list[str],
        interval: str | int | Time[Any],
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        if not prompts or isinstance(prompts, str):
            raise ConfigError(f"prompts={prompts!r} must be a list of at least one text")
        if batch_size is not None and batch_size < 1:
            raise ConfigError(f"batch_size={batch_size!r} must be at least 1")
        self.prompts = list(prompts)
        self.batch_size = batch_size
        self.generate_kwargs = kwargs
        self.check_interval = create_interval_scheduler(interval)
        self._last_batch = -1

    def init(self, state: State, logger: Logger) -> None:
        """Refuse a model that cannot write."""
        model = state.model
        if not isinstance(model, HuggingFaceModel) or model.tokenizer is None:
            raise ConfigError(
                f"Generate needs a HuggingFaceModel with a tokenizer, got {type(model).__name__}"
                f"{' without one' if isinstance(model, HuggingFaceModel) else ''}"
            )

    def batch_checkpoint(self, state: State, logger: Logger) -> None:
        """Write where that is due after a batch."""
        self._generate_if_due(Event.BATCH_CHECKPOINT, state, logger)

    def epoch_checkpoint(self, state: State, logger: Logger) -> None:
        """Write where that is due after an epoch."""
        self._generate_if_due(Event.EPOCH_CHECKPOINT, state, logger)

    def _generate_if_due(self, event: Event, state: State, logger: Logger) -> None:
        # The end of training may be the end of an epoch too.
        if self.check_interval(state, event) and state.timestamp.batch != self._last_batch:
            self.generate(state, logger)

    @torch.no_grad()
    def generate(self, state: State, logger: Logger) -> None:
        """Write now, and log the table; all ranks must call this."""
        self._last_batch = state.timestamp.batch.value
        model: HuggingFaceModel = state.model
        device = state.device.torch_device
        autocast = get_precision_context(state.precision, device_type=device.type)
        with (
            torch.random.fork_rng([device] if device.type == "cuda" else []),
            evaluation_weights(state),
            model_eval_mode(model),
            autocast,
        ):
            texts = model.generate_text(self.prompts, self.batch_size, **self.generate_kwargs)
        if comm.get_global_rank() == 0:
            rows = [list(row) for row in zip(self.prompts, texts, strict=True)]
            logger.log_table(COLUMNS, rows, TABLE, state.timestamp.batch.value)
