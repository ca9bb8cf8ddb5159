"""The losses, against torch and against cases worked out by hand."""

import math
import warnings

import pytest
import torch
from torch.nn import functional as F

from composer.errors import ConfigError, DataError, TargetShapeError, UnknownNameError
from composer.loss.loss import (
    DiceLoss,
    binary_cross_entropy_with_logits,
    loss_registry,
    soft_cross_entropy,
)

REDUCTIONS = ["mean", "sum", "none"]


@pytest.fixture
def scores() -> torch.Tensor:
    return torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.tensor([0, 2, 1, 1, 0, 2])


class TestSoftCrossEntropy:
    @pytest.mark.parametrize("reduction", REDUCTIONS)
    def test_indices_give_what_torch_gives(self, scores, labels, reduction):
        weight = torch.tensor([0.5, 1.0, 2.0])
        ours = soft_cross_entropy(scores, labels, weight, ignore_index=2, reduction=reduction)
        assert torch.equal(
            ours, F.cross_entropy(scores, labels, weight, ignore_index=2, reduction=reduction)
        )

    @pytest.mark.parametrize("reduction", REDUCTIONS)
    @pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 1.0, 2.0])])
    def test_one_hot_rows_give_what_their_indices_give(self, scores, labels, reduction, weight):
        dense = F.one_hot(labels, 3)
        torch.testing.assert_close(
            soft_cross_entropy(scores, dense, weight, reduction=reduction),
            soft_cross_entropy(scores, labels, weight, reduction=reduction),
        )

    @pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 1.0, 2.0])])
    def test_one_hot_masks_give_what_their_indices_give(self, weight):
        generator = torch.Generator().manual_seed(0)
        scores = torch.randn(2, 3, 4, 5, generator=generator)
        labels = torch.randint(3, (2, 4, 5), generator=generator)
        dense = F.one_hot(labels, 3).movedim(-1, 1).float()
        torch.testing.assert_close(
            soft_cross_entropy(scores, dense, weight), soft_cross_entropy(scores, labels, weight)
        )

    @pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 1.0, 2.0])])
    def test_a_single_item_needs_no_batch_dimension(self, weight):
        scores = torch.tensor([0.1, 0.2, 0.3])
        torch.testing.assert_close(
            soft_cross_entropy(scores, torch.tensor([0.0, 1.0, 0.0]), weight),
            soft_cross_entropy(scores, torch.tensor(1), weight),
        )

    def test_probabilities_weigh_the_log_probabilities(self):
        scores = torch.tensor([[math.log(1.0), math.log(3.0)]])  # probabilities 1/4 and 3/4
        loss = soft_cross_entropy(scores, torch.tensor([[0.4, 0.6]]))
        expected = -(0.4 * math.log(0.25) + 0.6 * math.log(0.75))
        torch.testing.assert_close(loss, torch.tensor(expected))

    def test_a_row_of_zeros_does_not_count_in_the_mean(self, scores, labels):
        dense = F.one_hot(labels, 3).float()
        dense[0] = 0
        torch.testing.assert_close(
            soft_cross_entropy(scores, dense), F.cross_entropy(scores[1:], labels[1:])
        )

    def test_the_mean_over_no_probability_is_nan(self, scores):
        assert soft_cross_entropy(scores, torch.zeros(6, 3)).isnan()

    def test_an_ignored_index_has_no_effect_on_dense_targets_and_warns(self, scores, labels):
        dense = F.one_hot(labels, 3).float()
        with pytest.warns(UserWarning, match="ignore_index=2 has no effect"):
            loss = soft_cross_entropy(scores, dense, ignore_index=2)
        assert torch.equal(loss, soft_cross_entropy(scores, dense))

    def test_the_default_ignored_index_does_not_warn(self, scores, labels):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            soft_cross_entropy(scores, F.one_hot(labels, 3).float())

    def test_the_mean_does_not_overflow_in_half_precision(self):
        scores = torch.zeros(1, 2, 512, 512, dtype=torch.float16)
        targets = torch.full_like(scores, 0.5)
        loss = soft_cross_entropy(scores, targets)
        assert loss.dtype == torch.float16
        torch.testing.assert_close(loss.float(), torch.tensor(math.log(2)), atol=1e-3, rtol=0)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_targets_keep_their_precision_beside_half_precision_scores(self, dtype):
        scores = torch.zeros(2, 4, dtype=dtype)
        targets = torch.full((2, 4), 0.1).index_fill_(1, torch.tensor([0]), 0.7)
        loss = soft_cross_entropy(scores, targets)
        torch.testing.assert_close(loss.float(), torch.tensor(math.log(4)), atol=5e-3, rtol=0)

    def test_gradients_of_dense_and_index_targets_agree(self, scores, labels):
        first, second = scores.clone().requires_grad_(), scores.clone().requires_grad_()
        soft_cross_entropy(first, labels).backward()
        soft_cross_entropy(second, F.one_hot(labels, 3).float()).backward()
        torch.testing.assert_close(first.grad, second.grad)

    def test_shapes_that_do_not_fit_are_refused(self, scores):
        with pytest.raises(TargetShapeError):
            soft_cross_entropy(scores, torch.zeros(6, 2))

    def test_an_unknown_reduction_is_refused(self, scores):
        with pytest.raises(UnknownNameError, match="Did you mean 'mean'"):
            soft_cross_entropy(scores, torch.zeros(6, 3), reduction="meen")

    @pytest.mark.parametrize("dense", [False, True])
    def test_nothing_is_read_back_from_the_device(self, scores, labels, dense):
        # Tensors on the meta device have no values, so reading one raises.
        targets = torch.zeros(6, 3) if dense else labels
        loss = soft_cross_entropy(scores.to("meta"), targets.to("meta"))
        assert loss.shape == ()


