"""Batches of images that are kept on the device."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from composer.data.image_draws import alternating_flips
from composer.data.image_loader import DeviceImageLoader
from composer.errors import ConfigError, DataError
from composer.testing.verify import verify_resume
from composer.trainer.trainer import Trainer
from tests._dist import run_ranks
from tests.algorithms._runs import classifier

COUNT, SIDE = 22, 8
IMAGES = torch.randint(
    256, (COUNT, SIDE, SIDE, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
)
TARGETS = torch.arange(COUNT)
PLAIN: dict[str, Any] = {"mean": [0.0] * 3, "std": [1 / 255] * 3, "device": "cpu"}
"""Normalised so that batches hold the bytes themselves."""


def make_loader(batch_size: int = 4, **keywords: Any) -> DeviceImageLoader:
    return DeviceImageLoader(IMAGES, TARGETS, batch_size, **PLAIN | keywords)


def read(loader: DeviceImageLoader, epoch: int = 0) -> tuple[Tensor, Tensor]:
    """An epoch's images as bytes, in the order of the data set, with channels last."""
    loader.sampler.set_epoch(epoch)
    images, targets = zip(*loader, strict=True)
    order = torch.cat(targets).argsort()
    pixels = torch.cat(images)[order].round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1), torch.cat(targets)


def padded_by_hand(amount: int) -> Any:
    pads = ((0, 0), (amount, amount), (amount, amount), (0, 0))
    return np.pad(IMAGES.numpy(), pads, mode="reflect")


def test_images_come_as_they_are_where_nothing_is_asked_for() -> None:
    images, targets = read(make_loader())
    assert torch.equal(images, IMAGES)
    assert targets.tolist() == list(range(COUNT))


@pytest.mark.parametrize("layout", ["arrays", "channels first"])
def test_images_may_come_in_either_layout(layout: str) -> None:
    given: Any = IMAGES.numpy() if layout == "arrays" else IMAGES.permute(0, 3, 1, 2)
    loader = DeviceImageLoader(given, TARGETS.numpy(), 4, **PLAIN)
    assert torch.equal(read(loader)[0], IMAGES)
    assert torch.equal(loader.dataset[3][0], IMAGES[3].permute(2, 0, 1))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_images_are_normalised_by_their_own_statistics(
    channels_last: bool, dtype: torch.dtype
) -> None:
    loader = DeviceImageLoader(
        IMAGES, TARGETS, COUNT, device="cpu", channels_last=channels_last, dtype=dtype
    )
    images, _ = next(iter(loader))
    pixels = IMAGES.double() / 255
    flat = pixels.flatten(0, 2)
    expected = (pixels - flat.mean(0)) / flat.std(0, correction=0)
    atol = 1e-5 if dtype == torch.float32 else 0.02
    torch.testing.assert_close(images.double(), expected.permute(0, 3, 1, 2), atol=atol, rtol=1e-5)
    order = torch.channels_last if channels_last else torch.contiguous_format
    assert images.is_contiguous(memory_format=order)
    assert loader.mean == pytest.approx(flat.mean(0).tolist())


def test_each_epoch_is_shuffled_anew_and_the_same_each_time() -> None:
    orders = [read(make_loader(shuffle=True), epoch)[1].tolist() for epoch in (0, 1, 0)]
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[1]) == list(range(COUNT))
    assert read(make_loader(shuffle=True, seed=1))[1].tolist() != orders[0]


def test_alternating_flips_show_each_image_both_ways_in_any_two_epochs() -> None:
    loader = make_loader(flip="alternating", shuffle=True)
    first, second, third = (read(loader, epoch)[0] for epoch in range(3))
    flipped = alternating_flips(np.arange(COUNT), 0)
    expected = torch.where(torch.from_numpy(flipped)[:, None, None, None], IMAGES.flip(2), IMAGES)
    assert torch.equal(first, expected)
    assert torch.equal(second, first.flip(2))
    assert torch.equal(third, first)
    assert 4 < flipped.sum() < COUNT - 4


def test_random_flips_are_drawn_anew_each_epoch() -> None:
    loader = make_loader(flip="random")
    flips = []
    for epoch in range(40):
        images, _ = read(loader, epoch)
        is_flipped = (images == IMAGES.flip(2)).flatten(1).all(1)
        assert (is_flipped | (images == IMAGES).flatten(1).all(1)).all()
        flips.append(is_flipped)
    share = torch.stack(flips).float().mean()
    assert 0.45 < share < 0.55
    assert all(0 < (one == other).sum() < COUNT for one, other in pairwise(flips))


