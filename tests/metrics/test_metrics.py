"""Metrics for classification and segmentation."""

import math

import pytest
import torch
from torch.nn import functional as F

from composer.errors import TargetShapeError
from composer.metrics.metrics import CrossEntropy, Dice, LossMetric, MIoU


def scores_for(predictions: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Make scores whose argmax over dimension 1 is the predictions."""
    return F.one_hot(predictions, num_classes).movedim(-1, 1).float()


class TestMIoU:
    # Class 0: 1 right of a union of 3. Class 1: 1 right of 3. Class 2: 1 right of 1.
    TARGETS = torch.tensor([[[0, 0, 1, 1, 2]]])
    PREDICTIONS = torch.tensor([[[0, 1, 0, 1, 2]]])
    VALUE = 100 * (1 / 3 + 1 / 3 + 1) / 3

    def test_it_is_the_mean_over_classes_in_percent(self):
        metric = MIoU(num_classes=3)
        metric.update(scores_for(self.PREDICTIONS, 3), self.TARGETS)
        torch.testing.assert_close(metric.compute(), torch.tensor(self.VALUE))

    def test_classes_that_do_not_occur_are_left_out(self):
        metric = MIoU(num_classes=7)
        metric.update(scores_for(self.PREDICTIONS, 7), self.TARGETS)
        torch.testing.assert_close(metric.compute(), torch.tensor(self.VALUE))

    def test_a_class_that_is_only_predicted_counts_as_zero(self):
        metric = MIoU(num_classes=2)
        metric.update(scores_for(torch.tensor([[[0, 1]]]), 2), torch.tensor([[[0, 0]]]))
        torch.testing.assert_close(metric.compute(), torch.tensor(100 * (1 / 2 + 0) / 2))

    @pytest.mark.parametrize("ignore_index", [-1, 255])
    def test_ignored_pixels_do_not_count(self, ignore_index):
        metric = MIoU(num_classes=3, ignore_index=ignore_index)
        targets = torch.cat([self.TARGETS, torch.full((1, 1, 5), ignore_index)], dim=1)
        predictions = torch.cat([self.PREDICTIONS, torch.tensor([[[0, 1, 2, 2, 1]]])], dim=1)
        metric.update(scores_for(predictions, 3), targets)
        torch.testing.assert_close(metric.compute(), torch.tensor(self.VALUE))

    def test_pixels_are_counted_over_batches_before_dividing(self):
        whole, parts = MIoU(num_classes=3), MIoU(num_classes=3)
        whole.update(scores_for(self.PREDICTIONS, 3), self.TARGETS)
        for column in range(5):
            part = slice(column, column + 1)
            parts.update(scores_for(self.PREDICTIONS[..., part], 3), self.TARGETS[..., part])
        assert parts.compute() == whole.compute()

    def test_small_integer_targets_are_accepted(self):
        metric = MIoU(num_classes=3, ignore_index=255)
        metric.update(scores_for(self.PREDICTIONS, 3), self.TARGETS.to(torch.uint8))
        torch.testing.assert_close(metric.compute(), torch.tensor(self.VALUE))


class TestDice:
    # Class 1: overlap 1, sizes 2 + 2. Class 2: overlap 1, sizes 1 + 1.
    TARGETS = torch.tensor([[[0, 0, 1, 1, 2]]])
    PREDICTIONS = torch.tensor([[[0, 1, 0, 1, 2]]])
    VALUE = 100 * (1 / 2 + 1) / 2

    @pytest.mark.parametrize("num_classes", [2, 3])
    def test_it_is_the_mean_over_foreground_classes_in_percent(self, num_classes):
        metric = Dice(num_classes=num_classes)
        metric.update(scores_for(self.PREDICTIONS, 3), self.TARGETS)
        torch.testing.assert_close(metric.compute(), torch.tensor(self.VALUE))

    def test_a_class_neither_present_nor_predicted_scores_one(self):
        scores = Dice.compute_stats(scores_for(self.PREDICTIONS, 4), self.TARGETS)
        torch.testing.assert_close(scores, torch.tensor([1 / 2, 1, 1]))

    def test_a_class_that_is_only_predicted_scores_zero(self):
        scores = Dice.compute_stats(
            scores_for(torch.tensor([[[1, 0]]]), 2), torch.zeros(1, 1, 2, dtype=torch.int64)
        )
        assert scores.tolist() == [0]

    def test_batches_count_the_same(self):
        metric = Dice(num_classes=3)
        metric.update(scores_for(self.PREDICTIONS, 3), self.TARGETS)
        metric.update(scores_for(self.TARGETS, 3), self.TARGETS)
        torch.testing.assert_close(metric.compute(), torch.tensor((self.VALUE + 100) / 2))

    def test_a_wrong_number_of_channels_is_refused(self):
        with pytest.raises(TargetShapeError, match=r"5 channels.*num_classes=3"):
            Dice(num_classes=3).update(torch.zeros(1, 5, 2), torch.zeros(1, 2))


class TestCrossEntropy:
    def test_it_is_the_mean_of_the_batch_means(self):
        generator = torch.Generator().manual_seed(0)
        batches = [
            (torch.randn(size, 3, generator=generator), torch.arange(size) % 3) for size in (4, 2)
        ]
        metric = CrossEntropy()
        for scores, targets in batches:
            metric.update(scores, targets)
        means = [F.cross_entropy(scores, targets) for scores, targets in batches]
        torch.testing.assert_close(metric.compute(), torch.stack(means).mean())

    def test_dense_targets_are_accepted(self):
        metric = CrossEntropy()
        metric.update(torch.zeros(2, 4), torch.full((2, 4), 0.25))
        torch.testing.assert_close(metric.compute(), torch.tensor(math.log(4)))

    def test_ignored_targets_do_not_count(self):
        scores = torch.tensor([[0.0, 0.0], [5.0, -5.0]])
        metric = CrossEntropy(ignore_index=1)
        metric.update(scores, torch.tensor([0, 1]))
        torch.testing.assert_close(metric.compute(), torch.tensor(math.log(2)))

    def test_it_knows_that_less_is_better(self):
        assert CrossEntropy().higher_is_better is False


class TestLossMetric:
    def test_it_is_the_mean_of_the_losses_of_the_batches(self):
        metric = LossMetric(F.mse_loss)
        metric.update(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 0.0]))  # 2.5
        metric.update(torch.tensor([3.0]), torch.tensor([0.0]))  # 9
        torch.testing.assert_close(metric.compute(), torch.tensor((2.5 + 9) / 2))

    def test_a_loss_module_can_be_given(self):
        metric = LossMetric(torch.nn.L1Loss())
        metric.update(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 0.0]))
        assert metric.compute() == 1.5
