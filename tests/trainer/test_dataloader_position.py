"""Going on in the middle of an epoch: the batches and the random numbers are those of one run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler

from composer.checkpoint.plain import as_plain
from composer.core.dataset_io import dataset_state_to_dict, load_dataset_state
from composer.core.evaluator import Evaluator
from composer.core.state import State
from composer.devices.device_cpu import DeviceCPU
from composer.distributed.reproducibility import get_rng_state, seed_all
from composer.errors import DataError
from composer.trainer.resume import DataloaderPosition

NUM_EPOCHS = 3
Seen = list[list[float]]


class Numbers(Dataset[float]):
    """0, 1, 2, ... with a random fraction, drawn where the sample is read."""

    def __init__(self, length: int = 20, noisy: bool = False) -> None:
        self.length = length
        self.noisy = noisy

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> float:
        return index + (torch.rand(()).item() if self.noisy else 0.0)


class Stream(IterableDataset[int]):
    """An iterable data set that knows where it is."""

    def __init__(self, length: int = 20) -> None:
        self.length = length
        self.next = 0

    def __iter__(self) -> Iterator[int]:
        while self.next < self.length:
            self.next += 1
            yield self.next - 1
        self.next = 0

    def state_dict(self, num_samples: int, from_beginning: bool) -> dict[str, Any]:
        assert from_beginning
        return {"next": num_samples}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.next = state["next"]


class StatefulLoader:
    """A loader that knows where it is, as torchdata's StatefulDataLoader does."""

    def __init__(self, length: int = 5) -> None:
        self.length = length
        self.done = 0
        self._start = 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[torch.Tensor]:
        order = range(self._start, self.length)
        self.done, self._start = self._start, 0
        for index in order:
            self.done = index + 1
            yield torch.tensor([float(index)])

    def state_dict(self) -> dict[str, Any]:
        return {"done": self.done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._start = state["done"]


class Run:
    """Trains on a loader as far as the order of data and random numbers is concerned."""

    def __init__(self, loader: Any, **kwargs: Any) -> None:
        seed_all(3)
        model = torch.nn.Linear(1, 1)
        self.state = State(model, 3, "run", DeviceCPU(), train_dataloader=loader)
        self.state.set_dataloader(loader, "train")
        self.position = DataloaderPosition(**kwargs)
        self.seen: Seen = []

    def save(self) -> dict[str, Any]:
        return {
            "timestamp": self.state.timestamp,
            "data": as_plain(dataset_state_to_dict(self.state)),
            "rng": as_plain(get_rng_state()),
        }

    def load(self, saved: dict[str, Any]) -> None:
        self.state.timestamp = saved["timestamp"]
        load_dataset_state(self.state, dict(saved["data"]))
        self.position.continue_from(saved["rng"])

        # What happens between loading and training must not matter.
        torch.rand(3), random.random(), np.random.rand()

    def fit(self, stop_after: int | None = None) -> dict[int, dict[str, Any]]:
        """Train and return what would be saved after each batch and each epoch."""
        state, saved = self.state, {}
        self.position.prepare(state)
        while state.timestamp.epoch < NUM_EPOCHS:
            for batch in self.position.iterate(state):
                self.seen.append([*batch.tolist(), torch.rand(()).item(), random.random()])
                state.timestamp = state.timestamp.to_next_batch(samples=len(batch))
                saved[state.timestamp.batch.value] = self.save()
                if state.timestamp.batch == stop_after:
                    return saved
            state.timestamp = state.timestamp.to_next_epoch()
            np.random.rand(state.timestamp.epoch.value)
            saved[-state.timestamp.epoch.value] = self.save()
        return saved


def make_loader(**kwargs: Any) -> DataLoader[float]:
    kwargs.setdefault("shuffle", "sampler" not in kwargs)
    return DataLoader(Numbers(noisy=kwargs.pop("noisy", False)), batch_size=4, **kwargs)


LOADERS = {
    "plain": make_loader,
    "noisy": lambda: make_loader(noisy=True),
    "two workers": lambda: make_loader(num_workers=2),
    "two noisy workers": lambda: make_loader(num_workers=2, noisy=True),
    "own generator": lambda: make_loader(generator=torch.Generator().manual_seed(5)),
    "sampler with a generator": lambda: make_loader(
        sampler=RandomSampler(
            Numbers(), replacement=True, num_samples=20, generator=torch.Generator().manual_seed(5)
        )
    ),
    "persistent workers": lambda: make_loader(num_workers=2, persistent_workers=True),
    "stream": lambda: DataLoader(Stream(), batch_size=4),
    "stateful loader": StatefulLoader,
}


def check(name: str, stops: list[int]) -> None:
    straight = Run(LOADERS[name]())
    saved = straight.fit()
    assert len(straight.seen) == 15
    for stop in stops:
        resumed = Run(LOADERS[name]())
        resumed.load(saved[stop])
        resumed.fit()
        done = stop if stop > 0 else -stop * 5
        assert resumed.seen == straight.seen[done:], f"stopped at {stop}"


@pytest.mark.parametrize("name", [name for name in LOADERS if "workers" not in name])
def test_a_resumed_run_sees_what_the_straight_run_saw(name: str) -> None:
    check(name, [1, 4, 5, -1, 6, 9, -2, 13, 15])


@pytest.mark.parametrize("name", [name for name in LOADERS if "workers" in name])
def test_a_resumed_run_with_workers_sees_what_the_straight_run_saw(name: str) -> None:
    check(name, [2, -1, 8, -2])


def test_three_interruptions_in_a_row_leave_no_trace() -> None:
    straight = Run(make_loader(noisy=True))
    straight.fit()
    run = Run(make_loader(noisy=True))
    saved = run.fit(stop_after=2)[2]
    seen = run.seen
    for stop in (3, 8, None):
        run = Run(make_loader(noisy=True))
        run.load(saved)
        states = run.fit(stop_after=stop)
        seen += run.seen
        saved = states[max(states)]
    assert seen == straight.seen


@pytest.mark.parametrize("name", LOADERS)
def test_a_second_fit_goes_on_where_the_first_stopped(name: str) -> None:
    straight = Run(LOADERS[name]())
    straight.fit()
    run = Run(LOADERS[name]())
    run.fit(stop_after=7)
    run.fit()
    assert run.seen == straight.seen


def test_without_spinning_nothing_is_drawn_twice_and_the_random_states_are_restored() -> None:
    straight = Run(make_loader())
    saved = straight.fit()
    resumed = Run(make_loader(), spin_dataloaders=False)
    resumed.load(saved[7])
    resumed.fit(stop_after=8)
    expected = torch.Generator()
    expected.set_state(saved[7]["rng"][0]["torch"])
    torch.set_rng_state(expected.get_state())
    first = next(iter(make_loader()))
    assert resumed.seen[0][:4] == first.tolist()


def test_a_data_set_that_became_shorter_is_refused() -> None:
    saved = Run(make_loader()).fit()
    resumed = Run(DataLoader(Numbers(8), batch_size=4, shuffle=True))
    resumed.load(saved[8])
    with pytest.raises(DataError, match=r"at batch 3 of epoch 1, but the dataloader gives only 2"):
        resumed.fit()


def test_a_file_without_the_epochs_random_states_replays_finished_epochs() -> None:
    opened: list[int] = []

    class Sampler(RandomSampler):
        def set_epoch(self, epoch: int) -> None:
            opened.append(epoch)

    saved = Run(make_loader()).fit()[8]
    del saved["data"]["position"]
    resumed = Run(make_loader(sampler=Sampler(Numbers())))
    resumed.load(saved)
    resumed.fit(stop_after=9)
    assert opened == [1, 0, 1]
    assert len(resumed.seen) == 1


def test_samplers_are_told_the_epoch() -> None:
    told: list[int] = []

    class Sampler(RandomSampler):
        def set_epoch(self, epoch: int) -> None:
            told.append(epoch)

    Run(make_loader(sampler=Sampler(Numbers()))).fit()
    assert told == [0, 1, 2]


def test_evaluators_whose_workers_were_running_are_opened_before_random_states_return() -> None:
    def make() -> tuple[Run, DataLoader[float]]:
        run = Run(make_loader())
        loader = make_loader(num_workers=1, persistent_workers=True, shuffle=False)
        run.state.evaluators = [Evaluator(label="eval", dataloader=loader, metric_names=[])]
        return run, loader

    first, loader = make()
    list(loader)
    saved = first.fit(stop_after=2)[2]
    second, other = make()
    second.load(saved)
    second.fit(stop_after=3)
    before = torch.get_rng_state()
    list(other)
    assert torch.equal(torch.get_rng_state(), before)
