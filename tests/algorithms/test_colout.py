from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from composer.algorithms.colout import ColOut, ColOutTransform, colout_batch
from composer.core.event import Event
from composer.errors import ConfigError, DataError
from tests.algorithms._runs import HandRun, image_batch


def numbered(height: int = 10, width: int = 8) -> torch.Tensor:
    """Two images of one channel whose pixels are numbered."""
    pixels = torch.arange(height * width, dtype=torch.float32).reshape(1, height, width)
    return torch.stack([pixels, pixels + 1000])


def test_rows_and_columns_are_left_out_in_order() -> None:
    cut = colout_batch(numbered(), p_row=0.3, p_col=0.25)
    assert cut.shape == (2, 1, 7, 6)
    rows, columns = cut[0, 0, :, 0] // 8, cut[0, 0, 0] % 8
    assert (rows.diff() > 0).all()
    assert (columns.diff() > 0).all()
    assert torch.equal(cut[0, 0], rows[:, None] * 8 + columns)
    assert torch.equal(cut[1], cut[0] + 1000)


@pytest.mark.parametrize(("share", "left"), [(0.0, 10), (0.15, 8), (0.5, 5), (1.0, 1)])
def test_the_kept_number_is_rounded_down_but_never_zero(share: float, left: int) -> None:
    # int((1 - p) * size) rows stay.
    assert colout_batch(numbered(), p_row=share, p_col=0).shape[-2] == left


def test_every_row_is_left_out_equally_often() -> None:
    torch.manual_seed(0)
    image = torch.arange(10.0).reshape(1, 10, 1).expand(1, 10, 4)
    kept = torch.cat([colout_batch(image, 0.5, 0)[0, :, 0] for _ in range(2000)])
    frequency = torch.bincount(kept.long(), minlength=10) / 2000
    assert (frequency - 0.5).abs().max() < 0.05


def test_targets_as_large_as_the_images_are_cut_alike() -> None:
    images = numbered()
    for mask in (images[:, 0].long(), images.long()):
        cut, targets = colout_batch((images, mask))
        assert torch.equal(targets.reshape(cut.shape), cut.long())


def test_labels_and_probabilities_stay() -> None:
    for target in (torch.tensor([0, 1]), torch.rand(10, 8)):
        _, kept = colout_batch((numbered(), target))
        assert kept is target


def test_targets_can_be_left_alone_or_demanded() -> None:
    images = numbered()
    assert colout_batch((images, images), resize_target=False)[1] is images
    with pytest.raises(DataError, match="resize_target=True needs targets as large"):
        colout_batch((images, torch.zeros(2)), resize_target=True)


def test_images_of_pillow_stay_what_they_are() -> None:
    image = pytest.importorskip("PIL.Image").new("RGB", (20, 10))
    assert colout_batch(image, 0.5, 0.25).size == (15, 5)
    cut, mask = ColOutTransform(0.5, 0.25)(image, image)
    assert cut.size == mask.size == (15, 5)


def test_the_method_cuts_images_and_masks_of_a_batch() -> None:
    run = HandRun(ColOut(p_row=0.5, p_col=0.5))
    images, labels = image_batch()
    run.state.batch = (images, labels)
    run.run(Event.AFTER_DATALOADER)
    assert run.state.batch[0].shape == (4, 3, 8, 8)
    assert run.state.batch[1] is labels
    run.state.batch = (images, images[:, 0])
    run.run(Event.AFTER_DATALOADER)
    assert run.state.batch[1].shape == (4, 8, 8)


class Pictures(Dataset[Any]):
    def __init__(self) -> None:
        self.transform = None


def test_on_a_data_set_it_becomes_a_transform_once() -> None:
    method, dataset = ColOut(batch=False), Pictures()
    run = HandRun(method)
    run.state.set_dataloader(torch.utils.data.DataLoader(dataset), "train")
    run.run(Event.FIT_START, Event.FIT_START)
    assert isinstance(dataset.transform, ColOutTransform)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"p_row=1.5 is out of range"):
        ColOut(p_row=1.5)
    with pytest.raises(ConfigError, match="True, False or 'auto'"):
        colout_batch(numbered(), resize_target="yes")  # pyright: ignore
    with pytest.raises(ConfigError, match="sees no targets"):
        ColOut(batch=False, resize_target=True)
    with pytest.raises(DataError, match="pair"):
        colout_batch((numbered(),))
