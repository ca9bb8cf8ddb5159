"""Going on in the middle of an epoch: the batches and the random numbers are those of one run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from torch.utils.data.distributed import DistributedSampler
from torchdata.stateful_dataloader import StatefulDataLoader

from composer.checkpoint.plain import as_plain
from composer.core.dataset_io import dataset_state_to_dict, load_dataset_state
from composer.core.evaluator import Evaluator
from composer.core.seeded_dataset import SeededDataset
from composer.core.state import State
from composer.devices.device_cpu import DeviceCPU
from composer.distributed import comm
from composer.distributed.reproducibility import get_rng_state, seed_all
from composer.errors import DataError
from composer.trainer.data_position import DataloaderPosition

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
    """An iterable data set that counts as mosaicml-streaming's do: by the epoch begun last."""

    def __init__(self, length: int = 20) -> None:
        self.length = length
        self.next_epoch = 0
        self._loaded = {"epoch": -1, "sample_in_epoch": 0}

    def __iter__(self) -> Iterator[int]:
        epoch, num_done = self._resume(self.next_epoch)
        self.next_epoch = epoch + 1
        yield from random.Random(epoch).sample(range(self.length), self.length)[num_done:]

    def state_dict(self, num_samples: int, from_beginning: bool) -> dict[str, Any]:
        assert from_beginning
        return {"epoch": self._resume(self.next_epoch - 1)[0], "sample_in_epoch": num_samples}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._loaded = state

    def _resume(self, epoch: int) -> tuple[int, int]:
        if self._loaded["epoch"] < epoch:
            return epoch, 0
        return self._loaded["epoch"], self._loaded["sample_in_epoch"]


class Forgetful(IterableDataset[int]):
    """An iterable data set that does not know where it is."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(20))


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
    "two seeded workers": lambda: DataLoader(
        SeededDataset(Numbers(noisy=True), 1), batch_size=4, shuffle=True, num_workers=2
    ),
    "plain iterable data": lambda: DataLoader(Forgetful(), batch_size=4),
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


WITHOUT_WORKERS = [name for name in LOADERS if "workers" not in name and "plain it" not in name]


@pytest.mark.parametrize("name", WITHOUT_WORKERS)
def test_a_resumed_run_sees_what_the_straight_run_saw(name: str) -> None:
    check(name, [1, 4, 5, -1, 6, 9, -2, 13, 15])


WITH_WORKERS = [name for name in LOADERS if "workers" in name and "noisy" not in name]


@pytest.mark.parametrize("name", WITH_WORKERS)
def test_a_resumed_run_with_workers_sees_what_the_straight_run_saw(name: str) -> None:
    check(name, [2, -1, 8, -2])


@pytest.mark.parametrize("name", ["two noisy workers", "plain iterable data"])
def test_what_cannot_be_sought_is_read_again_with_a_warning(name: str) -> None:
    check(name, [-1])
    with pytest.warns(UserWarning, match="reading 3 batches again .* because"):
        check(name, [8])


def test_a_seeded_data_set_needs_no_reading_again_in_noisy_workers() -> None:
    check("two seeded workers", [2, -1, 8])


READ: list[int] = []


class Counted(Numbers):
    """Notes what is read."""

    def __getitem__(self, index: int) -> float:
        READ.append(index)
        return super().__getitem__(index)


def distributed(dataset: Dataset[float]) -> DistributedSampler[float]:
    return DistributedSampler(dataset, num_replicas=1, rank=0, seed=4)


class Pairs:
    """A batch sampler of the user's own: batches of uneven size in an order of its own."""

    def __init__(self, dataset: Dataset[float]) -> None:
        self.indices = list(range(20))
        self.generator = random.Random(8)

    def __len__(self) -> int:
        return 5

    def __iter__(self) -> Iterator[list[int]]:
        order = self.generator.sample(self.indices, 20)
        yield from (
            order[first:last] for first, last in ((0, 3), (3, 8), (8, 9), (9, 16), (16, 20))
        )


