"""The COCO evaluation, against numbers of the reference implementation and by hand."""

import numpy as np
import pytest

from composer.metrics.coco import AREA_RANGES, IOU_THRESHOLDS, Boxes, evaluate

AREAS = list(AREA_RANGES)


def boxes(*rows: tuple[int, int, float, tuple[float, float, float, float]]) -> Boxes:
    """Make boxes from (image, label, score, corners)."""
    images, labels, scores, corners = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Boxes(
        np.array(images, dtype=np.int64),
        np.array(labels, dtype=np.int64),
        np.array(corners, dtype=np.float64).reshape(-1, 4),
        np.array(scores, dtype=np.float64),
    )


def square(x: float, size: float = 10.0) -> tuple[float, float, float, float]:
    return (x, 0.0, x + size, size)


def precision(detections: Boxes, truths: Boxes, area: str = "all") -> np.ndarray:
    """Precision at each threshold, of data with one class."""
    result = evaluate(detections, truths)
    assert len(result.classes) == 1
    return result.precision[0, AREAS.index(area)]


def recall(detections: Boxes, truths: Boxes, limit: int = -1, area: str = "all") -> np.ndarray:
    return evaluate(detections, truths).recall[0, AREAS.index(area), limit]


def test_a_perfect_detection_has_precision_and_recall_one():
    truths = boxes((0, 3, 0.0, square(0)))
    detections = boxes((0, 3, 0.5, square(0)))
    assert precision(detections, truths) == pytest.approx(1)
    assert recall(detections, truths) == pytest.approx(1)


def test_a_detection_counts_up_to_the_threshold_it_reaches():
    # Overlap 8 x 10 of 12 x 10: intersection over union is 2/3.
    truths, detections = boxes((0, 0, 0.0, square(0))), boxes((0, 0, 0.5, square(2)))
    assert precision(detections, truths) == pytest.approx((IOU_THRESHOLDS < 2 / 3).astype(float))


def test_an_overlap_of_exactly_the_threshold_counts():
    truths = boxes((0, 0, 0.0, (0, 0, 10, 10)))
    detections = boxes((0, 0, 0.5, (0, 0, 5, 10)))
    assert recall(detections, truths)[0] == 1


def test_a_miss_before_a_hit_halves_the_precision():
    truths = boxes((0, 0, 0.0, square(0)))
    detections = boxes((0, 0, 0.9, square(50)), (0, 0, 0.5, square(0)))
    assert precision(detections, truths) == pytest.approx(0.5)


def test_a_miss_after_the_last_hit_costs_nothing():
    truths = boxes((0, 0, 0.0, square(0)))
    detections = boxes((0, 0, 0.9, square(0)), (0, 0, 0.5, square(50)))
    assert precision(detections, truths) == pytest.approx(1)


def test_a_box_is_found_only_once():
    truths = boxes((0, 0, 0.0, square(0)), (0, 0, 0.0, square(50)))
    detections = boxes((0, 0, 0.9, square(0)), (0, 0, 0.8, square(0)), (0, 0, 0.7, square(50)))
    # Hit, miss, hit: precision 1 up to recall 1/2 (51 of 101 points), then 2/3.
    assert precision(detections, truths) == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)


def test_half_of_the_boxes_found_fills_half_of_the_recall_points():
    truths = boxes((0, 0, 0.0, square(0)), (0, 0, 0.0, square(50)))
    detections = boxes((0, 0, 0.9, square(0)))
    assert precision(detections, truths) == pytest.approx(51 / 101)
    assert recall(detections, truths) == pytest.approx(0.5)


def test_boxes_of_another_image_are_not_found():
    assert recall(boxes((1, 0, 0.9, square(0))), boxes((0, 0, 0.0, square(0)))) == pytest.approx(0)


def test_boxes_of_another_class_are_not_found():
    result = evaluate(boxes((0, 1, 0.9, square(0))), boxes((0, 0, 0.0, square(0))))
    assert result.classes.tolist() == [0, 1]
    assert result.recall[0, 0] == pytest.approx(0)
    assert result.recall[1, 0] == pytest.approx(-1)  # no ground truth of this class


def test_a_detection_takes_the_box_it_overlaps_most():
    truths = boxes((0, 0, 0.0, square(0)), (0, 0, 0.0, square(2)))
    detections = boxes((0, 0, 0.9, square(2)), (0, 0, 0.8, square(0)))
    assert recall(detections, truths) == pytest.approx(1)


def test_the_detection_limit_is_per_image():
    truths = boxes(*[(image, 0, 0.0, square(x)) for image in (0, 1) for x in (0, 50)])
    detections = boxes(*[(image, 0, 0.9, square(x)) for image in (0, 1) for x in (0, 50)])
    assert recall(detections, truths, limit=0) == pytest.approx(0.5)
    assert recall(detections, truths, limit=1) == pytest.approx(1)


def test_only_the_best_hundred_detections_of_an_image_count():
    truths = boxes((0, 0, 0.0, square(0)))
    misses = [(0, 0, 0.9, square(1000 + 20 * number)) for number in range(100)]
    assert recall(boxes(*misses[:99], (0, 0, 0.1, square(0))), truths) == pytest.approx(1)
    assert recall(boxes(*misses, (0, 0, 0.1, square(0))), truths) == pytest.approx(0)


def test_boxes_outside_an_area_range_are_neither_right_nor_wrong():
    small, large = square(0, 10), square(200, 100)
    truths = boxes((0, 0, 0.0, small), (0, 0, 0.0, large))
    detections = boxes((0, 0, 0.9, large), (0, 0, 0.8, square(500, 100)), (0, 0, 0.7, small))
    assert precision(detections, truths, "small") == pytest.approx(1)
    assert precision(detections, truths, "medium") == pytest.approx(-1)
    assert precision(detections, truths, "large") == pytest.approx(1)
    assert precision(detections, truths, "all") == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)


def test_a_box_inside_the_area_range_is_preferred_to_a_better_one_outside():
    inside, outside = (0, 0, 32, 32), (0, 0, 33, 33)
    truths = boxes((0, 0, 0.0, outside), (0, 0, 0.0, inside))
    detections = boxes((0, 0, 0.9, outside))
    assert recall(detections, truths, area="small")[0] == 1


def test_boxes_without_area_overlap_nothing():
    point = (5, 5, 5, 5)
    assert recall(boxes((0, 0, 0.9, point)), boxes((0, 0, 0.0, point))) == pytest.approx(0)


def test_no_detections_give_zero():
    assert precision(boxes(), boxes((0, 0, 0.0, square(0)))) == pytest.approx(0)


def test_no_boxes_at_all_give_no_classes():
    result = evaluate(boxes(), boxes())
    assert result.classes.shape == (0,)
    assert result.precision.shape == (0, 4, 10)
    assert result.recall.shape == (0, 4, 3, 10)
