"""What would make numbers wrong is found before a run trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

pytest.importorskip("sklearn", reason="the digits come from scikit-learn")
pytest.importorskip("scipy", reason="intervals need the extra 'ablation'")

from composer.ablation.arms import Arm
from composer.ablation.checks import FreshWeights, check_metric
from composer.core.evaluator import Evaluator
from composer.errors import ConfigError
from composer.models.tasks.classification import ComposerClassifier
from composer.trainer.trainer import Trainer
from tests.ablation._runs import METRIC, make_trainer

OFF = Arm("off", {})


def trainer_with(**arguments: Any) -> Trainer:
    return make_trainer(0, OFF, **arguments)


def evaluators(*labels: str) -> list[Evaluator]:
    data = TensorDataset(torch.rand(8, 64), torch.zeros(8, dtype=torch.long))
    return [
        Evaluator(label=each, dataloader=DataLoader(data, batch_size=8), metric_names=[METRIC])
        for each in labels
    ]


def test_a_metric_that_one_evaluator_has_is_right() -> None:
    check_metric(trainer_with(), METRIC, None)
    check_metric(trainer_with(), METRIC, "eval")


@pytest.mark.parametrize(
    ("metric", "label", "message"),
    [
        ("Accuracy", None, "metric 'Accuracy'; there are .*'MulticlassAccuracy' of 'eval'"),
        (METRIC, "test", f"metric '{METRIC}' of 'test'; there are"),
    ],
)
def test_a_metric_that_is_not_there_is_refused(metric: str, label: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_metric(trainer_with(), metric, label)


def test_a_trainer_that_evaluates_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to evaluate on"):
        check_metric(trainer_with(eval_dataloader=None), METRIC, None)


def test_of_two_evaluators_with_the_metric_one_must_be_named() -> None:
    trainer = trainer_with(eval_dataloader=evaluators("near", "far"))
    with pytest.raises(ConfigError, match="'near', 'far' all have the metric"):
        check_metric(trainer, METRIC, None)
    check_metric(trainer, METRIC, "far")


def test_weights_of_another_run_are_refused() -> None:
    weights, layer = FreshWeights(), torch.nn.Linear(64, 10)
    model = ComposerClassifier(layer, num_classes=10)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    weights.check(trainer_with())
    weights.check(trainer_with())
    weights.check(trainer_with(model=model, optimizers=optimizer))
    with pytest.raises(ConfigError, match="trained already"):
        weights.check(trainer_with(model=model, optimizers=optimizer))


def test_frozen_layers_may_be_shared() -> None:
    weights, frozen = FreshWeights(), torch.nn.Linear(64, 16).requires_grad_(False)
    for _ in range(2):
        network = torch.nn.Sequential(frozen, torch.nn.Linear(16, 10))
        optimizer = torch.optim.SGD(network[1].parameters(), lr=0.1)
        model = ComposerClassifier(network, num_classes=10)
        weights.check(trainer_with(model=model, optimizers=optimizer))


def test_an_ablation_trains_nothing_where_the_metric_is_missing(tmp_path: Path) -> None:
    from composer.ablation.runner import ablate

    made: list[Trainer] = []

    def make(seed: int, arm: Arm) -> Trainer:
        made.append(make_trainer(seed, arm))
        return made[-1]

    with pytest.raises(ConfigError, match="no evaluation has the metric"):
        ablate(make, ["hot"], metric="Accuracy", folder=tmp_path, say=None)
    assert [trainer.state.timestamp.batch.value for trainer in made] == [0]