SAMPLERS: dict[str, Any] = {
    "in order": lambda data: {"batch_size": 4, "shuffle": False},
    "shuffled": lambda data: {"batch_size": 4, "shuffle": True},
    "torch's distributed": lambda data: {"batch_size": 4, "sampler": distributed(data)},
    "the library's": lambda data: {
        "batch_size": 4,
        "sampler": comm.get_sampler(data, shuffle=True, seed=4),
    },
    "weighted": lambda data: {
        "batch_size": 4,
        "sampler": WeightedRandomSampler([1.0] * 19 + [5.0], 20),
    },
    "of a subset": lambda data: {"batch_size": 4, "sampler": SubsetRandomSampler(range(20))},
    "batches of the user's": lambda data: {"batch_sampler": Pairs(data)},
    "without batches": lambda data: {"batch_size": None, "collate_fn": lambda x: torch.tensor([x])},
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_nothing_is_read_twice_whatever_the_sampler(name: str) -> None:
    def make() -> DataLoader[float]:
        data = Counted()
        return DataLoader(data, **SAMPLERS[name](data))

    straight = Run(make())
    saved = straight.fit()
    stop = len(saved) // 2
    READ.clear()
    resumed = Run(make())
    resumed.load(saved[stop])
    resumed.fit()
    assert resumed.seen == straight.seen[stop:]
    assert len(READ) == sum(len(seen) - 2 for seen in resumed.seen)


def test_generators_of_augmentations_go_on() -> None:
    class Augmented(Numbers):
        def __init__(self) -> None:
            super().__init__()
            self.generator = torch.Generator().manual_seed(1)
            self.transforms = [np.random.default_rng(2), random.Random(3)]

        def __getitem__(self, index: int) -> float:
            noise = torch.rand((), generator=self.generator).item()
            return index + noise + self.transforms[0].random() + self.transforms[1].random()

    straight = Run(DataLoader(Augmented(), batch_size=4, shuffle=True))
    saved = straight.fit()
    for stop in (2, -1, 8):
        resumed = Run(DataLoader(Augmented(), batch_size=4, shuffle=True))
        resumed.load(saved[stop])
        resumed.fit()
        assert resumed.seen == straight.seen[stop if stop > 0 else 5 :]


# Torchdata itself calls it.
calls_what_is_deprecated = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")


@calls_what_is_deprecated
@pytest.mark.parametrize("num_workers", [0, 2])
def test_torchdatas_loader_goes_on(num_workers: int) -> None:
    def make() -> Any:
        return StatefulDataLoader(Numbers(), batch_size=4, shuffle=True, num_workers=num_workers)

    straight = Run(make())
    saved = straight.fit()
    for stop in (2, -1, 8):
        resumed = Run(make())
        resumed.load(saved[stop])
        resumed.fit()
        assert resumed.seen == straight.seen[stop if stop > 0 else 5 :]


def test_data_that_counts_epochs_goes_on_after_two_stops_between_the_same_epochs() -> None:
    straight = Run(LOADERS["stream"]())
    saved = straight.fit()
    second = Run(LOADERS["stream"]())
    second.load(saved[-1])
    second.position.prepare(second.state)
    third = Run(LOADERS["stream"]())
    third.load(second.save())
    third.fit()
    assert [batch[:-2] for batch in third.seen] == [batch[:-2] for batch in straight.seen[5:]]


@calls_what_is_deprecated
def test_a_stateful_loader_that_is_not_where_it_should_be_is_noticed() -> None:
    saved = Run(StatefulDataLoader(Numbers(), batch_size=4)).fit()
    other = {**saved[2], "data": {**saved[2]["data"], "loader": saved[3]["data"]["loader"]}}
    resumed = Run(StatefulDataLoader(Numbers(), batch_size=4))
    resumed.load(other)
    with pytest.raises(DataError, match=r"2 batches of the epoch .* has given 3"):
        resumed.fit()


def test_another_batch_size_goes_on_at_the_same_sample() -> None:
    straight = Run(make_loader())
    saved = straight.fit()
    resumed = Run(DataLoader(Numbers(), batch_size=2, shuffle=True))
    resumed.load(saved[7])
    resumed.fit(stop_after=13)
    rest = [value for seen in straight.seen[7:10] for value in seen[:-2]]
    assert [value for seen in resumed.seen for value in seen[:-2]] == rest


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


@pytest.mark.parametrize("name", [*WITHOUT_WORKERS, *WITH_WORKERS])
def test_a_second_fit_goes_on_where_the_first_stopped(name: str) -> None:
    straight = Run(LOADERS[name]())
    straight.fit()
    run = Run(LOADERS[name]())
    run.fit(stop_after=7)
    run.fit()
    assert run.seen == straight.seen


@pytest.mark.parametrize("name", ["plain iterable data", "two noisy workers"])
def test_without_spinning_data_that_cannot_be_sought_is_refused(name: str) -> None:
    saved = Run(LOADERS[name]()).fit(stop_after=2)
    resumed = Run(LOADERS[name](), spin_dataloaders=False)
    resumed.load(saved[2])
    with pytest.raises(DataError, match=r"without reading 2 batches again, and spin_dataloaders="):
        resumed.fit()


def test_without_spinning_data_that_can_be_sought_goes_on() -> None:
    straight = Run(make_loader())
    saved = straight.fit()
    resumed = Run(make_loader(), spin_dataloaders=False)
    resumed.load(saved[7])
    resumed.fit()
    assert resumed.seen == straight.seen[7:]


def test_a_list_of_batches_goes_on_without_a_word() -> None:
    batches = [torch.tensor([float(index)]) for index in range(5)]
    straight = Run(batches)
    saved = straight.fit()
    resumed = Run(batches, spin_dataloaders=False)
    resumed.load(saved[7])
    resumed.fit()
    assert resumed.seen == straight.seen[7:]


@pytest.mark.parametrize("length", [8, 24])
def test_a_data_set_of_another_length_is_refused_in_the_middle_of_an_epoch(length: int) -> None:
    saved = Run(make_loader()).fit()
    resumed = Run(DataLoader(Numbers(length), batch_size=4, shuffle=True))
    resumed.load(saved[8])
    with pytest.raises(DataError, match=f"had 20 samples .* has {length} now"):
        resumed.fit()


def test_a_data_set_of_another_length_is_taken_with_a_warning_between_epochs() -> None:
    saved = Run(make_loader()).fit()
    resumed = Run(DataLoader(Numbers(24), batch_size=4, shuffle=True))
    resumed.load(saved[-1])
    with pytest.warns(UserWarning, match="had 20 samples .* has 24 now"):
        resumed.fit(stop_after=6)
    assert len(resumed.seen) == 1


@pytest.mark.parametrize("name", ["shuffled", "the library's", "batches of the user's"])
def test_another_order_is_noticed(name: str) -> None:
    data = Counted()
    straight = Run(DataLoader(data, **SAMPLERS[name](data)))
    saved = straight.fit()[8]
    saved["data"]["position"]["mark"]["tail"][0] += 1
    resumed = Run(DataLoader(data, **SAMPLERS[name](data)))
    resumed.load(saved)
    with pytest.raises(DataError, match="the order of samples has changed: before batch 3"):
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
