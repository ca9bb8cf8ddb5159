"""Ghost batch normalisation: normalise small parts of a batch separately.

Papers: Hoffer, Hubara, Soudry, "Train longer, generalize better", 2017, arXiv:1705.08741;
Dimitriou, Arandjelovic, "A New Look at Ghost Normalization", 2020, arXiv:2007.08554.

Idea: in training a batch is split into ghost batches of at most ``ghost_batch_size`` samples, and
each is normalised by its own mean and variance. The noise of small batches stays, however large
the batch is. Running statistics see every ghost batch; evaluation uses them as ever.

When it helps: batch sizes per device far above 64 that generalise worse than small ones. When it
hurts: small batches, whose statistics are noisy already; several small normalisations take longer
than a large one.

Suggested values: ``ghost_batch_size=32`` (16 to 64). Each microbatch is split by itself and must
hold at least that many samples. A checkpoint trained with it needs it on load.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from composer.algorithms._checks import check_whole, warn_no_effect
from composer.core.algorithm import Algorithm
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import DataError
from composer.utils.module_surgery import count_module_instances, replace_module_classes

__all__ = [
    "GhostBatchNorm",
    "GhostBatchNorm1d",
    "GhostBatchNorm2d",
    "GhostBatchNorm3d",
    "apply_ghost_batchnorm",
]


class _GhostBatchNorm(nn.Module):
    """A batch normalisation that treats parts of each training batch separately.

    Args:
        base_batchnorm: the layer whose weights and statistics are used; it lives on inside.
        ghost_batch_size: samples in a part, at most; parts differ by one sample at most.

    Source:
        Hoffer et al. 2017, algorithm 1, with one update of the running statistics for each part,
        weighed by its samples, so that the whole batch moves them as far as one would.
    """

    def __init__(self, base_batchnorm: Any, ghost_batch_size: int = 32) -> None:
        super().__init__()
        check_whole("ghost_batch_size", ghost_batch_size, 1)
        self.ghost_batch_size = ghost_batch_size
        self.batchnorm = base_batchnorm

    def extra_repr(self) -> str:
        """Return what the layer inside does not show."""
        return f"ghost_batch_size={self.ghost_batch_size}"

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised batch, shape as the input.

        Raises:
            ValueError: a training batch has fewer samples than ``ghost_batch_size``.
        """
        if not self.training:
            return self.batchnorm(input)
        size = input.shape[0]
        if size < self.ghost_batch_size:
            raise DataError(
                f"GhostBatchNorm got {size} samples, fewer than ghost_batch_size="
                f"{self.ghost_batch_size}. Use a smaller one, larger (micro)batches, or "
                "drop_last=True in the data loader."
            )
        number = math.ceil(size / self.ghost_batch_size)
        least, larger = divmod(size, number)
        # In one call with all sizes, whose gradient is one tensor and not a sum of as many. With
        # tensor_split, models that torch 2.13 compiles to native code came to be NaN.
        parts = input.split([least + 1] * larger + [least] * (number - larger))
        return torch.cat(self._normalize(parts, size))

    def _normalize(self, parts: Sequence[Tensor], size: int) -> list[Tensor]:
        norm = self.batchnorm
        if norm.momentum is None or not norm.track_running_stats:
            # A plain average of all statistics, or none: the layer itself knows how.
            return [norm(part) for part in parts]
        norm.num_batches_tracked.add_(1)
        # Looked up once: a module searches for its tensors each time.
        tensors = norm.running_mean, norm.running_var, norm.weight, norm.bias
        shares = [norm.momentum * part.shape[0] / size for part in parts]
        return [
            F.batch_norm(part, *tensors, True, share, norm.eps)
            for part, share in zip(parts, shares, strict=True)
        ]

    @classmethod
    def from_batchnorm(cls, module: Any, ghost_batch_size: int) -> Any:
        """Return a layer that treats parts of a batch as ``module`` treats all of it."""
        return cls(module, ghost_batch_size)


