"""Which samples the current batch is made of."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from composer.core.batch_indices import batch_indices, check_batch_indices
from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.data.image_loader import DeviceImageLoader
from composer.errors import DataError
from tests.trainer._runs import loader, make_trainer, samples


class Compared(Callback):
    """Compares what is said with what is in the batch, whose inputs begin with the index."""

    num_compared = 0

    def after_dataloader(self, state: State, logger: Logger) -> None:
        assert batch_indices(state).tolist() == state.batch[0][:, 0].int().tolist()
        self.num_compared += 1

    def after_train_batch(self, state: State, logger: Logger) -> None:
        assert batch_indices(state).tolist() == state.batch[0][:, 0].int().tolist()


def numbered() -> TensorDataset:
    inputs, classes = samples(16)
    inputs[:, 0] = torch.arange(16)
    return TensorDataset(inputs, classes)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_they_are_those_of_the_batch_whatever_the_workers(num_workers: int) -> None:
    watcher = Compared()
    data = DataLoader(numbered(), 3, shuffle=True, num_workers=num_workers)
    make_trainer(train_dataloader=data, max_duration="2ep", callbacks=watcher).fit()
    assert watcher.num_compared == 12


def test_they_are_known_when_an_epoch_goes_on_in_its_middle() -> None:
    watcher = Compared()
    data = DataLoader(numbered(), 4, shuffle=True)
    trainer = make_trainer(train_dataloader=data, max_duration="2ba", callbacks=watcher)
    trainer.fit()
    trainer.fit(duration="4ba")
    assert watcher.num_compared == 6


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(numbered())


class Asking(Callback):
    def after_dataloader(self, state: State, logger: Logger) -> None:
        self.found = batch_indices(state)


@pytest.mark.parametrize("data", [list(loader()), DataLoader(Stream(), 4)], ids=["list", "stream"])
def test_a_loader_that_reads_nothing_by_index_is_refused(data: Any) -> None:
    with pytest.raises(DataError, match="cannot be known"):
        make_trainer(train_dataloader=data, callbacks=Asking()).fit()


def test_a_loader_may_say_them_itself() -> None:
    images = torch.randint(256, (8, 3, 5, 5), dtype=torch.uint8)
    data = DeviceImageLoader(images, torch.arange(8), 4, shuffle=True, device="cpu")
    trainer = make_trainer()
    trainer.state.set_dataloader(data, "train")
    for _, targets in data:
        assert torch.equal(batch_indices(trainer.state), targets)


def test_it_can_be_asked_before_a_loader_is_read() -> None:
    check_batch_indices(DataLoader(numbered(), 4))
    check_batch_indices(DeviceImageLoader(torch.zeros(4, 2, 2, 3).byte(), torch.zeros(4), 2))
    with pytest.raises(DataError, match="a list gives its batches only one after the other"):
        check_batch_indices([1, 2])
