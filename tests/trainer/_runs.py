"""Small runs for the Trainer's tests: models, data, and a Trainer that keeps what it logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from composer.core.callback import Callback
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.models.base import ComposerModel
from composer.models.tasks.classification import ComposerClassifier
from composer.trainer.trainer import Trainer
from tests.core._doubles import Memory

NUM_FEATURES, NUM_CLASSES = 6, 3


class Events(Callback):
    """Keeps the events of a run in order."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def run_event(self, event: Event, state: State, logger: Logger) -> None:
        self.names.append(event.value)


class Losses(Callback):
    """Keeps the loss of each batch, over all microbatches and ranks, to the bit."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def batch_end(self, state: State, logger: Logger) -> None:
        self.values.append(state.total_loss_dict["loss/train/total"].item())


class Regression(ComposerModel):
    """A linear model with the squared error, and nothing else."""

    def __init__(self, num_features: int = NUM_FEATURES) -> None:
        super().__init__()
        self.line = nn.Linear(num_features, 1)

    def forward(self, batch: Any) -> Tensor:
        return self.line(batch[0]).squeeze(-1)

    def loss(self, outputs: Tensor, batch: Any, *args: Any, **kwargs: Any) -> Any:
        return nn.functional.mse_loss(outputs, batch[1])


class TokenModel(ComposerModel):
    """Predicts the label of each token; the loss is a mean over the tokens that have one."""

    def __init__(self, num_tokens: int = 11) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_tokens, 5)
        self.head = nn.Linear(5, num_tokens)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        return self.head(self.embedding(batch["input_ids"]))

    def loss(self, outputs: Tensor, batch: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        return nn.functional.cross_entropy(outputs.flatten(0, 1), batch["labels"].flatten())


def classifier(*layers: nn.Module, seed: int = 0, **kwargs: Any) -> ComposerClassifier:
    """Return a classifier with weights that are always the same; by default a small network."""
    torch.manual_seed(seed)
    net = nn.Sequential(*layers) if layers else mlp()
    return ComposerClassifier(net, num_classes=NUM_CLASSES, **kwargs)


def mlp(with_norm: bool = False) -> nn.Sequential:
    norm = [nn.BatchNorm1d(8)] if with_norm else []
    return nn.Sequential(nn.Linear(NUM_FEATURES, 8), *norm, nn.Tanh(), nn.Linear(8, NUM_CLASSES))


def norm_classifier(seed: int = 0, **kwargs: Any) -> ComposerClassifier:
    """Return a classifier with batch norm."""
    torch.manual_seed(seed)
    return ComposerClassifier(mlp(with_norm=True), num_classes=NUM_CLASSES, **kwargs)


def samples(count: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, NUM_FEATURES, generator=generator)
    return inputs, torch.randint(0, NUM_CLASSES, (count,), generator=generator)


def loader(count: int = 16, batch_size: int = 4, **kwargs: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(*samples(count)), batch_size=batch_size, **kwargs)


def token_batches(num_batches: int = 2, num_samples: int = 5) -> list[dict[str, Tensor]]:
    """Return batches of token sequences with padding: labels of -100, unevenly many a sample."""
    generator = torch.Generator().manual_seed(2)
    batches = []
    for _ in range(num_batches):
        ids = torch.randint(0, 11, (num_samples, 7), generator=generator)
        labels = ids.clone()
        for sample in range(num_samples):
            labels[sample, 1 + sample :] = -100
        batches.append({"input_ids": ids, "labels": labels})
    return batches


def sgd(model: nn.Module, lr: float = 0.1, **kwargs: Any) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=lr, **kwargs)


def make_trainer(**arguments: Any) -> Trainer:
    """Make a Trainer that is silent; what is not given is a small classification run."""
    given: dict[str, Any] = {"device": "cpu", "progress_bar": False, "seed": 5}
    given |= arguments
    model = given.setdefault("model", classifier())
    given.setdefault("train_dataloader", loader())
    given.setdefault("max_duration", "1ep")
    given.setdefault("optimizers", sgd(model))
    return Trainer(**given)


def fitted(**arguments: Any) -> tuple[Trainer, list[float], Memory]:
    """Train to the end and return the Trainer, each batch's loss, and what was logged."""
    losses, memory = Losses(), Memory()
    callbacks = [*arguments.pop("callbacks", []), losses]
    trainer = make_trainer(**{"loggers": memory, **arguments}, callbacks=callbacks)
    trainer.fit()
    return trainer, losses.values, memory


def weights_of(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.state.model.state_dict().items()}


def assert_same(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> None:
    """Check that tensors are equal to the bit."""
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert torch.equal(value, right[name]), name


def assert_close(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> None:
    """Check that tensors are equal up to rounding in 32 bits."""
    assert left.keys() == right.keys()
    for name, value in left.items():
        torch.testing.assert_close(value, right[name], msg=name, rtol=2e-5, atol=1e-6)
