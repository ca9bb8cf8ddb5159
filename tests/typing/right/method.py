"""A method, a model and a data spec of the user's own."""

from typing import Any

import torch
from torch import Tensor

from composer import Algorithm, ComposerModel, DataSpec, Event, Logger, State, Trainer
from composer.functional import smooth_labels


class Halve(Algorithm):
    """Halves the loss, by the older interface."""

    def match(self, event: Event, state: State) -> bool:
        """Act before the backward pass."""
        return event is Event.BEFORE_BACKWARD

    def apply(self, event: Event, state: State, logger: Logger) -> int | None:
        """Do it."""
        state.loss = state.loss / 2


class Model(ComposerModel):
    """One layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)

    def forward(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return logits, shape (N, 2)."""
        return self.layer(batch[0])

    def loss(self, outputs: Tensor, batch: tuple[Tensor, Tensor], *args: Any, **kwargs: Any) -> Any:
        """Return the cross entropy with smoothed labels."""
        targets = smooth_labels(outputs, batch[1], smoothing=0.1)
        return torch.nn.functional.cross_entropy(outputs, targets)


batches = [(torch.randn(8, 4), torch.zeros(8, dtype=torch.int64))]
trainer = Trainer(
    model=Model(),
    train_dataloader=DataSpec(batches, num_samples=8),
    max_duration="1ep",
    algorithms=Halve(),
)
