"""The interface between a model and the Trainer.

A :class:`ComposerModel` says how to go from a batch to outputs, from outputs to a loss, and which
metrics to keep. Batching, devices, precision and logging are the Trainer's business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torchmetrics import Metric

    from composer.core.logger import Logger
    from composer.core.types import Batch

__all__ = ["ComposerModel"]


class ComposerModel(torch.nn.Module, ABC):
    """A torch module that knows its loss and its metrics.

    Implement :meth:`forward` and :meth:`loss`; for metrics also :meth:`get_metrics` and
    :meth:`update_metric`.

    Attributes:
        logger: set by the Trainer, so that the model can log. It is None before, and in every
            copy and pickle of the model.
        flops_per_batch: optional. Floating point operations that one training step (forward and
            backward) takes for one batch: a number, or a function of the batch. SpeedMonitor
            turns it into FLOPs per second.

    Example:
        >>> import torch
        >>> class Regression(ComposerModel):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.line = torch.nn.Linear(1, 1)
        ...
        ...     def forward(self, batch):
        ...         inputs, _ = batch
        ...         return self.line(inputs)
        ...
        ...     def loss(self, outputs, batch):
        ...         _, targets = batch
        ...         return torch.nn.functional.mse_loss(outputs, targets)
        >>> model = Regression()
        >>> batch = torch.zeros(4, 1), torch.zeros(4, 1)
        >>> model.loss(model(batch), batch).shape
        torch.Size([])
    """

    # A class attribute, so that a model whose __init__ has not run yet has it too.
    logger: Logger | None = None
    flops_per_batch: Callable[[Batch], float] | float

    def __getstate__(self) -> dict[str, Any]:
        # copy, deepcopy and pickle all come here. The logger belongs to one run of one Trainer.
        state = super().__getstate__()
        state.pop("logger", None)
        return state

    @abstractmethod
    def forward(self, batch: Batch) -> Any:
        """Compute the outputs for a batch.

        Args:
            batch: what the dataloader yields, on the model's device. In training this may be a
                part of it, see ``device_train_microbatch_size``.

        Returns:
            Anything that :meth:`loss` and :meth:`update_metric` understand.
        """

    @abstractmethod
    def loss(
        self, outputs: Any, batch: Batch, *args: Any, **kwargs: Any
    ) -> Tensor | Sequence[Tensor] | Mapping[str, Tensor]:
        """Compute the loss to minimise.

        It must be a mean over the samples of the batch (or a sum of such means): then gradients
        do not depend on how batches are cut into microbatches and spread over ranks.

        Args:
            outputs: what :meth:`forward` returned.
            batch: the batch it was given.
            args: for algorithms that call the loss with more; usually none.
            kwargs: likewise.

        Returns:
            One tensor; several, which are added up; or a mapping of names to tensors. A mapping
            with the key ``total`` is minimised by that entry, any other by the sum of its entries.
        """

    def eval_forward(self, batch: Batch, outputs: Any | None = None) -> Any:
        """Compute the outputs that metrics are updated with.

        Override this where evaluation differs from training, such as generating text.

        Args:
            batch: what the dataloader yields.
            outputs: outputs of :meth:`forward` for this batch if they are known, as they are for
                training metrics. They are returned as they are.

        Returns:
            The outputs for :meth:`update_metric`.
        """
        return self(batch) if outputs is None else outputs

    def update_metric(self, batch: Batch, outputs: Any, metric: Metric) -> dict[str, Any] | None:
        """Add one batch to a metric.

        Args:
            batch: what the dataloader yields.
            outputs: what :meth:`eval_forward` returned.
            metric: one of the metrics of :meth:`get_metrics`, or a copy of it.

        Returns:
            None, or a dictionary for callbacks, which find it in ``state.metric_outputs``.

        Raises:
            NotImplementedError: the model has metrics but does not override this method.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has the metric {type(metric).__name__} but no update_metric. "
            "Implement it, e.g. as `metric.update(outputs, batch[1])`."
        )

    def get_metrics(self, is_train: bool) -> dict[str, Metric]:
        """Return the metrics to compute.

        The Trainer copies them, so the model's own are never updated.

        Args:
            is_train: True for metrics on training batches, False for evaluation.

        Returns:
            Metrics by the name they are logged under; by default none.
        """
        return {}
