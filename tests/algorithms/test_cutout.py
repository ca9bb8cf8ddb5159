import pytest
import torch

from composer.algorithms.cutout import CutOut, cutout_batch
from composer.core.event import Event
from composer.errors import ArgumentTypeError, ConfigError, DataError
from tests.algorithms._runs import HandRun, image_batch


def holes(count: int, **arguments: object) -> torch.Tensor:
    """How often each pixel of an 8 x 8 image is covered."""
    covered = torch.zeros(8, 8)
    for _ in range(count):
        covered += cutout_batch(torch.ones(8, 8), **arguments) == 0  # pyright: ignore
    return covered


def test_a_square_of_half_the_side_is_zero_and_the_rest_stays() -> None:
    # DeVries and Taylor 2017, section 3.2: a fixed-size zero mask at a random centre, clipped.
    torch.manual_seed(0)
    images = torch.rand(2, 3, 8, 8) + 1
    for _ in range(20):
        cut = cutout_batch(images, length=0.5)
        hole = cut == 0
        assert torch.equal(cut[~hole], images[~hole])
        rows, columns = hole[0, 0].any(1).sum(), hole[0, 0].any(0).sum()
        assert hole[0, 0].sum() == rows * columns
        assert 2 <= rows <= 4
        assert 2 <= columns <= 4


def test_the_side_follows_the_shorter_side_of_the_image() -> None:
    torch.manual_seed(0)
    most = max(int((cutout_batch(torch.ones(4, 40), length=0.5) == 0).sum()) for _ in range(50))
    assert most == 2 * 2


def test_all_images_of_a_batch_get_the_same_holes() -> None:
    cut = cutout_batch(torch.ones(4, 3, 8, 8), num_holes=2, length=0.4)
    assert torch.equal(cut, cut[:1, :1].expand_as(cut))


def test_every_pixel_is_covered_equally_often_if_asked() -> None:
    torch.manual_seed(0)
    even = holes(4000, uniform_sampling=True)
    # 4 x 4 of the 11 x 11 placements cover a pixel.
    assert (even / 4000 - 16 / 121).abs().max() < 0.03
    centred = holes(4000)
    assert centred[0, 0] < 0.6 * centred[4, 4]


def test_the_images_given_are_not_changed() -> None:
    images = torch.ones(1, 8, 8)
    cutout_batch(images)
    assert images.all()
    assert cutout_batch(images, num_holes=0).equal(images)
    assert cutout_batch(images, length=0).equal(images)


def test_an_image_of_pillow_stays_one() -> None:
    image = pytest.importorskip("PIL.Image").new("RGB", (8, 8), (200, 100, 50))
    cut = cutout_batch(image, length=0.5, uniform_sampling=True)
    assert type(cut).__module__ == "PIL.Image"
    assert {color for _, color in cut.getcolors()} <= {(200, 100, 50), (0, 0, 0)}


def test_the_method_cuts_each_batch() -> None:
    torch.manual_seed(0)
    run = HandRun(CutOut(length=0.9))
    run.state.batch = image_batch()
    run.run(Event.AFTER_DATALOADER)
    assert (run.state.batch[0] == 0).any()
    assert torch.equal(run.state.batch[1], image_batch()[1])


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"length=1.5 is out of range"):
        CutOut(length=1.5)
    with pytest.raises(ArgumentTypeError, match="num_holes must be a whole number"):
        cutout_batch(torch.ones(2, 2), num_holes=0.5)  # pyright: ignore
    with pytest.raises(DataError, match="shape"):
        cutout_batch(torch.ones(3))