class GhostBatchNorm1d(_GhostBatchNorm):
    """Ghost normalisation of inputs of shape (N, C) or (N, C, L); see `apply_ghost_batchnorm`."""


class GhostBatchNorm2d(_GhostBatchNorm):
    """Ghost normalisation of images, shape (N, C, H, W); see `apply_ghost_batchnorm`."""


class GhostBatchNorm3d(_GhostBatchNorm):
    """Ghost normalisation of volumes, shape (N, C, D, H, W); see `apply_ghost_batchnorm`."""


_GHOSTS: Mapping[type[nn.Module], type[_GhostBatchNorm]] = {
    nn.BatchNorm1d: GhostBatchNorm1d,
    nn.BatchNorm2d: GhostBatchNorm2d,
    nn.BatchNorm3d: GhostBatchNorm3d,
}


def apply_ghost_batchnorm(
    model: nn.Module,
    ghost_batch_size: int = 32,
    optimizers: Optimizer | Sequence[Optimizer] | None = None,
) -> nn.Module:
    """Replace batch normalisation by ghost batch normalisation, in place.

    A second call finds nothing left to do. Layers keep their weights, so optimizers need no change;
    they are taken for the sake of one form for all methods of surgery.

    Args:
        model: the model; itself it is not replaced. A `NoEffectWarning` says so if nothing in it
            could be.
        ghost_batch_size: samples in a part, at most.
        optimizers: optimizers of the model's parameters.

    Returns:
        The model.

    Raises:
        ValueError: ``ghost_batch_size`` is less than 1.

    Example:
        >>> model = nn.Sequential(nn.BatchNorm1d(4))
        >>> type(apply_ghost_batchnorm(model, 8)[0]).__name__
        'GhostBatchNorm1d'
    """
    check_whole("ghost_batch_size", ghost_batch_size, 1)
    finished = {each.batchnorm for each in model.modules() if isinstance(each, _GhostBatchNorm)}

    def haunt(module: nn.Module, index: int) -> nn.Module | None:
        del index
        if module in finished:
            return None
        kind = next(ghost for norm, ghost in _GHOSTS.items() if isinstance(module, norm))
        return kind.from_batchnorm(module, ghost_batch_size)

    replace_module_classes(model, dict.fromkeys(_GHOSTS, haunt), optimizers)
    if not count_module_instances(model, _GhostBatchNorm):
        wanted = "BatchNorm1d, BatchNorm2d and BatchNorm3d"
        warn_no_effect("GhostBatchNorm", model, wanted)
    return model


class GhostBatchNorm(Algorithm):
    """Normalise small parts of each batch separately; see :func:`apply_ghost_batchnorm`.

    Logs the hyperparameter ``ghost_batchnorm/num_layers``.

    Args:
        ghost_batch_size: samples in a part, at most.

    Raises:
        ValueError: ``ghost_batch_size`` is less than 1.
    """

    events: Mapping[Event, str] = {Event.INIT: "haunt"}
    writes = ("model", "optimizers")

    def __init__(self, ghost_batch_size: int = 32) -> None:
        check_whole("ghost_batch_size", ghost_batch_size, 1)
        self.ghost_batch_size = ghost_batch_size

    @staticmethod
    def required_on_load() -> bool:
        """Return True: weights and statistics have other names."""
        return True

    def apply(self, event: Event, state: State, logger: Logger | None = None) -> None:
        """Replace the layers; a logger is not needed."""
        del event
        self.haunt(state, logger)

    def haunt(self, state: State, logger: Logger | None) -> None:
        """Replace the layers and log how many there are."""
        apply_ghost_batchnorm(state.model, self.ghost_batch_size, state.optimizers)
        if logger is not None:
            count = count_module_instances(state.model, _GhostBatchNorm)
            logger.log_hyperparameters({"ghost_batchnorm/num_layers": count})
