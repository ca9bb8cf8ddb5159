"""Which of a run's numbers stand out from those before them; decided where the numbers are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["SpikeDetector"]

# A spread below this share of the mean is taken for it: nearly constant numbers have no outliers.
_LEAST_SPREAD = 0.01


class SpikeDetector:
    """Judges some numbers a step by the running mean and spread of each.

    A number stands out if it lies more than ``threshold`` standard deviations above the mean. It
    then counts as if it lay just there, so that a level that has come to stay is learned in time.
    Nothing is read from the device.

    Args:
        threshold: how many standard deviations are too many, above 0.
        window: over about how many steps mean and spread are taken.
        warmup: steps before the first judgement.
    """

    def __init__(self, threshold: float, window: int, warmup: int) -> None:
        self.threshold = threshold
        self.window = window
        self.warmup = warmup
        self._num_steps = 0
        self._mean: Tensor | None = None
        self._variance: Tensor | None = None

    def judge(self, values: Tensor) -> Tensor:
        """Return which of the numbers stand out, and learn from them.

        Args:
            values: the step's numbers, shape (n,). Those that are not finite are neither judged
                nor learned from.

        Returns:
            Booleans, shape (n,), on the same device.
        """
        values = values.double() if values.device.type != "mps" else values.float()
        if self._mean is None or self._variance is None:
            self._mean, self._variance = torch.zeros_like(values), torch.zeros_like(values)
        mean, variance = self._mean.to(values), self._variance.to(values)
        limit = mean + self.threshold * torch.maximum(variance.sqrt(), _LEAST_SPREAD * mean.abs())
        stands_out = values > limit
        if self._num_steps < self.warmup:
            stands_out = torch.zeros_like(stands_out)
        learned = torch.where(stands_out, limit, values)
        delta = torch.where(values.isfinite(), learned - mean, 0.0)
        weight = max(1 / (self._num_steps + 1), 1 / self.window)
        self._mean = mean + weight * delta
        self._variance = torch.where(
            values.isfinite(), (1 - weight) * (variance + weight * delta**2), variance
        )
        self._num_steps += 1
        return stands_out & values.isfinite()

    def state_dict(self) -> dict[str, Any]:
        """Return what was learned."""
        if self._mean is None or self._variance is None:
            return {"num_steps": 0}
        mean, variance = torch.stack([self._mean, self._variance]).tolist()
        return {"num_steps": self._num_steps, "mean": mean, "variance": variance}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what was learned."""
        self._num_steps = state["num_steps"]
        if self._num_steps:
            self._mean = torch.tensor(state["mean"], dtype=torch.float64)
            self._variance = torch.tensor(state["variance"], dtype=torch.float64)