class TestBinaryCrossEntropy:
    def test_the_sum_over_classes_is_averaged_over_the_batch(self):
        loss = binary_cross_entropy_with_logits(torch.zeros(4, 3), torch.tensor([0, 1, 2, 0]))
        torch.testing.assert_close(loss, torch.tensor(3 * math.log(2)))

    def test_scaling_by_the_batch_size_can_be_turned_off(self):
        loss = binary_cross_entropy_with_logits(
            torch.zeros(4, 3), torch.tensor([0, 1, 2, 0]), scale_by_batch_size=False
        )
        torch.testing.assert_close(loss, torch.tensor(12 * math.log(2)))

    @pytest.mark.parametrize("reduction", ["mean", "none"])
    def test_other_reductions_give_what_torch_gives(self, scores, labels, reduction):
        dense = F.one_hot(labels, 3).float()
        weight, pos_weight = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([3.0, 1.0, 2.0])
        torch.testing.assert_close(
            binary_cross_entropy_with_logits(scores, labels, weight, reduction, pos_weight),
            F.binary_cross_entropy_with_logits(
                scores, dense, weight, reduction=reduction, pos_weight=pos_weight
            ),
        )

    def test_dense_targets_are_used_as_they_are(self, scores):
        targets = torch.full((6, 3), 0.25)
        torch.testing.assert_close(
            binary_cross_entropy_with_logits(scores, targets),
            F.binary_cross_entropy_with_logits(scores, targets, reduction="sum") / 6,
        )

    def test_an_empty_batch_cannot_be_scaled(self):
        with pytest.raises(DataError, match="scale_by_batch_size=False"):
            binary_cross_entropy_with_logits(torch.zeros(0, 3), torch.zeros(0, 3))

    def test_an_unknown_reduction_is_refused(self, scores, labels):
        with pytest.raises(UnknownNameError, match="'total'"):
            binary_cross_entropy_with_logits(scores, labels, reduction="total")


