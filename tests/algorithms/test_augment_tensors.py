"""Operations on batches equal those of Pillow on single images."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from composer.algorithms import _augment_tensors as ops
from composer.algorithms.utils.augmentation_common import image_as_type, map_pillow_function

Image = pytest.importorskip("PIL.Image")
ImageEnhance = pytest.importorskip("PIL.ImageEnhance")
ImageOps = pytest.importorskip("PIL.ImageOps")

NUM_IMAGES = 3


def batch() -> Tensor:
    """Three images in 256 steps: an even one, a dark one, one with few values."""
    generator = torch.Generator().manual_seed(2)
    steps = torch.rand(NUM_IMAGES, 3, 24, 32, generator=generator)
    steps[1] *= 0.3
    steps[2] = (steps[2] * 3).floor() / 3
    return (steps * 255).round() / 255


def each(*values: float) -> Tensor:
    return torch.tensor(values).reshape(-1, 1, 1, 1)


def by_pillow(functions: list[Callable[[Any], Any]]) -> Tensor:
    return torch.stack([map_pillow_function(f, x) for f, x in zip(functions, batch(), strict=True)])


def steps(images: Tensor) -> Tensor:
    return (images * 255).round()


def test_autocontrast_equals_pillow() -> None:
    expected = by_pillow([ImageOps.autocontrast] * 3)
    # Pillow rounds down.
    assert (steps(ops.autocontrast(batch())) - steps(expected)).abs().max() <= 1


def test_a_channel_of_one_value_keeps_it() -> None:
    plain = torch.full((1, 3, 4, 4), 0.25)
    assert torch.equal(ops.autocontrast(plain), plain)
    torch.testing.assert_close(steps(ops.equalize(plain)), steps(plain))


def test_equalize_equals_pillow() -> None:
    expected = by_pillow([ImageOps.equalize] * 3)
    assert torch.equal(steps(ops.equalize(batch())), steps(expected))


def test_posterize_equals_pillow() -> None:
    expected = by_pillow([lambda x, b=b: ImageOps.posterize(x, 8 - b) for b in (0, 2, 4)])
    assert torch.equal(steps(ops.posterize(batch(), each(0.9, 2.0, 4.0))), steps(expected))


def test_solarize_equals_pillow() -> None:
    thresholds = (0, 100, 256)
    expected = by_pillow([lambda x, t=t: ImageOps.solarize(x, t) for t in thresholds])
    assert torch.equal(steps(ops.solarize(batch(), each(*thresholds))), steps(expected))


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("Color", ops.color),
        ("Contrast", ops.contrast),
        ("Brightness", ops.brightness),
        ("Sharpness", ops.sharpness),
    ],
)
def test_enhancements_equal_pillow(
    name: str, operation: Callable[[Tensor, Tensor], Tensor]
) -> None:
    factors = (0.1, 0.8, 1.9)
    expected = by_pillow(
        [lambda x, f=f: getattr(ImageEnhance, name)(x).enhance(f) for f in factors]
    )
    # Pillow rounds greys and means to whole steps, and blends down.
    assert (steps(operation(batch(), each(*factors))) - steps(expected)).abs().max() <= 2


def smooth_batch() -> Tensor:
    """Images whose neighbours differ little, so that interpolation can be compared."""
    x = torch.linspace(0, 3, 32).reshape(1, 1, 1, 32)
    y = torch.linspace(0, 2, 24).reshape(1, 1, 24, 1)
    phase = torch.arange(9.0).reshape(3, 3, 1, 1)
    return (torch.sin(x + phase) * torch.cos(y + phase) + 1) / 2


def inside(images: Tensor) -> Tensor:
    return images[..., 8:-8, 10:-10]


def test_rotations_equal_pillow() -> None:
    angles = (-30.0, 0.0, 20.0)
    turned = ops.rotate(smooth_batch(), each(*angles))
    bilinear = Image.Resampling.BILINEAR
    for image, plain, angle in zip(turned, smooth_batch(), angles, strict=True):
        expected = map_pillow_function(lambda x, a=angle: x.rotate(a, resample=bilinear), plain)
        assert (inside(image) - inside(expected)).abs().max() < 0.01


@pytest.mark.parametrize(
    "matrix",
    [(1, 0.3, 0, 0, 1, 0), (1, 0, 0, -0.2, 1, 0), (1, 0, 4.5, 0, 1, 0), (1, 0, 0, 0, 1, -3)],
)
def test_shears_and_shifts_equal_pillow(matrix: tuple[float, ...]) -> None:
    moved = ops.affine(smooth_batch(), matrix)

    def by_pil(image: Any) -> Any:
        kind, bilinear = Image.Transform.AFFINE, Image.Resampling.BILINEAR
        return image.transform(image.size, kind, matrix, resample=bilinear)

    for image, plain in zip(moved, smooth_batch(), strict=True):
        expected = map_pillow_function(by_pil, plain)
        assert (inside(image) - inside(expected)).abs().max() < 0.01


@pytest.mark.parametrize("name", ops.OPERATIONS)
@pytest.mark.parametrize("severity", [0, 10])
def test_every_operation_keeps_shape_and_range(name: str, severity: int) -> None:
    for images in (batch(), torch.rand(2, 1, 5, 6)):
        changed = ops.OPERATIONS[name](images, severity)
        assert changed.shape == images.shape
        assert changed.min() >= 0
        assert changed.max() <= 1


@pytest.mark.parametrize(
    "name", ["posterize", "rotate", "solarize", "shear_x", "translate_y", "color", "sharpness"]
)
def test_no_severity_changes_nothing(name: str) -> None:
    torch.testing.assert_close(ops.OPERATIONS[name](batch(), 0), batch(), atol=1e-4, rtol=0)


def test_only_the_first_images_are_changed_each_by_one_operation() -> None:
    torch.manual_seed(0)
    images = torch.zeros(900, 1, 1, 1)
    add = [lambda x, severity, step=step: x + step for step in (1, 2, 3)]
    changed = ops.augment_first(images, 600, add, 5).flatten().long()
    counts = torch.bincount(changed[:600], minlength=4)
    assert counts[0] == 0
    assert (counts[1:] - 200).abs().max() < 60
    assert (changed[600:] == 0).all()


def test_images_go_to_pillow_and_back() -> None:
    for channels in (1, 3):
        tensor = torch.randint(256, (channels, 5, 7)).float() / 255
        image = image_as_type(tensor, Image.Image)
        assert image.size == (7, 5)
        torch.testing.assert_close(image_as_type(image, Tensor), tensor)
