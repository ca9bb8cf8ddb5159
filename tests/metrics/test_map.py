"""Mean average precision: the metric around the COCO evaluation."""

import pytest
import torch

from composer.errors import DataError
from composer.metrics.map import MAP
from tests.metrics.detection_data import Image, make_images

# Computed once with pycocotools 2.0.11 for (seed, tied, num_noise) of the generator. The last has
# images with more than 100 detections of a class.
RECORDED = {
    (0, False, 5): {
        "map": 0.2156778,
        "map_50": 0.3765764,
        "map_75": 0.1851661,
        "map_small": 0.1705845,
        "map_medium": 0.2520218,
        "map_large": 0.4842024,
        "mar_1": 0.1311803,
        "mar_10": 0.448526,
        "mar_100": 0.448526,
        "mar_small": 0.3803297,
        "mar_medium": 0.4834967,
        "mar_large": 0.5861111,
        "map_per_class": [0.3011246, 0.1524336, 0.1934751],
        "mar_100_per_class": [0.54, 0.3676471, 0.437931],
    },
    (1, True, 5): {
        "map": 0.2461176,
        "map_50": 0.3669432,
        "map_75": 0.2900029,
        "map_small": 0.2763931,
        "map_medium": 0.2596682,
        "map_large": 0.2816465,
        "mar_1": 0.2156897,
        "mar_10": 0.5141256,
        "mar_100": 0.5141256,
        "mar_small": 0.5733333,
        "mar_medium": 0.4619048,
        "mar_large": 0.4588889,
        "map_per_class": [0.1469166, 0.2791674, 0.3122689],
        "mar_100_per_class": [0.4321429, 0.5657895, 0.5444444],
    },
    (2, False, 450): {
        "map": 0.0116597,
        "map_50": 0.0215096,
        "map_75": 0.01122,
        "map_small": 0.0175505,
        "map_medium": 0.0116562,
        "map_large": 0.0088864,
        "mar_1": 0.0304814,
        "mar_10": 0.1716101,
        "mar_100": 0.4685187,
        "mar_small": 0.5004945,
        "mar_medium": 0.463,
        "mar_large": 0.3888889,
        "map_per_class": [0.0074673, 0.0157223, 0.0117895],
        "mar_100_per_class": [0.4060606, 0.5482759, 0.4512195],
    },
}


def tensors(image: Image) -> dict[str, torch.Tensor]:
    result = {
        "boxes": torch.tensor(image["boxes"]).reshape(-1, 4),
        "labels": torch.tensor(image["labels"], dtype=torch.int64),
    }
    if "scores" in image:
        result["scores"] = torch.tensor(image["scores"])
    return result


def updated(metric: MAP, images: tuple[list[Image], list[Image]], batch_size: int = 7) -> MAP:
    detections, truths = images
    for start in range(0, len(truths), batch_size):
        batch = slice(start, start + batch_size)
        metric.update(list(map(tensors, detections[batch])), list(map(tensors, truths[batch])))
    return metric


def one_box(x: float = 0.0, label: int = 0) -> Image:
    return {"boxes": [[x, 0.0, x + 10.0, 10.0]], "labels": [label], "scores": [0.5]}


NO_BOX: Image = {"boxes": [], "labels": [], "scores": []}


@pytest.mark.parametrize("arguments", RECORDED)
def test_random_data_gives_the_recorded_numbers(arguments):
    values = updated(MAP(class_metrics=True), make_images(*arguments)).compute()
    for name, expected in RECORDED[arguments].items():
        torch.testing.assert_close(values[name], torch.tensor(expected), atol=2e-7, rtol=0)


def test_the_size_of_batches_does_not_matter():
    images = make_images(0, False, 5)
    first = updated(MAP(), images, batch_size=1).compute()
    assert first == updated(MAP(), images, batch_size=20).compute()


def test_all_values_are_scalars_without_class_metrics():
    values = updated(MAP(), make_images(0, False, 5)).compute()
    assert all(value.shape == () for value in values.values())
    assert values["map_per_class"] == -1
    assert values["mar_100_per_class"] == -1


def test_class_metrics_name_their_classes():
    metric = updated(MAP(class_metrics=True), ([one_box(label=9)], [one_box(label=4)]))
    values = metric.compute()
    assert values["classes"].tolist() == [4, 9]
    assert values["map_per_class"].tolist() == [0, -1]


def test_images_without_boxes_are_accepted():
    values = updated(MAP(), ([NO_BOX, one_box(), NO_BOX], [NO_BOX, one_box(), one_box()])).compute()
    assert values["mar_100"] == 0.5


def test_nothing_at_all_gives_minus_one():
    with pytest.warns(UserWarning, match="before the ``update``"):
        assert MAP().compute()["map"] == -1


def test_an_empty_batch_changes_nothing():
    metric = MAP()
    metric.update([], [])
    assert metric.compute()["map"] == -1


def test_different_numbers_of_images_are_refused():
    with pytest.raises(DataError, match="1 images and targets for 2"):
        MAP().update([tensors(one_box())], [tensors(one_box())] * 2)


def test_a_missing_key_is_named():
    image = tensors(one_box())
    without_scores = {key: image[key] for key in ("boxes", "labels")}
    with pytest.raises(DataError, match=r"preds\[0\] lacks \['scores'\]"):
        MAP().update([without_scores], [image])


def test_boxes_of_a_wrong_shape_are_refused():
    image = tensors(one_box())
    with pytest.raises(DataError, match=r"target\[0\]\['boxes'\] has shape \(1, 5\)"):
        MAP().update([image], [image | {"boxes": torch.zeros(1, 5)}])


@pytest.mark.parametrize("key", ["labels", "scores"])
def test_sizes_that_do_not_agree_are_refused(key):
    image = tensors(one_box())
    with pytest.raises(DataError, match="one row per box"):
        MAP().update([image | {key: torch.zeros(2)}], [image])


def test_nothing_is_read_back_from_the_device_before_the_end():
    metric = MAP()
    image = {key: value.to("meta") for key, value in tensors(one_box()).items()}
    metric.update([image], [image])
    assert metric.detections[0].shape == (6,)
