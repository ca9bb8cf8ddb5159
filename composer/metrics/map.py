"""Mean average precision of object detectors, as a metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from composer.errors import DataError
from composer.metrics.coco import (
    AREA_RANGES,
    IOU_THRESHOLDS,
    MAX_DETECTIONS,
    Boxes,
    CocoResult,
    evaluate,
)

__all__ = ["MAP"]

# A row holds the label, the score (0 for ground truth) and the four corners.
_ROW_LENGTH = 6


class MAP(Metric):
    """Mean average precision and recall of a detector, by the rules of COCO.

    The average is over intersection-over-union thresholds from 0.5 to 0.95 and over classes that
    have ground truth. Small objects have an area up to 32 x 32 pixels, large ones from 96 x 96.
    All boxes are kept until :meth:`compute`, which runs on the CPU.

    Args:
        class_metrics: also report each class.
        dist_sync_on_step: synchronise processes in every ``forward`` of the metric.
        process_group: processes to synchronise; by default all.
        dist_sync_fn: replaces torch's gathering of tensors from all processes.

    Source:
        Lin et al. 2014, Microsoft COCO (arXiv 1405.0312). Same numbers as pycocotools for data
        without crowd regions.

    Example:
        >>> import torch
        >>> metric = MAP()
        >>> box = torch.tensor([[10.0, 10.0, 50.0, 50.0]])
        >>> label = torch.tensor([0])
        >>> found = {"boxes": box, "scores": torch.tensor([0.9]), "labels": label}
        >>> metric.update([found], [{"boxes": box, "labels": label}])
        >>> metric.compute()["map"]
        tensor(1.)
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False

    detections: list[Tensor]
    detection_counts: list[Tensor]
    truths: list[Tensor]
    truth_counts: list[Tensor]

    def __init__(
        self,
        class_metrics: bool = False,
        dist_sync_on_step: bool = False,
        process_group: Any | None = None,
        dist_sync_fn: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__(
            dist_sync_on_step=dist_sync_on_step,
            process_group=process_group,
            dist_sync_fn=dist_sync_fn,
        )
        self.class_metrics = class_metrics
        # All of them flat and float32, because that is what torchmetrics sends for a process that
        # has seen no batch: other shapes or types would not fit together in the gathering.
        for name in ("detections", "detection_counts", "truths", "truth_counts"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(
        self, preds: Sequence[Mapping[str, Tensor]], target: Sequence[Mapping[str, Tensor]]
    ) -> None:
        """Add the detections and the ground truth of some images.

        Args:
            preds: for each image ``boxes``, shape (D, 4), as x_min, y_min, x_max, y_max in
                pixels; ``scores``, shape (D); ``labels``, integers of shape (D).
            target: for each image ``boxes``, shape (G, 4), and ``labels``, shape (G).

        Raises:
            DataError: a key is missing, or sizes do not agree.
        """
        if len(preds) != len(target):
            raise DataError(
                f"there are predictions for {len(preds)} images and targets for {len(target)}. "
                "Give one of each per image; for an image without boxes, empty tensors."
            )
        if not preds:
            return
        for side, items, keys in (
            ("preds", preds, ("boxes", "labels", "scores")),
            ("target", target, ("boxes", "labels")),
        ):
            for image, item in enumerate(items):
                _check_image(item, keys, f"{side}[{image}]")
        self.detections.append(_flat_rows(preds))
        self.detection_counts.append(_counts(preds))
        self.truths.append(_flat_rows(target))
        self.truth_counts.append(_counts(target))

    def compute(self) -> dict[str, Tensor]:
        """Evaluate all images.

        Returns:
            Scalars in [0, 1], or -1 where there is no ground truth: ``map``; ``map_50`` and
            ``map_75`` at one threshold; ``map_small``, ``map_medium``, ``map_large``; the mean
            recall with up to 1, 10 and 100 detections per image ``mar_1``, ``mar_10``,
            ``mar_100``; ``mar_small``, ``mar_medium``, ``mar_large``. Further ``map_per_class``
            and ``mar_100_per_class``, shape (K), with the labels they are for in ``classes``;
            without ``class_metrics`` the first two are -1 and the last is missing.
        """
        result = evaluate(
            _to_boxes(self.detections, self.detection_counts),
            _to_boxes(self.truths, self.truth_counts),
        )
        values = _summarise(result) | self._per_class(result)
        tensors = {name: torch.tensor(value).float() for name, value in values.items()}
        if self.class_metrics:
            tensors["classes"] = torch.from_numpy(result.classes)
        return {name: tensor.to(self.device) for name, tensor in tensors.items()}

    def _per_class(self, result: CocoResult) -> dict[str, Any]:
        if not self.class_metrics:
            return {"map_per_class": -1.0, "mar_100_per_class": -1.0}
        return {
            "map_per_class": result.precision[:, 0].mean(axis=-1),
            "mar_100_per_class": result.recall[:, 0, -1].mean(axis=-1),
        }


def _check_image(item: Mapping[str, Tensor], keys: tuple[str, ...], name: str) -> None:
    missing = [key for key in keys if key not in item]
    if missing:
        raise DataError(f"{name} lacks {missing}; it has {sorted(item)} and needs {list(keys)}.")
    boxes, *others = (item[key] for key in keys)
    if boxes.shape != (len(boxes), 4) and boxes.numel() > 0:
        raise DataError(
            f"{name}['boxes'] has shape {tuple(boxes.shape)}. Give (boxes, 4): x_min, y_min, "
            "x_max, y_max."
        )
    if any(other.shape != (len(boxes),) for other in others):
        raise DataError(
            f"the tensors of {name} have shapes { {key: tuple(item[key].shape) for key in keys} }. "
            "They need one row per box."
        )


def _flat_rows(items: Sequence[Mapping[str, Tensor]]) -> Tensor:
    def join(key: str) -> Tensor:
        return torch.cat([item[key].float().flatten() for item in items])

    labels, boxes = join("labels"), join("boxes").view(-1, 4)
    scores = join("scores") if "scores" in items[0] else torch.zeros_like(labels)
    return torch.cat([labels[:, None], scores[:, None], boxes], dim=1).flatten()


def _counts(items: Sequence[Mapping[str, Tensor]]) -> Tensor:
    counts = [float(len(item["boxes"])) for item in items]
    return torch.tensor(counts, device=items[0]["boxes"].device)


def _to_boxes(rows: list[Tensor] | Tensor, counts: list[Tensor] | Tensor) -> Boxes:
    # The one place where boxes leave the device: once per evaluation, when it is over.
    table = _to_numpy(rows).reshape(-1, _ROW_LENGTH)
    per_image = _to_numpy(counts).astype(np.int64)
    return Boxes(
        images=np.repeat(np.arange(len(per_image)), per_image),
        labels=table[:, 0].astype(np.int64),
        corners=table[:, 2:].astype(np.float64),
        scores=table[:, 1].astype(np.float64),
    )


def _to_numpy(state: list[Tensor] | Tensor) -> np.ndarray[Any, Any]:
    if isinstance(state, list) and not state:
        return np.zeros(0)
    return dim_zero_cat(state).numpy(force=True)


def _summarise(result: CocoResult) -> dict[str, float]:
    areas, limits = list(AREA_RANGES), list(MAX_DETECTIONS)
    precision, recall = result.precision, result.recall
    thresholds = {f"{threshold:.2f}": at for at, threshold in enumerate(IOU_THRESHOLDS)}
    values = {
        "map": _mean(precision[:, 0]),
        "map_50": _mean(precision[:, 0, thresholds["0.50"]]),
        "map_75": _mean(precision[:, 0, thresholds["0.75"]]),
    }
    sizes = [(area, areas.index(area)) for area in areas if area != "all"]
    values |= {f"map_{area}": _mean(precision[:, at]) for area, at in sizes}
    values |= {f"mar_{limit}": _mean(recall[:, 0, at]) for at, limit in enumerate(limits)}
    return values | {f"mar_{area}": _mean(recall[:, at, -1]) for area, at in sizes}


def _mean(values: np.ndarray[Any, Any]) -> float:
    """Average over what has ground truth; -1 if nothing has."""
    valid = values[values > -1]
    return float(valid.mean()) if valid.size else -1.0
