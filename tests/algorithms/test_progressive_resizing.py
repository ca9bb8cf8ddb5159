import pytest
import torch
import torch.nn.functional as F

from composer.algorithms.progressive_resizing import ProgressiveResizing, resize_batch
from composer.core.event import Event
from composer.core.time import Timestamp
from composer.errors import ConfigError, DataError
from tests.algorithms._runs import HandRun

LABELS = torch.tensor([0, 1])


def numbered(height: int, width: int) -> torch.Tensor:
    """Two one-channel images whose pixels are numbered."""
    return torch.arange(2 * height * width, dtype=torch.float32).reshape(2, 1, height, width)


def test_resizing_takes_the_nearest_pixels() -> None:
    images, labels = resize_batch(numbered(4, 4), LABELS, 0.5)
    assert torch.equal(images[0, 0], torch.tensor([[0.0, 2.0], [8.0, 10.0]]))
    assert labels is LABELS


def test_resizing_equals_torch() -> None:
    x = torch.rand(2, 3, 11, 7)
    expected = F.interpolate(x, size=(8, 5), mode="nearest")
    assert torch.equal(resize_batch(x, LABELS, 0.72)[0], expected)


def test_areas_give_the_mean_of_the_pixels_they_cover() -> None:
    x = torch.tensor([[[[0.0, 2.0, 4.0, 6.0], [2.0, 4.0, 6.0, 8.0]]]]).expand(1, 3, 2, 4)
    images, _ = resize_batch(x.contiguous(), LABELS, 0.5, mode="area")
    assert images.tolist() == [[[[2.0, 6.0]]] * 3]
    # Bytes are rounded: 0.5 -> 0, 1.5 -> 2, as round() does.
    bytes_ = torch.tensor([[[[0, 1, 1, 2], [0, 1, 1, 2]]]], dtype=torch.uint8)
    images, masks = resize_batch(bytes_, bytes_, 0.5, mode="area", resize_targets=True)
    assert images.tolist() == [[[[0, 2]]]]
    assert masks.tolist() == [[[[0, 1]]]]  # of targets the nearest


@pytest.mark.parametrize(("height", "width"), [(32, 32), (11, 7), (65, 40)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_means_of_areas_equal_torch(
    height: int, width: int, memory_format: torch.memory_format
) -> None:
    x = torch.rand(4, 3, height, width).contiguous(memory_format=memory_format)
    expected = F.interpolate(x, size=(round(0.62 * height), round(0.62 * width)), mode="area")
    with torch.autocast("cpu", torch.bfloat16):
        means, _ = resize_batch(x, LABELS, 0.62, mode="area")
    torch.testing.assert_close(means, expected, rtol=0, atol=5e-7)
    assert means.is_contiguous(memory_format=memory_format)


def test_cropping_cuts_one_window_for_all_images() -> None:
    torch.manual_seed(0)
    x = numbered(6, 6)
    images, _ = resize_batch(x, LABELS, 0.5, mode="crop")
    top, left = divmod(int(images[0, 0, 0, 0]), 6)
    assert torch.equal(images, x[:, :, top : top + 3, left : left + 3])
    assert images.is_contiguous()


def test_crops_reach_every_corner() -> None:
    corners = {
        int(resize_batch(numbered(3, 3), LABELS, 0.67, mode="crop")[0][0, 0, 0, 0])
        for _ in range(200)
    }
    assert corners == {0, 1, 3, 4}


@pytest.mark.parametrize("mode", ["resize", "crop"])
def test_masks_are_treated_like_their_images(mode: str) -> None:
    x = numbered(8, 8)
    for mask in (x[:, 0].long(), x.long(), x[:, 0].to(torch.uint8)):
        images, masks = resize_batch(x, mask, 0.5, mode=mode, resize_targets=True)
        assert masks.dtype is mask.dtype
        assert torch.equal(masks.reshape(2, 4, 4), images[:, 0].to(mask.dtype))


@pytest.mark.parametrize("mode", ["resize", "area", "crop"])
def test_channels_last_images_stay_channels_last(mode: str) -> None:
    x = torch.rand(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    images, _ = resize_batch(x, LABELS, 0.5, mode=mode)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_full_size_returns_the_batch_itself() -> None:
    x = torch.rand(2, 3, 8, 8)
    assert resize_batch(x, LABELS, 1.0)[0] is x


def test_random_windows_come_from_torchs_cpu_generator() -> None:
    windows = []
    for _ in range(2):
        torch.manual_seed(3)
        windows.append(resize_batch(numbered(9, 9), LABELS, 0.5, mode="crop")[0])
    assert torch.equal(*windows)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"scale_factor": 0.0}, ConfigError),
        ({"scale_factor": 1.5}, ConfigError),
        ({"scale_factor": 0.5, "mode": "zoom"}, ConfigError),
        ({"scale_factor": 0.5, "resize_targets": True}, DataError),
    ],
)
def test_bad_arguments_are_refused(arguments: dict, error: type) -> None:
    with pytest.raises(error):
        resize_batch(torch.rand(2, 3, 8, 8), LABELS, **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"mode": "resise"},
        {"initial_scale": 0},
        {"finetune_fraction": 1.1},
        {"delay_fraction": -0.1},
        {"delay_fraction": 0.7, "finetune_fraction": 0.4},
        {"size_increment": 0},
    ],
)
def test_bad_arguments_are_refused_when_made(arguments: dict) -> None:
    with pytest.raises(ConfigError):
        ProgressiveResizing(**arguments)


