"""The COCO evaluation of object detectors, in NumPy.

Detections are matched to ground truth one class and one image at a time, best score first, at ten
thresholds of intersection over union and for four ranges of object size at once. This file knows
arrays only; :class:`composer.metrics.map.MAP` collects the boxes and names the results.

Source: Lin et al. 2014, Microsoft COCO (arXiv 1405.0312), and the evaluation rules on
https://cocodataset.org/#detection-eval. There are no crowd regions here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["AREA_RANGES", "IOU_THRESHOLDS", "MAX_DETECTIONS", "Boxes", "CocoResult", "evaluate"]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

IOU_THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
RECALL_POINTS: Floats = np.linspace(0.0, 1.0, 101)
MAX_DETECTIONS = (1, 10, 100)
# In square pixels, both ends included.
AREA_RANGES = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
_AREA_LIMITS: Floats = np.array(list(AREA_RANGES.values()))
# Two boxes that are equal up to rounding overlap fully.
_MATCH_THRESHOLDS: Floats = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes of a data set, B of them.

    Attributes:
        images: number of the image each box is in, shape (B).
        labels: class of each box, shape (B).
        corners: x_min, y_min, x_max, y_max in pixels, shape (B, 4).
        scores: confidence of each box, shape (B); not used for ground truth.
    """

    images: Ints
    labels: Ints
    corners: Floats
    scores: Floats

    def select(self, index: NDArray[np.bool_] | Ints) -> Boxes:
        """Return the boxes that a mask or an array of positions picks."""
        return Boxes(
            self.images[index], self.labels[index], self.corners[index], self.scores[index]
        )

    def outside_ranges(self) -> Bools:
        """Tell which boxes each area range leaves out, shape (A, B)."""
        areas = _areas(self.corners)
        return (areas < _AREA_LIMITS[:, :1]) | (areas > _AREA_LIMITS[:, 1:])


@dataclass(frozen=True, slots=True)
class CocoResult:
    """Precision and recall of K classes, A area ranges, T thresholds, M detection limits.

    Where a class has no ground truth in an area range, all values are -1.

    Attributes:
        classes: the labels that occur, in increasing order, shape (K).
        precision: mean over the 101 recall points with up to 100 detections, shape (K, A, T).
        recall: highest recall reached, shape (K, A, M, T).
    """

    classes: Ints
    precision: Floats
    recall: Floats


def evaluate(detections: Boxes, truths: Boxes) -> CocoResult:
    """Evaluate the detections of a data set against its ground truth."""
    classes = np.unique(np.concatenate([detections.labels, truths.labels]))
    num_areas, num_thresholds = len(AREA_RANGES), len(IOU_THRESHOLDS)
    precision = np.full((len(classes), num_areas, num_thresholds), -1.0)
    recall = np.full((len(classes), num_areas, len(MAX_DETECTIONS), num_thresholds), -1.0)
    for position, label in enumerate(classes):
        precision[position], recall[position] = _evaluate_class(
            detections.select(detections.labels == label), truths.select(truths.labels == label)
        )
    return CocoResult(classes, precision, recall)


def _evaluate_class(detections: Boxes, truths: Boxes) -> tuple[Floats, Floats]:
    """Return the precision (A, T) and the recall (A, M, T) of one class."""
    detections, ranks = _best_per_image(detections)
    truths = truths.select(np.argsort(truths.images, kind="stable"))
    truths_outside = truths.outside_ranges()
    matched, ignored = _match(detections, truths, truths_outside)
    ignored |= ~matched & detections.outside_ranges()[:, None]

    by_score = np.argsort(-detections.scores, kind="stable")
    hits, misses = (matched & ~ignored)[..., by_score], (~matched & ~ignored)[..., by_score]
    num_truths = (~truths_outside).sum(axis=1)
    precision = np.full(hits.shape[:2], -1.0)
    recall = np.full((len(hits), len(MAX_DETECTIONS), hits.shape[1]), -1.0)
    for area in np.flatnonzero(num_truths):
        precision[area] = _mean_precision(hits[area], misses[area], num_truths[area])
        for position, limit in enumerate(MAX_DETECTIONS):
            found = hits[area][:, ranks[by_score] < limit].sum(axis=1)
            recall[area, position] = found / num_truths[area]
    return precision, recall