class TestDiceLoss:
    # Two pixels, two classes. Class 0: overlap 1, sizes 2 + 1, Dice 2/3. Class 1: nothing is
    # predicted, Dice 0.
    PREDICTION = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    TARGET = torch.tensor([[0, 1]])

    def test_the_mean_is_over_items_and_classes(self):
        loss = DiceLoss()(self.PREDICTION, self.TARGET)
        torch.testing.assert_close(loss, torch.tensor(1 - (2 / 3 + 0) / 2), atol=1e-4, rtol=0)

    def test_the_sum_is_over_items_and_classes(self):
        loss = DiceLoss(reduction="sum")(self.PREDICTION, self.TARGET)
        torch.testing.assert_close(loss, torch.tensor(1 / 3 + 1), atol=1e-4, rtol=0)

    def test_no_reduction_gives_one_loss_per_item_and_class(self):
        loss = DiceLoss(reduction="none")(self.PREDICTION, self.TARGET)
        torch.testing.assert_close(loss, torch.tensor([[1 / 3, 1.0]]), atol=1e-4, rtol=0)

    def test_the_batch_can_be_counted_as_one_image(self):
        prediction = torch.cat([self.PREDICTION, self.PREDICTION.flip(1)])
        target = torch.tensor([[0, 0], [1, 0]])
        # Class 0 over both items: overlap 2, sizes 2 + 3. Class 1: overlap 1, sizes 2 + 1.
        loss = DiceLoss(batch=True, reduction="none")(prediction, target)
        torch.testing.assert_close(loss, torch.tensor([1 / 5, 1 / 3]), atol=1e-4, rtol=0)

    def test_jaccard_divides_by_the_union(self):
        loss = DiceLoss(jaccard=True, reduction="none")(self.PREDICTION, self.TARGET)
        torch.testing.assert_close(loss, torch.tensor([[1 / 2, 1.0]]), atol=1e-4, rtol=0)

    def test_predictions_can_be_squared_in_the_denominator(self):
        prediction = torch.full((1, 1, 2), 0.5)
        target = torch.ones(1, 1, 2)
        # Overlap 1, sizes 4 * 1/8 + 2 = 2.5 against 1 + 2 = 3.
        plain, squared = (
            DiceLoss()(prediction, target),
            DiceLoss(squared_pred=True)(prediction, target),
        )
        torch.testing.assert_close(plain, torch.tensor(1 - 2 / 3), atol=1e-4, rtol=0)
        torch.testing.assert_close(squared, torch.tensor(1 - 2 / 2.5), atol=1e-4, rtol=0)

    def test_a_class_neither_predicted_nor_present_costs_nothing(self):
        loss = DiceLoss(reduction="none")(self.PREDICTION, torch.tensor([[0, 0]]))
        torch.testing.assert_close(loss, torch.zeros(1, 2))

    @pytest.mark.parametrize("batch", [False, True])
    def test_absent_classes_can_be_left_out(self, batch):
        prediction = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
        target = torch.tensor([[0, 0]])
        # Class 0: overlap 1, sizes 1 + 2. Class 1 is predicted but absent.
        loss = DiceLoss(ignore_absent_classes=True, batch=batch)(prediction, target)
        torch.testing.assert_close(loss, torch.tensor(1 / 3), atol=1e-4, rtol=0)

    def test_a_class_is_absent_only_if_no_item_has_it(self):
        prediction = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]])
        target = torch.tensor([[0, 0], [0, 1]])
        loss = DiceLoss(ignore_absent_classes=True, reduction="none")(prediction, target)
        torch.testing.assert_close(
            loss, torch.tensor([[1 / 3, 1.0], [0.0, 0.0]]), atol=1e-4, rtol=0
        )

    def test_sigmoid_is_applied_first(self):
        scores = torch.tensor([[[0.3, -0.2]]])
        target = torch.ones(1, 1, 2)
        assert torch.equal(
            DiceLoss(sigmoid=True)(scores, target), DiceLoss()(scores.sigmoid(), target)
        )

    def test_softmax_is_applied_over_the_classes_first(self):
        scores = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
        target = torch.tensor([[0, 1, 2, 0], [1, 1, 0, 2]])
        assert torch.equal(
            DiceLoss(softmax=True)(scores, target), DiceLoss()(scores.softmax(dim=1), target)
        )

    def test_softmax_over_a_single_channel_is_left_out_with_a_warning(self):
        scores, target = torch.full((1, 1, 2), 0.5), torch.ones(1, 1, 2)
        with pytest.warns(UserWarning, match="one channel"):
            loss = DiceLoss(softmax=True)(scores, target)
        assert torch.equal(loss, DiceLoss()(scores, target))

    def test_predictions_without_pixels_are_compared_per_item_and_class(self):
        loss = DiceLoss(reduction="none")(torch.tensor([[1.0, 0.0]]), torch.tensor([1]))
        torch.testing.assert_close(loss, torch.ones(1, 2), atol=1e-4, rtol=0)

    def test_sigmoid_and_softmax_exclude_each_other(self):
        with pytest.raises(ConfigError, match="exclude each other"):
            DiceLoss(sigmoid=True, softmax=True)

    def test_an_unknown_reduction_is_refused_at_construction(self):
        with pytest.raises(UnknownNameError, match="reduction"):
            DiceLoss(reduction="average")

    def test_nothing_is_read_back_from_the_device(self):
        loss = DiceLoss(ignore_absent_classes=True, sigmoid=True)(
            self.PREDICTION.to("meta"), self.TARGET.to("meta")
        )
        assert loss.shape == ()


def test_the_registry_finds_the_functions_by_name():
    assert all(function.__name__ == name for name, function in loss_registry.items())
    assert loss_registry["soft_cross_entropy"] is soft_cross_entropy
    assert loss_registry["binary_cross_entropy_with_logits"] is binary_cross_entropy_with_logits