@pytest.mark.parametrize(
    ("elapsed", "scale"),
    [(0.0, 0.5), (0.3, 0.5), (0.5, 0.5), (0.65, 0.75), (0.8, 1.0), (1.0, 1.0)],
)
def test_the_scale_waits_then_grows_linearly(elapsed: float, scale: float) -> None:
    # Linear between the end of the delay and the beginning of fine-tuning:
    # scale = initial + (1 - initial) * (elapsed - delay) / (1 - delay - finetune).
    assert ProgressiveResizing().scale_at(elapsed) == pytest.approx(scale)


def test_without_fractions_the_scale_grows_from_start_to_end() -> None:
    method = ProgressiveResizing(initial_scale=0.2, delay_fraction=0.0, finetune_fraction=0.0)
    assert [method.scale_at(t) for t in (0.0, 0.5, 1.0)] == pytest.approx([0.2, 0.6, 1.0])


def sizes(method: ProgressiveResizing, height: int, width: int, num_batches: int = 20) -> list:
    run = HandRun(method, max_duration=f"{num_batches}ba")
    found = []
    for batch in range(num_batches):
        run.state.timestamp = Timestamp(batch=batch)
        run.state.batch = torch.rand(2, 3, height, width), LABELS
        run.run(Event.AFTER_DATALOADER)
        found.append(tuple(run.state.batch[0].shape[-2:]))
    return found


def test_sides_are_multiples_of_the_increment_until_they_are_full() -> None:
    found = sizes(ProgressiveResizing(size_increment=8), 36, 50)
    assert found[0] == (16, 24)
    assert found[-1] == (36, 50)
    assert all(h % 8 == 0 or h == 36 for h, _ in found)
    assert all(w % 8 == 0 or w == 50 for _, w in found)


def test_sizes_only_grow_and_are_few() -> None:
    found = sizes(ProgressiveResizing(delay_fraction=0.0, size_increment=8), 32, 32, 100)
    assert found == sorted(found)
    assert set(found) == {(16, 16), (24, 24), (32, 32)}


def test_a_tiny_image_keeps_at_least_one_increment_or_its_size() -> None:
    found = sizes(ProgressiveResizing(initial_scale=0.1, size_increment=4), 3, 12)
    assert found[0] == (3, 4)


def test_what_is_logged_are_pixels_and_scale() -> None:
    run = HandRun(ProgressiveResizing())
    run.state.batch = torch.rand(2, 3, 16, 32), LABELS
    run.run(Event.AFTER_DATALOADER)
    run.logger.flush()
    assert run.memory.metrics == [
        {
            "progressive_resizing/height": 8,
            "progressive_resizing/width": 16,
            "progressive_resizing/scale_factor": 0.5,
        }
    ]


def test_targets_are_resized_when_asked() -> None:
    run = HandRun(ProgressiveResizing(resize_targets=True, input_key="x", target_key="y"))
    run.state.batch = {"x": torch.rand(2, 3, 16, 16), "y": torch.zeros(2, 16, 16)}
    run.run(Event.AFTER_DATALOADER)
    assert run.state.batch["x"].shape == (2, 3, 8, 8)
    assert run.state.batch["y"].shape == (2, 8, 8)


def test_it_can_be_applied_without_a_logger() -> None:
    run = HandRun([])
    run.state.batch = torch.rand(2, 3, 16, 16), LABELS
    ProgressiveResizing().apply(Event.AFTER_DATALOADER, run.state)
    assert run.state.batch[0].shape == (2, 3, 8, 8)