def _best_per_image(detections: Boxes) -> tuple[Boxes, Ints]:
    """Sort by image, then by falling score, and keep the best; also return ranks in the image."""
    detections = detections.select(np.lexsort((-detections.scores, detections.images)))
    ranks = _positions_in_runs(detections.images)
    keep = ranks < MAX_DETECTIONS[-1]
    return detections.select(keep), ranks[keep]


def _positions_in_runs(values: Ints) -> Ints:
    """Number the elements of each run of equal values from 0; values are sorted."""
    return np.arange(len(values)) - np.searchsorted(values, values, side="left")


def _match(detections: Boxes, truths: Boxes, truths_outside: Bools) -> tuple[Bools, Bools]:
    """Match the detections of one class to its ground truth, image by image.

    Returns:
        Two masks of shape (A, T, D): which detections found a box, and which found a box that the
        area range leaves out, so that they count neither as right nor as wrong.
    """
    shape = len(AREA_RANGES), len(IOU_THRESHOLDS), len(detections.images)
    matched, ignored = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    for mine, theirs in _shared_images(detections.images, truths.images):
        overlaps = _overlaps(detections.corners[mine], truths.corners[theirs])
        _match_image(overlaps, truths_outside[:, theirs], matched[..., mine], ignored[..., mine])
    return matched, ignored


def _shared_images(first: Ints, second: Ints) -> Iterator[tuple[slice, slice]]:
    """Yield the range of positions of each image that both sorted arrays name."""
    images = np.intersect1d(first, second)
    bounds = [
        np.searchsorted(values, images, side=side)
        for values in (first, second)
        for side in ("left", "right")
    ]
    for first_start, first_end, second_start, second_end in np.stack(bounds, axis=1).tolist():
        yield slice(first_start, first_end), slice(second_start, second_end)


def _match_image(overlaps: Floats, outside: Bools, matched: Bools, ignored: Bools) -> None:
    """Match the detections of one image, best score first, writing into two masks.

    A detection takes the free box it overlaps most, the later one of two equal ones. Boxes that
    the area range leaves out are taken only where no other box overlaps enough.

    Args:
        overlaps: intersection over union, shape (D, G).
        outside: boxes that each area range leaves out, shape (A, G).
        matched: detections that found a box, shape (A, T, D).
        ignored: detections that found a box that is left out, shape (A, T, D).
    """
    num_boxes = overlaps.shape[1]
    free = np.ones((*matched.shape[:2], num_boxes), dtype=bool)
    inside = ~outside[:, None]
    areas, thresholds = np.ogrid[: matched.shape[0], : matched.shape[1]]
    for detection in np.flatnonzero(overlaps.max(axis=1) >= _MATCH_THRESHOLDS[0]):
        overlap = overlaps[detection]
        fits = free & (overlap >= _MATCH_THRESHOLDS[:, None])
        fits_inside = fits & inside
        fits = np.where(fits_inside.any(axis=-1, keepdims=True), fits_inside, fits)
        found = fits.any(axis=-1)
        # argmax takes the first of equal values, so it looks from the end.
        best = num_boxes - 1 - np.where(fits, overlap, -1.0)[..., ::-1].argmax(axis=-1)
        free[areas, thresholds, best] &= ~found
        matched[..., detection] = found
        ignored[..., detection] = found & outside[areas, best]


def _mean_precision(hits: Bools, misses: Bools, num_truths: int) -> Floats:
    """Average the precision over the recall points, shape (T), from masks of shape (T, D)."""
    num_hits, num_misses = hits.cumsum(axis=1), misses.cumsum(axis=1)
    recall = num_hits / num_truths
    precision = num_hits / (num_hits + num_misses + np.spacing(1))
    # At each recall the best precision that can be had with this recall or more; 0 beyond.
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    best = np.pad(best, ((0, 0), (0, 1)))
    points = [np.searchsorted(row, RECALL_POINTS, side="left") for row in recall]
    return np.take_along_axis(best, np.stack(points), axis=1).mean(axis=1)


def _areas(corners: Floats) -> Floats:
    return (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])


def _overlaps(first: Floats, second: Floats) -> Floats:
    """Return the intersection over union of all pairs, shape (len(first), len(second))."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0.0, None).prod(axis=-1)
    union = _areas(first)[:, None] + _areas(second) - shared
    # Two boxes without area have no union; they do not overlap.
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
