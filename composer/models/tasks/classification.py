"""A module that returns class scores, made ready to train."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from composer.errors import ConfigError
from composer.loss.loss import soft_cross_entropy
from composer.models.base import ComposerModel

if TYPE_CHECKING:
    from torchmetrics import Metric, MetricCollection

    Metrics = Metric | MetricCollection | Mapping[str, Metric]

__all__ = ["ComposerClassifier"]


class ComposerClassifier(ComposerModel):
    """Train any module that maps inputs to class scores.

    Batches are pairs (inputs, targets). Metrics not given are accuracy in training, and accuracy
    and cross entropy in evaluation; they are built when first asked for.

    Args:
        module: returns unnormalised scores, shape (N, C) or (N, C, ...), for the inputs.
        num_classes: number of classes C, for the default metrics. By default
            ``module.num_classes``.
        train_metrics: what to compute on training batches: one metric, or several by name. They
            are called with (scores, targets).
        val_metrics: likewise for evaluation batches.
        loss_fn: called with (scores, targets); returns a mean over the batch.

    Raises:
        ConfigError: a default metric is needed and the number of classes is not known.

    Example:
        >>> import torch
        >>> model = ComposerClassifier(torch.nn.Linear(8, 3), num_classes=3)
        >>> model((torch.zeros(2, 8), torch.tensor([0, 1]))).shape
        torch.Size([2, 3])
        >>> sorted(model.get_metrics(is_train=False))
        ['CrossEntropy', 'MulticlassAccuracy']
    """

    train_metrics: Metrics | None
    val_metrics: Metrics | None

    def __init__(
        self,
        module: torch.nn.Module,
        num_classes: int | None = None,
        train_metrics: Metrics | None = None,
        val_metrics: Metrics | None = None,
        loss_fn: Callable[..., Tensor] = soft_cross_entropy,
    ) -> None:
        super().__init__()
        self.module = module
        self.num_classes = num_classes or getattr(module, "num_classes", None)
        self._loss_fn = loss_fn
        needs_default = train_metrics is None or val_metrics is None
        if needs_default and self.num_classes is None:
            raise ConfigError(
                f"the default metrics need the number of classes, and {type(module).__name__} has "
                "no attribute num_classes. Give num_classes, or both train_metrics and "
                "val_metrics."
            )
        # Metrics are modules. Set this way they are no submodules: FSDP, `to_empty` and casts of
        # the model must leave their counters alone.
        object.__setattr__(self, "train_metrics", train_metrics)
        object.__setattr__(self, "val_metrics", val_metrics)

    def forward(self, batch: tuple[Any, Any]) -> Tensor:
        """Return the scores for the inputs of a batch (inputs, targets)."""
        inputs, _ = batch
        return self.module(inputs)

    def loss(self, outputs: Tensor, batch: tuple[Any, Any], *args: Any, **kwargs: Any) -> Tensor:
        """Return ``loss_fn(outputs, targets, *args, **kwargs)`` for a batch (inputs, targets)."""
        _, targets = batch
        return self._loss_fn(outputs, targets, *args, **kwargs)

    def update_metric(self, batch: tuple[Any, Any], outputs: Tensor, metric: Metric) -> None:
        """Add the scores and targets of one batch to a metric."""
        _, targets = batch
        metric.update(outputs, targets)

    def get_metrics(self, is_train: bool = False) -> dict[str, Metric]:
        """Return the metrics by name, on the device of the model.

        Args:
            is_train: True for the training metrics, False for the evaluation metrics.

        Returns:
            A single metric is named for its class, several keep their names.
        """
        # Imported here: a run that asks for no metrics need not wait for torchmetrics.
        from torchmetrics import Metric

        name = "train_metrics" if is_train else "val_metrics"
        metrics: Metrics | None = getattr(self, name)
        if metrics is None:
            metrics = self._default_metrics(is_train)
            object.__setattr__(self, name, metrics)
        if isinstance(metrics, Metric):
            metrics = {type(metrics).__name__: metrics}
        return {key: self._on_own_device(metric) for key, metric in metrics.items()}

    def _default_metrics(self, is_train: bool) -> dict[str, Metric]:
        from torchmetrics.classification import MulticlassAccuracy

        from composer.metrics.metrics import CrossEntropy

        # Validation would wait for the device in every batch; the loss refuses wrong targets too.
        accuracy = MulticlassAccuracy(
            num_classes=self.num_classes, average="micro", validate_args=False
        )
        if is_train:
            return {"MulticlassAccuracy": accuracy}
        return {"CrossEntropy": CrossEntropy(), "MulticlassAccuracy": accuracy}

    def _on_own_device(self, metric: Metric) -> Metric:
        parameter = next(self.parameters(), None)
        if parameter is None or parameter.device.type == "meta":
            return metric
        return metric.to(parameter.device)
