"""Metrics for language."""

import math

import pytest
import torch
from torch.nn import functional as F

from composer.errors import ArgumentTypeError, DataError, TargetShapeError
from composer.metrics.nlp import (
    BinaryF1Score,
    LanguageCrossEntropy,
    LanguagePerplexity,
    MaskedAccuracy,
)


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.tensor([[0, 3, 6, -100, 2], [5, -100, -100, -100, 1]])


class TestMaskedAccuracy:
    def test_it_is_the_share_of_right_predictions_among_those_that_count(self):
        scores = F.one_hot(torch.tensor([[1, 2, 0], [2, 2, 1]]), 3).float()
        metric = MaskedAccuracy()
        metric.update(scores, torch.tensor([[1, 0, -100], [2, -100, 1]]))
        assert metric.compute() == 0.75

    def test_the_ignored_value_can_be_chosen(self):
        scores = F.one_hot(torch.tensor([0, 1, 2]), 3).float()
        metric = MaskedAccuracy(ignore_index=0)
        metric.update(scores, torch.tensor([0, 1, 1]))
        assert metric.compute() == 0.5

    def test_batches_count_by_their_items(self):
        metric = MaskedAccuracy()
        metric.update(F.one_hot(torch.tensor([0, 1, 2]), 3).float(), torch.tensor([0, 1, 2]))
        metric.update(F.one_hot(torch.tensor([0]), 3).float(), torch.tensor([1]))
        assert metric.compute() == 0.75

    def test_targets_of_a_wrong_shape_are_refused(self):
        with pytest.raises(TargetShapeError, match=r"\(4, 3\).*\(4,\), not \(4, 3\)"):
            MaskedAccuracy().update(torch.zeros(4, 3), torch.zeros(4, 3))


class TestLanguageCrossEntropy:
    def test_it_is_the_mean_over_tokens(self, logits, tokens):
        metric = LanguageCrossEntropy()
        for row in range(2):  # with 4 and 2 tokens, so that a mean of means would differ
            metric.update(logits[row : row + 1], tokens[row : row + 1])
        torch.testing.assert_close(
            metric.compute(), F.cross_entropy(logits.flatten(0, 1), tokens.flatten())
        )

    def test_logits_are_found_in_a_mapping(self, logits, tokens):
        metric, other = LanguageCrossEntropy(), LanguageCrossEntropy()
        metric.update({"logits": logits, "loss": None}, tokens)
        other.update(logits, tokens)
        assert metric.compute() == other.compute()

    def test_tensors_that_are_not_contiguous_are_accepted(self, logits, tokens):
        metric, other = LanguageCrossEntropy(), LanguageCrossEntropy()
        metric.update(logits.transpose(0, 1), tokens.t())
        other.update(logits, tokens)
        torch.testing.assert_close(metric.compute(), other.compute())

    def test_the_ignored_value_can_be_chosen(self, logits, tokens):
        metric = LanguageCrossEntropy(ignore_index=3)
        tokens = tokens.where(tokens >= 0, 3)
        metric.update(logits, tokens)
        expected = F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), ignore_index=3)
        torch.testing.assert_close(metric.compute(), expected)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_the_sum_over_many_tokens_keeps_its_precision(self, dtype):
        metric = LanguageCrossEntropy()
        metric.update(torch.zeros(40_000, 16, dtype=dtype), torch.zeros(40_000, dtype=torch.int64))
        torch.testing.assert_close(metric.compute(), torch.tensor(math.log(16)), rtol=3e-3, atol=0)

    def test_a_mapping_without_logits_is_refused(self, tokens):
        with pytest.raises(DataError, match=r"loss.*not 'logits'"):
            LanguageCrossEntropy().update({"loss": torch.tensor(0.0)}, tokens)

    def test_outputs_of_another_type_are_refused(self, tokens):
        with pytest.raises(ArgumentTypeError, match="list"):
            LanguageCrossEntropy().update([1.0], tokens)


def test_perplexity_is_the_exponential_of_the_cross_entropy(logits, tokens):
    perplexity, entropy = LanguagePerplexity(), LanguageCrossEntropy()
    for metric in (perplexity, entropy):
        metric.update(logits, tokens)
    torch.testing.assert_close(perplexity.compute(), entropy.compute().exp())


class TestBinaryF1Score:
    # 2 true positives, 1 false positive, 2 false negatives: 4 / (4 + 3).
    PREDICTIONS = torch.tensor([1, 1, 1, 0, 0, 0])
    TARGETS = torch.tensor([1, 1, 0, 1, 1, 0])

    def test_it_is_the_harmonic_mean_of_precision_and_recall(self):
        metric = BinaryF1Score()
        metric.update(F.one_hot(self.PREDICTIONS, 2).float(), self.TARGETS)
        precision, recall = 2 / 3, 2 / 4
        expected = 2 * precision * recall / (precision + recall)
        torch.testing.assert_close(metric.compute(), torch.tensor(expected))

    def test_counts_are_added_over_batches(self):
        whole, parts = BinaryF1Score(), BinaryF1Score()
        scores = F.one_hot(self.PREDICTIONS, 2).float()
        whole.update(scores, self.TARGETS)
        for row in range(6):
            parts.update(scores[row : row + 1], self.TARGETS[row : row + 1])
        assert parts.compute() == whole.compute()

    def test_logits_are_found_in_a_mapping(self):
        metric = BinaryF1Score()
        metric.update({"logits": F.one_hot(self.PREDICTIONS, 2).float()}, self.TARGETS)
        torch.testing.assert_close(metric.compute(), torch.tensor(4 / 7))

    def test_targets_other_than_0_and_1_do_not_count(self):
        metric = BinaryF1Score()
        predictions = torch.cat([self.PREDICTIONS, torch.tensor([0, 1])])
        targets = torch.cat([self.TARGETS, torch.tensor([-100, -100])])
        metric.update(F.one_hot(predictions, 2).float(), targets)
        torch.testing.assert_close(metric.compute(), torch.tensor(4 / 7))

    def test_it_is_nan_when_class_1_is_neither_present_nor_predicted(self):
        metric = BinaryF1Score()
        metric.update(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
        assert metric.compute().isnan()
