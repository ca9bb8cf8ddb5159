"""Training on other data in a later fit."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from composer.models.tasks.classification import ComposerClassifier
from composer.trainer.trainer import Trainer


def loader(num_samples: int) -> DataLoader:
    inputs, targets = torch.randn(num_samples, 4), torch.zeros(num_samples, dtype=torch.int64)
    return DataLoader(TensorDataset(inputs, targets), batch_size=4)


@pytest.fixture
def trainer() -> Trainer:
    model = ComposerClassifier(torch.nn.Linear(4, 2), num_classes=2)
    trainer = Trainer(
        model=model,
        train_dataloader=loader(32),
        max_duration="3ba",
        optimizers=torch.optim.SGD(model.parameters(), lr=0.1),
        progress_bar=False,
    )
    trainer.fit()
    return trainer


def test_other_data_begins_at_its_first_batch(trainer):
    trainer.fit(train_dataloader=loader(16), duration="4ba")
    assert trainer.state.timestamp.batch == 7
    assert trainer.state.timestamp.epoch == 1


def test_the_same_loader_goes_on_in_the_middle_of_its_epoch(trainer):
    trainer.fit(train_dataloader=trainer.state.train_dataloader, duration="5ba")
    assert trainer.state.timestamp.epoch == 1
    assert trainer.state.timestamp.batch == 8
