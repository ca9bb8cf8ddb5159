"""ComposerClassifier."""

import copy
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from composer.errors import ConfigError
from composer.metrics.metrics import CrossEntropy
from composer.models.tasks.classification import ComposerClassifier


def make(**arguments) -> ComposerClassifier:
    torch.manual_seed(0)
    return ComposerClassifier(torch.nn.Linear(4, 3), **{"num_classes": 3, **arguments})


def make_batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(5, 4, generator=torch.Generator().manual_seed(1)), torch.tensor(
        [0, 1, 2, 1, 0]
    )


def test_forward_gives_the_inputs_to_the_module():
    model, batch = make(), make_batch()
    assert torch.equal(model(batch), model.module(batch[0]))


def test_the_loss_is_cross_entropy_by_default():
    model, batch = make(), make_batch()
    outputs = model(batch)
    assert torch.equal(model.loss(outputs, batch), F.cross_entropy(outputs, batch[1]))


def test_the_loss_function_can_be_chosen_and_gets_extra_arguments():
    model, batch = make(loss_fn=F.cross_entropy), make_batch()
    losses = model.loss(model(batch), batch, reduction="none")
    assert losses.shape == (5,)


def test_the_default_training_metric_is_accuracy():
    metrics = make().get_metrics(is_train=True)
    assert list(metrics) == ["MulticlassAccuracy"]
    assert isinstance(metrics["MulticlassAccuracy"], MulticlassAccuracy)


def test_the_default_evaluation_metrics_are_cross_entropy_and_accuracy():
    metrics = make().get_metrics()
    assert list(metrics) == ["CrossEntropy", "MulticlassAccuracy"]
    assert isinstance(metrics["CrossEntropy"], CrossEntropy)


def test_default_metrics_compute_what_their_names_say():
    model, batch = make(), make_batch()
    outputs = model.eval_forward(batch)
    metrics = model.get_metrics(is_train=False)
    for metric in metrics.values():
        model.update_metric(batch, outputs, metric)
    right = (outputs.argmax(dim=1) == batch[1]).float().mean()
    assert metrics["MulticlassAccuracy"].compute() == right
    torch.testing.assert_close(
        metrics["CrossEntropy"].compute(), F.cross_entropy(outputs, batch[1])
    )


@pytest.mark.parametrize("is_train", [True, False])
def test_updating_the_default_metrics_does_not_wait_for_the_device(is_train):
    # Tensors on the meta device have no values, so reading one raises.
    model = make()
    batch = torch.zeros(5, 4, device="meta"), torch.zeros(5, dtype=torch.int64, device="meta")
    for metric in model.get_metrics(is_train).values():
        model.update_metric(batch, torch.zeros(5, 3, device="meta"), metric.to("meta"))
        assert metric.update_called


def test_the_same_metric_objects_are_returned_every_time():
    model = make()
    assert (
        model.get_metrics(True)["MulticlassAccuracy"]
        is (model.get_metrics(True)["MulticlassAccuracy"])
    )


def test_training_and_evaluation_do_not_share_a_metric():
    model = make()
    assert (
        model.get_metrics(True)["MulticlassAccuracy"]
        is not (model.get_metrics(False)["MulticlassAccuracy"])
    )


def test_a_single_metric_is_named_for_its_class():
    metric = MeanMetric()
    assert make(train_metrics=metric).get_metrics(is_train=True) == {"MeanMetric": metric}


@pytest.mark.parametrize("container", [dict, MetricCollection])
def test_several_metrics_keep_their_names(container):
    model = make(val_metrics=container({"first": MeanMetric(), "second": MeanMetric()}))
    assert list(model.get_metrics(is_train=False)) == ["first", "second"]


def test_metrics_can_be_replaced_after_construction():
    model = make()
    model.get_metrics(is_train=True)
    metric = MeanMetric()
    model.train_metrics = metric
    assert model.get_metrics(is_train=True) == {"MeanMetric": metric}


def test_no_metrics_at_all_is_a_valid_choice():
    assert make(train_metrics={}).get_metrics(is_train=True) == {}


def test_the_number_of_classes_is_taken_from_the_module():
    module = torch.nn.Linear(4, 3)
    module.num_classes = 3
    assert ComposerClassifier(module).num_classes == 3


def test_an_unknown_number_of_classes_is_refused_at_construction():
    with pytest.raises(ConfigError, match="Linear has no attribute num_classes"):
        ComposerClassifier(torch.nn.Linear(4, 3), train_metrics=MeanMetric())


def test_the_number_of_classes_is_not_needed_when_both_metrics_are_given():
    model = ComposerClassifier(
        torch.nn.Linear(4, 3), train_metrics=MeanMetric(), val_metrics=MeanMetric()
    )
    assert model.num_classes is None


def test_metrics_are_neither_submodules_nor_in_the_state_dict():
    model = make(train_metrics=MeanMetric())
    model.get_metrics(is_train=False)
    assert [name for name, _ in model.named_children()] == ["module"]
    assert list(model.state_dict()) == ["module.weight", "module.bias"]


def test_metrics_survive_materialising_a_model_made_on_the_meta_device():
    with torch.device("meta"):
        model = ComposerClassifier(torch.nn.Linear(4, 3), num_classes=3)
    model.to_empty(device="cpu")
    metric = model.get_metrics(is_train=False)["CrossEntropy"]
    metric.reset()
    assert metric.sum_loss == 0


def test_metrics_are_returned_while_the_model_is_on_the_meta_device():
    with torch.device("meta"):
        module = torch.nn.Linear(4, 3)
    metric = ComposerClassifier(module, num_classes=3).get_metrics()["CrossEntropy"]
    assert metric.device.type == "cpu"


def test_a_copy_of_the_model_has_metrics_of_its_own():
    model = make()
    metric = model.get_metrics(is_train=True)["MulticlassAccuracy"]
    other = copy.deepcopy(model).get_metrics(is_train=True)["MulticlassAccuracy"]
    assert other is not metric


def test_torchmetrics_is_not_loaded_before_metrics_are_asked_for():
    code = (
        "import sys, torch\n"
        "from composer.models import ComposerClassifier\n"
        "model = ComposerClassifier(torch.nn.Linear(4, 3), num_classes=3)\n"
        "assert 'torchmetrics' not in sys.modules\n"
        "model.get_metrics(is_train=True)\n"
        "assert 'torchmetrics' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


@pytest.mark.gpu
def test_metrics_are_returned_on_the_device_of_the_model():
    model = make().cuda()
    metrics = model.get_metrics(is_train=False)
    assert all(metric.device.type == "cuda" for metric in metrics.values())