def test_images_are_moved_with_reflected_borders() -> None:
    padded, seen = padded_by_hand(2), set()
    for epoch in range(20):
        images, _ = read(make_loader(translate=2), epoch)
        for index in range(COUNT):
            places = [
                (y, x)
                for y in range(5)
                for x in range(5)
                if (padded[index, y : y + SIDE, x : x + SIDE] == images[index].numpy()).all()
            ]
            assert len(places) == 1
            seen.update(places)
    assert len(seen) == 25


def test_a_square_is_set_to_the_mean() -> None:
    loader = DeviceImageLoader(IMAGES, TARGETS, COUNT, device="cpu", cutout=3)
    images = next(iter(loader))[0]
    holes = (images == 0).all(1)
    assert holes.flatten(1).any(1).all()
    for hole in holes:
        rows, columns = hole.any(1).sum(), hole.any(0).sum()
        assert 2 <= rows <= 3
        assert 2 <= columns <= 3
        assert hole.sum() == rows * columns


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [5, 5, 5, 5, 2]), (True, [5, 5, 5, 5])])
def test_a_last_batch_that_is_not_full_is_given_or_left_out(
    drop_last: bool, sizes: list[int]
) -> None:
    loader = make_loader(5, drop_last=drop_last)
    assert [len(targets) for _, targets in loader] == sizes
    assert len(loader) == len(sizes)


def test_the_indices_of_the_last_batch_are_known() -> None:
    loader = make_loader(5, shuffle=True)
    assert all(torch.equal(loader.indices, targets) for _, targets in loader)


def test_an_epoch_goes_on_where_another_one_stood() -> None:
    changes = {"shuffle": True, "flip": "random", "translate": 1, "cutout": 2}
    loader, other = make_loader(**changes), make_loader(**changes)
    for each in (loader, other):
        each.sampler.set_epoch(3)
    batches = iter(loader)
    for _ in range(2):
        next(batches)
    other.load_state_dict(loader.state_dict())
    for one, two in zip(batches, other, strict=True):
        assert torch.equal(one[0], two[0])
        assert torch.equal(one[1], two[1])
    assert len(list(other)) == len(other)


def test_an_epoch_does_not_go_on_with_another_batch_size() -> None:
    with pytest.raises(DataError, match="batch_size=4 and cannot go on in its middle with 5"):
        make_loader(5).load_state_dict(make_loader(4).state_dict())


@pytest.mark.parametrize(
    ("images", "text"),
    [
        (IMAGES.float(), "uint8"),
        (IMAGES[0], "shape"),
        (IMAGES[:, :3, :, :], "not clear"),
        (IMAGES[..., :2], "not clear"),
        (IMAGES[:5], "5 images and 22 targets"),
    ],
)
def test_what_is_no_set_of_images_is_refused(images: Tensor, text: str) -> None:
    with pytest.raises(DataError, match=text):
        DeviceImageLoader(images, TARGETS, 4, device="cpu")


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0},
        {"translate": SIDE},
        {"cutout": -1},
        {"flip": "sometimes"},
        {"mean": [0.5]},
        {"std": [0.0, 1.0, 1.0]},
    ],
)
def test_arguments_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        make_loader(**wrong)


def make_trainer() -> Trainer:
    model = classifier(num_classes=COUNT)
    return Trainer(
        model=model,
        train_dataloader=make_loader(
            shuffle=True, flip="alternating", translate=2, cutout=2, mean=None, std=None
        ),
        eval_dataloader=make_loader(7, mean=None, std=None),
        optimizers=torch.optim.SGD(model.parameters(), lr=0.1),
        max_duration="3ep",
        progress_bar=False,
        device="cpu",
        seed=1,
    )


def test_a_run_on_it_resumes_exactly() -> None:
    verify_resume(make_trainer, interrupt_at=["2ba", "8ba", "2ep"]).require()


def _share() -> list[int]:
    torch.manual_seed(0)
    loader = make_loader(4, shuffle=True)
    return [int(target) for _, targets in loader for target in targets]


def test_ranks_share_an_epoch() -> None:
    shares = run_ranks(2, _share)
    assert sorted(shares[0] + shares[1]) == list(range(COUNT))
