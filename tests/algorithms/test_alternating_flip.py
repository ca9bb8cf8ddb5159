"""Images of ordinary loaders, flipped in every other epoch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from composer.algorithms.alternating_flip import AlternatingFlip, alternating_flip_batch
from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.data.image_loader import DeviceImageLoader
from composer.distributed import comm
from composer.errors import ConfigError, DataError
from tests.algorithms._runs import classifier
from tests.trainer._runs import make_trainer

COUNT, SIZE, SIDE = 24, 6, 6


def images() -> Tensor:
    """Images that tell which one they are and which way round: the first column is marked."""
    pixels = torch.zeros(COUNT, 3, SIDE, SIDE)
    pixels[:, 0] = torch.arange(COUNT)[:, None, None]
    pixels[:, 1, :, 0] = 1
    return pixels


def data(target: Tensor | None = None) -> Dataset[Any]:
    return TensorDataset(images(), torch.arange(COUNT) % 4 if target is None else target)


class Seen(Callback):
    """Notes which images were flipped, by epoch."""

    def __init__(self) -> None:
        self.flipped: dict[int, dict[int, bool]] = {}

    def after_dataloader(self, state: State, logger: Logger) -> None:
        epoch = self.flipped.setdefault(state.timestamp.epoch.value, {})
        for image in state.batch[0]:
            assert image[1].sum() == SIDE
            epoch[int(image[0, 0, 0])] = bool(image[1, 0, -1])


def run(method: AlternatingFlip, loader: Any, **keywords: Any) -> dict[int, dict[int, bool]]:
    seen, model = Seen(), classifier()
    given = {"max_duration": "3ep", "callbacks": seen} | keywords
    make_trainer(
        model=model,
        train_dataloader=loader,
        optimizers=torch.optim.SGD(model.parameters(), lr=0.01),
        algorithms=method,
        **given,
    ).fit()
    return seen.flipped


@pytest.mark.parametrize("num_workers", [0, 2])
def test_every_image_is_flipped_in_every_other_epoch(num_workers: int) -> None:
    loader = DataLoader(data(), SIZE, shuffle=True, num_workers=num_workers)
    first, second, third = run(AlternatingFlip(), loader).values()
    assert len(first) == COUNT
    assert all(second[index] is not flipped for index, flipped in first.items())
    assert third == first
    assert 0 < sum(first.values()) < COUNT


def test_the_same_images_are_flipped_as_by_the_loader_of_images_on_the_device() -> None:
    shades = torch.zeros(COUNT, 3, SIDE, SIDE, dtype=torch.uint8)
    shades[..., 0] = 1
    loader = DeviceImageLoader(
        shades, torch.arange(COUNT), COUNT, flip="alternating", seed=5,
        mean=[0.0] * 3, std=[1 / 255] * 3, device="cpu",
    )  # fmt: skip
    theirs, _ = next(iter(loader))
    ours = alternating_flip_batch(shades, torch.arange(COUNT), epoch=0, seed=5)
    torch.testing.assert_close(ours.float(), theirs)


def test_another_seed_begins_with_another_half() -> None:
    first, other = (
        run(AlternatingFlip(seed=seed), DataLoader(data(), SIZE), max_duration="1ep")[0]
        for seed in (0, 1)
    )
    assert first != other


def test_a_run_that_goes_on_in_the_middle_of_an_epoch_flips_the_same(tmp_path: Any) -> None:
    def loader() -> DataLoader[Any]:
        return DataLoader(data(), SIZE, sampler=comm.get_sampler(data(), shuffle=True))

    straight = run(
        AlternatingFlip(), loader(), save_folder=str(tmp_path), save_interval="2ba",
        save_filename="ba{batch}.pt",
    )  # fmt: skip
    resumed = run(AlternatingFlip(), loader(), load_path=str(tmp_path / "ba6.pt"))
    assert len(resumed[1]) == COUNT - 2 * SIZE
    assert resumed[1].items() <= straight[1].items()
    assert resumed[2] == straight[2]


def test_the_function_does_what_the_class_does() -> None:
    flipped = run(AlternatingFlip(seed=3), DataLoader(data(), SIZE), max_duration="1ep")[0]
    by_hand = alternating_flip_batch(images(), torch.arange(COUNT), epoch=0, seed=3)
    assert [bool(image[1, 0, -1]) for image in by_hand] == list(flipped.values())


def test_what_came_is_not_changed() -> None:
    given = images()
    alternating_flip_batch(given, torch.arange(COUNT), epoch=1)
    assert torch.equal(given, images())


class Compared(Callback):
    """Compares the batch's targets, which began as copies of a channel of the images."""

    def __init__(self, are_alike: bool) -> None:
        self._are_alike = are_alike

    def after_dataloader(self, state: State, logger: Logger) -> None:
        inputs, targets = state.batch
        assert torch.equal(inputs[:, 1], targets) is self._are_alike
        state.batch = (inputs, torch.zeros(len(inputs), dtype=torch.int64))


@pytest.mark.parametrize(("flip_target", "are_alike"), [("auto", True), (False, False)])
def test_masks_go_along_if_they_are_wanted_to(flip_target: Any, are_alike: bool) -> None:
    loader = DataLoader(data(images()[:, 1]), COUNT)
    run(
        AlternatingFlip(flip_target=flip_target), loader, max_duration="1ep",
        callbacks=Compared(are_alike),
    )  # fmt: skip


def test_targets_that_are_no_images_are_refused_where_they_shall_be_flipped() -> None:
    with pytest.raises(DataError, match="flip_target=True needs targets as large"):
        run(AlternatingFlip(flip_target=True), DataLoader(data(), SIZE))


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(data())

    def __len__(self) -> int:
        return COUNT


@pytest.mark.parametrize(
    "loader", [DataLoader(Stream(), SIZE), [(images(), torch.zeros(COUNT, dtype=torch.int64))]]
)
def test_a_loader_that_does_not_say_its_samples_is_refused_with_what_to_do(loader: Any) -> None:
    with pytest.raises(DataError, match="Use a DataLoader over a data set that is read by index"):
        run(AlternatingFlip(), loader)


def test_a_loader_that_flips_itself_is_refused() -> None:
    shades = torch.zeros(COUNT, 3, SIDE, SIDE, dtype=torch.uint8)
    loader = DeviceImageLoader(shades, torch.arange(COUNT) % 4, SIZE, flip="random", device="cpu")
    with pytest.raises(ConfigError, match="the loader flips images already"):
        run(AlternatingFlip(), loader)


def test_a_batch_of_other_samples_than_the_loader_gave_is_refused() -> None:
    loader = DataLoader(data(), SIZE, collate_fn=lambda samples: _collate(samples[1:]))
    with pytest.raises(DataError, match="AlternatingFlip knows 6 samples of a batch that has 5"):
        run(AlternatingFlip(), loader)


def _collate(samples: list[Any]) -> tuple[Tensor, Tensor]:
    inputs, classes = zip(*samples, strict=True)
    return torch.stack(inputs), torch.stack(classes)


@pytest.mark.parametrize(
    ("wrong", "name"), [({"seed": 0.5}, "seed"), ({"flip_target": "yes"}, "flip_target")]
)
def test_arguments_out_of_range_are_refused(wrong: dict[str, Any], name: str) -> None:
    with pytest.raises((ConfigError, TypeError), match=name):
        AlternatingFlip(**wrong)


def test_what_is_no_batch_of_images_is_refused() -> None:
    with pytest.raises(DataError, match=r"\(N, ..., H, W\), got \(4, 4\)"):
        alternating_flip_batch(torch.zeros(4, 4), torch.arange(4), epoch=0)
