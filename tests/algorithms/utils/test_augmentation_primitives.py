from typing import Any

import pytest
import torch

from composer.algorithms.utils import augmentation_primitives as primitives
from composer.algorithms.utils.augmentation_common import image_as_type, map_pillow_function
from composer.errors import ArgumentTypeError, DataError

Image = pytest.importorskip("PIL.Image")


def ramp() -> Any:
    """A grey image whose value is its column: 0, 8, 16 ... 248."""
    return Image.frombytes("L", (32, 24), bytes([8 * x for x in range(32)] * 24))


def draws(name: str, severity: float, count: int = 200) -> list[float]:
    torch.manual_seed(0)
    return [getattr(primitives, name)(severity) for _ in range(count)]


def test_levels_lie_between_a_tenth_and_the_severity() -> None:
    levels = draws("_draw_level", 7)
    assert 0.1 <= min(levels) < 0.5
    assert 6.5 < max(levels) <= 7
    assert set(draws("_draw_level", 0.05)) == {0.05}


def test_symmetric_factors_strengthen_as_often_as_they_weaken() -> None:
    # Severity 10: up to 10 or down to 0.1, and 1 is the median.
    factors = draws("_draw_symmetric", 10, 1000)
    assert 0.1 <= min(factors) < 0.15
    assert 9.5 < max(factors) <= 10
    assert abs(sum(factor > 1 for factor in factors) - 500) < 60


def test_original_factors_are_those_of_autoaugment() -> None:
    factors = draws("_draw_original", 10)
    assert 0.1 <= min(factors) < 0.2
    assert 1.8 < max(factors) <= 1.9


def test_sets_have_the_operations_of_the_papers() -> None:
    sizes = {name: len(functions) for name, functions in primitives.augmentation_sets.items()}
    assert sizes == {"safe": 9, "all": 13, "original": 13}


@pytest.mark.parametrize("function", primitives.augmentation_sets["all"])
def test_images_keep_their_mode_and_size(function: Any) -> None:
    for mode in ("L", "RGB"):
        changed = function(ramp().convert(mode), 10)
        assert (changed.mode, changed.size) == (mode, (32, 24))


def test_posterize_drops_four_bits_at_most() -> None:
    values = {value for _ in range(50) for value in primitives.posterize(ramp(), 10).tobytes()}
    fewest = min(len(set(primitives.posterize(ramp(), 10).tobytes())) for _ in range(100))
    assert fewest == 32
    assert values <= set(range(0, 256, 8))


def test_translations_move_a_third_at_most_to_both_sides() -> None:
    torch.manual_seed(0)
    image = Image.new("L", (30, 30), 255)
    black = [primitives.translate_x(image, 10).tobytes()[:30].count(0) for _ in range(100)]
    assert 8 <= max(black) <= 10
    starts = {primitives.translate_x(image, 10).tobytes()[0] for _ in range(50)}
    assert starts == {0, 255}


def test_nothing_but_images_is_converted() -> None:
    with pytest.raises(ArgumentTypeError, match="cannot make a Tensor of a list"):
        image_as_type([1], torch.Tensor)
    with pytest.raises(DataError, match=r"\(1, H, W\) or \(3, H, W\)"):
        image_as_type(torch.rand(2, 4, 4), Image.Image)


def test_a_function_on_images_is_mapped_over_batches() -> None:
    batch = torch.randint(256, (2, 3, 3, 4, 5)).to(torch.uint8)
    flipped = map_pillow_function(lambda x: x.transpose(Image.Transpose.FLIP_LEFT_RIGHT), batch)
    assert torch.equal(flipped, batch.flip(-1))
