import pytest
import torch
from torch import nn

from composer.algorithms.label_smoothing import LabelSmoothing, smooth_labels
from composer.core.event import Event
from composer.errors import ConfigError, DataError, TargetShapeError
from composer.loss.loss import soft_cross_entropy
from tests.algorithms._runs import HandRun, classifier, image_batch

SCORES = torch.zeros(2, 4)


# Szegedy et al. 2015, section 7: q'(k) = (1 - eps) * delta(k, y) + eps / K.
# With K = 4 and eps = 0.2: 0.05 everywhere, 0.85 at the class.
EXPECTED = torch.tensor([[0.05, 0.05, 0.85, 0.05], [0.85, 0.05, 0.05, 0.05]])


def test_index_targets_follow_the_paper() -> None:
    smoothed = smooth_labels(SCORES, torch.tensor([2, 0]), smoothing=0.2)
    torch.testing.assert_close(smoothed, EXPECTED)


def test_dense_targets_follow_the_paper() -> None:
    dense = torch.eye(4)[[2, 0]]
    torch.testing.assert_close(smooth_labels(SCORES, dense, smoothing=0.2), EXPECTED)


def test_no_smoothing_leaves_one_hot_rows() -> None:
    smoothed = smooth_labels(SCORES, torch.tensor([2, 0]), smoothing=0.0)
    assert torch.equal(smoothed, torch.eye(4)[[2, 0]])


def test_full_smoothing_leaves_the_uniform_distribution() -> None:
    smoothed = smooth_labels(SCORES, torch.tensor([2, 0]), smoothing=1.0)
    assert torch.equal(smoothed, torch.full((2, 4), 0.25))


def test_classes_of_pixels_lie_in_dimension_one() -> None:
    scores, target = torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]])
    smoothed = smooth_labels(scores, target, smoothing=0.5)
    # K = 2, eps = 0.5: 0.75 for the class, 0.25 for the other.
    expected = torch.tensor([[[[0.75, 0.25]], [[0.25, 0.75]]]])
    torch.testing.assert_close(smoothed, expected)


def test_an_item_without_a_class_stays_without_one() -> None:
    dense = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    smoothed = smooth_labels(SCORES, dense, smoothing=0.2)
    assert torch.equal(smoothed[0], torch.zeros(4))
    loss = soft_cross_entropy(torch.randn(2, 4), smoothed, reduction="none")
    assert loss[0] == 0


def test_an_item_with_a_negative_index_has_no_class() -> None:
    with pytest.warns(UserWarning, match="negative class indices"):
        smoothed = smooth_labels(SCORES, torch.tensor([-100, 0]), smoothing=0.2)
    assert torch.equal(smoothed[0], torch.zeros(4))
    torch.testing.assert_close(smoothed[1], EXPECTED[1])


def test_the_input_is_not_written_into() -> None:
    dense = torch.eye(4)
    smooth_labels(torch.zeros(4, 4), dense, smoothing=0.5)
    assert torch.equal(dense, torch.eye(4))


def test_targets_of_another_shape_are_refused() -> None:
    with pytest.raises(TargetShapeError):
        smooth_labels(SCORES, torch.zeros(2, 3, 1))


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, float("nan")])
def test_a_share_outside_zero_and_one_is_refused(smoothing: float) -> None:
    with pytest.raises(ConfigError, match="smoothing="):
        LabelSmoothing(smoothing)


def test_the_loss_sees_smoothed_targets_and_the_batch_keeps_its_own() -> None:
    run = HandRun(LabelSmoothing(0.2))
    run.begin()
    images, labels = image_batch()
    run.loss((images, labels))
    expected = smooth_labels(torch.zeros(4, 4), labels, 0.2)
    assert torch.equal(run.batch_at_loss[1], expected)
    assert run.state.batch[1] is labels


def test_each_microbatch_gets_its_own_targets_back() -> None:
    run = HandRun(LabelSmoothing(0.2))
    run.begin()
    images, labels = image_batch()
    for part in (slice(0, 2), slice(2, 4)):
        own = labels[part]
        run.loss((images[part], own))
        assert run.state.batch[1] is own


def test_batches_by_name_and_by_functions_work() -> None:
    keys = ["y", (lambda b: b["y"], lambda b, v: {**b, "y": v})]
    for key in keys:
        run = HandRun(LabelSmoothing(0.2, target_key=key))
        run.state.outputs = SCORES
        labels = torch.tensor([2, 0])
        run.state.batch = {"x": 0, "y": labels}
        run.run(Event.BEFORE_LOSS)
        torch.testing.assert_close(run.state.batch["y"], EXPECTED)
        run.run(Event.AFTER_LOSS)
        assert run.state.batch["y"] is labels


def test_outputs_that_are_no_tensor_are_refused_with_advice() -> None:
    run = HandRun(LabelSmoothing())
    run.state.outputs, run.state.batch = {"logits": SCORES}, (0, torch.tensor([0, 1]))
    with pytest.raises(DataError, match="outputs that are one tensor"):
        run.run(Event.BEFORE_LOSS)


def test_training_with_it_equals_torch_label_smoothing() -> None:
    images, labels = image_batch()
    module = nn.Sequential(nn.Flatten(), nn.Linear(768, 4))
    run = HandRun(LabelSmoothing(0.3), classifier(module))
    run.begin()
    expected = nn.functional.cross_entropy(module(images), labels, label_smoothing=0.3)
    torch.testing.assert_close(run.loss((images, labels)), expected)
