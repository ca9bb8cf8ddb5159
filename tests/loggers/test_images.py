from __future__ import annotations

import numpy as np
import pytest
import torch

from composer.loggers._images import to_arrays, to_arrays_and_masks, to_grey


@pytest.mark.parametrize(
    ("images", "channels_last", "shapes"),
    [
        (torch.zeros(4, 6), False, [(4, 6, 1)]),
        (torch.zeros(3, 4, 6), False, [(4, 6, 3)]),
        (np.zeros((4, 6, 3)), True, [(4, 6, 3)]),
        (torch.zeros(2, 1, 4, 6), False, [(4, 6, 1)] * 2),
        ([torch.zeros(3, 4, 6), torch.zeros(3, 5, 5)], False, [(4, 6, 3), (5, 5, 3)]),
    ],
)
def test_every_form_of_images_becomes_height_width_channels(
    images: object, channels_last: bool, shapes: list[tuple[int, ...]]
) -> None:
    arrays = to_arrays(images, channels_last)
    assert [array.shape for array in arrays] == shapes
    assert {array.dtype for array in arrays} == {np.dtype(np.uint8)}


def test_numbers_become_bytes_and_others_are_stretched() -> None:
    def first(values: list[float], dtype: torch.dtype = torch.float32) -> list[int]:
        return to_arrays(torch.tensor([values], dtype=dtype), False)[0].flatten().tolist()

    assert first([0.0, 0.5, 1.0]) == [0, 128, 255]
    assert first([-1.0, 0.0, 1.0]) == [0, 128, 255]
    assert first([0.0, 0.5, 1.0], torch.bfloat16) == [0, 128, 255]
    assert first([0, 7, 255], torch.int64) == [0, 7, 255]
    assert first([0, 7, 200], torch.uint8) == [0, 7, 200]
    assert first([float("nan"), 0.0, 1.0]) == [0, 0, 255]


def test_wrong_shapes_are_refused_with_what_is_right() -> None:
    with pytest.raises(ValueError, match=r"on the first axis, got \(5, 4, 4\)"):
        to_arrays(torch.zeros(5, 4, 4), False)
    with pytest.raises(ValueError, match="not str"):
        to_arrays("picture", False)
    with pytest.raises(ValueError, match="2 masks 'm' for 1 images"):
        to_arrays_and_masks(torch.zeros(1, 4, 4), False, {"m": torch.zeros(2, 4, 4)})
    with pytest.raises(ValueError, match=r"'m' has shape \(3, 3\), its image \(4, 4\)"):
        to_arrays_and_masks(torch.zeros(1, 4, 4), False, {"m": torch.zeros(3, 3)})


def test_masks_are_classes_and_grey() -> None:
    masks = {"m": torch.tensor([[[0, 2], [1, 0]]])}
    _, found = to_arrays_and_masks(torch.zeros(1, 2, 2), False, masks)
    assert found["m"][0].tolist() == [[0, 2], [1, 0]]
    assert to_grey(found["m"][0]).tolist() == [[0, 254], [127, 0]]
