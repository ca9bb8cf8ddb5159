"""What every metric promises: reset, merging of processes, no waiting for the device, pickling."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torchmetrics import Metric

from composer.metrics.map import MAP
from composer.metrics.metrics import CrossEntropy, Dice, LossMetric, MIoU
from composer.metrics.nlp import (
    BinaryF1Score,
    LanguageCrossEntropy,
    LanguagePerplexity,
    MaskedAccuracy,
)
from tests._dist import run_ranks

Batch = tuple[Any, Any]


def flat(index: int) -> Batch:
    """Scores and targets of a classification batch with 2 classes."""
    generator = torch.Generator().manual_seed(index)
    size = 5 + index
    return torch.randn(size, 2, generator=generator), torch.randint(2, (size,), generator=generator)


def masks(index: int) -> Batch:
    """Scores and targets of a segmentation batch with 3 classes."""
    generator = torch.Generator().manual_seed(index)
    scores = torch.randn(2, 3, 4, 5 + index, generator=generator)
    return scores, torch.randint(3, (2, 4, 5 + index), generator=generator)


def detections(index: int) -> Batch:
    """Boxes found and true boxes of two images."""
    generator = torch.Generator().manual_seed(index)
    predictions, targets = [], []
    for count in (3 + index, index):
        low = torch.rand(count, 2, generator=generator) * 100
        boxes = torch.cat([low, low + 20], dim=1)
        labels = torch.randint(2, (count,), generator=generator)
        shifted = boxes + torch.rand(count, 1, generator=generator) * 8
        scores = torch.rand(count, generator=generator)
        predictions.append({"boxes": shifted, "scores": scores, "labels": labels})
        targets.append({"boxes": boxes, "labels": labels})
    return predictions, targets


def without_values(batch: Any) -> Any:
    """Move all tensors to the meta device."""
    if isinstance(batch, torch.Tensor):
        return batch.to("meta")
    if isinstance(batch, dict):
        return {key: without_values(value) for key, value in batch.items()}
    return type(batch)(map(without_values, batch))


CASES: dict[str, tuple[Callable[[], Metric], Callable[[int], Batch]]] = {
    "BinaryF1Score": (BinaryF1Score, flat),
    "CrossEntropy": (CrossEntropy, flat),
    "Dice": (lambda: Dice(num_classes=3), masks),
    "LanguageCrossEntropy": (LanguageCrossEntropy, flat),
    "LanguagePerplexity": (LanguagePerplexity, flat),
    "LossMetric": (lambda: LossMetric(F.cross_entropy), flat),
    "MAP": (lambda: MAP(class_metrics=True), detections),
    "MIoU": (lambda: MIoU(num_classes=3), masks),
    "MaskedAccuracy": (MaskedAccuracy, flat),
}


def computed(name: str, indices: list[int]) -> Any:
    return updated(name, indices).compute()


def updated(name: str, indices: list[int]) -> Metric:
    make_metric, make_batch = CASES[name]
    metric = make_metric()
    for index in indices:
        metric.update(*make_batch(index))
    return metric


@pytest.fixture(params=sorted(CASES))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_every_public_metric_is_in_this_table():
    import composer.metrics

    assert sorted(CASES) == sorted(composer.metrics.__all__)


def test_reset_forgets_everything(name):
    metric = updated(name, [0, 1])
    metric.reset()
    metric.update(*CASES[name][1](2))
    torch.testing.assert_close(metric.compute(), computed(name, [2]))


def test_merging_two_metrics_gives_the_value_of_one_that_saw_all(name):
    metric = updated(name, [0, 1])
    metric.merge_state(updated(name, [2]))
    torch.testing.assert_close(metric.compute(), computed(name, [0, 1, 2]))


def test_forward_returns_the_value_of_the_batch_and_keeps_all(name):
    metric = CASES[name][0]()
    for index in range(2):
        batch_value = metric(*CASES[name][1](index))
        torch.testing.assert_close(batch_value, computed(name, [index]))
    torch.testing.assert_close(metric.compute(), computed(name, [0, 1]))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_goes_on_from_the_same_state(name, duplicate):
    metric = duplicate(updated(name, [0]))
    metric.update(*CASES[name][1](1))
    torch.testing.assert_close(metric.compute(), computed(name, [0, 1]))


def test_nothing_enters_the_state_dict_of_a_model(name):
    assert updated(name, [0]).state_dict() == {}


def test_update_does_not_wait_for_the_device(name):
    # Tensors on the meta device have no values, so reading one raises.
    metric = CASES[name][0]().to("meta")
    metric.update(*without_values(CASES[name][1](1)))
    assert metric.update_called


def values_on_this_rank(batches_of_rank: list[list[int]]) -> dict[str, Any]:
    indices = batches_of_rank[torch.distributed.get_rank()]
    return {name: computed(name, indices) for name in CASES}


@pytest.mark.parametrize("batches_of_rank", [[[0, 2], [1]], [[], [0, 1, 2]]])
@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
def test_two_processes_compute_what_one_would(batches_of_rank):
    for values in run_ranks(2, values_on_this_rank, batches_of_rank):
        for name, value in values.items():
            torch.testing.assert_close(value, computed(name, [0, 1, 2]))
