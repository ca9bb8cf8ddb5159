"""Evaluators."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from composer.core.data_spec import DataSpec
from composer.core.evaluator import Evaluator, ensure_evaluator, ensure_evaluators
from composer.core.event import Event
from composer.core.time import Time, Timestamp
from composer.errors import ConfigError


@pytest.fixture
def loader():
    return DataLoader(TensorDataset(torch.arange(6)), batch_size=2)


def make(loader, **options):
    return Evaluator(label="test", dataloader=loader, **options)


class TestConstruction:
    def test_the_loader_becomes_a_specification(self, loader):
        evaluator = make(loader)
        assert isinstance(evaluator.dataloader, DataSpec)
        assert evaluator.dataloader.dataloader is loader

    @pytest.mark.parametrize("names", ["Accuracy", 3, {"Accuracy"}])
    def test_metric_names_are_a_list(self, loader, names):
        with pytest.raises(ConfigError, match="list of names"):
            make(loader, metric_names=names)

    def test_a_metric_name_must_be_a_regular_expression(self, loader):
        with pytest.raises(ConfigError, match=r"'Top\(' is not a regular expression"):
            make(loader, metric_names=["Top("])

    @pytest.mark.parametrize("number", [0, -2])
    def test_a_subset_has_at_least_one_batch(self, loader, number):
        with pytest.raises(ConfigError, match="subset_num_batches"):
            make(loader, subset_num_batches=number)

    @pytest.mark.parametrize("number", [None, -1, 3])
    def test_a_subset_may_be_all_or_some(self, loader, number):
        assert make(loader, subset_num_batches=number).subset_num_batches == number


class TestMicrobatchSize:
    def test_it_is_the_batch_size_of_the_loader_by_default(self, loader):
        evaluator = make(loader)
        assert evaluator.device_eval_microbatch_size == 2
        assert not evaluator.auto_microbatching

    def test_it_is_the_batch_size_of_a_batch_sampler(self):
        dataset = TensorDataset(torch.arange(6))
        sampler = torch.utils.data.BatchSampler(range(6), batch_size=3, drop_last=False)
        assert make(DataLoader(dataset, batch_sampler=sampler)).device_eval_microbatch_size == 3

    def test_it_can_be_given(self, loader):
        assert make(loader, device_eval_microbatch_size=1).device_eval_microbatch_size == 1

    def test_auto_starts_at_the_batch_size(self, loader):
        evaluator = make(loader, device_eval_microbatch_size="auto")
        assert evaluator.auto_microbatching
        assert evaluator.device_eval_microbatch_size == 2

    @pytest.mark.parametrize("size", [None, "auto"])
    def test_a_loader_without_a_batch_size_is_not_split(self, size):
        evaluator = make([torch.zeros(2)], device_eval_microbatch_size=size)
        assert evaluator.device_eval_microbatch_size is None

    @pytest.mark.parametrize("size", [0, -1, "big", True])
    def test_impossible_sizes_are_refused(self, loader, size):
        with pytest.raises(ConfigError, match="device_eval_microbatch_size"):
            make(loader, device_eval_microbatch_size=size)


class TestInterval:
    @staticmethod
    def state(batch, previous, max_duration="10ba"):
        return SimpleNamespace(
            timestamp=Timestamp(batch=batch),
            previous_timestamp=Timestamp(batch=previous),
            max_duration=Time.from_timestring(max_duration),
        )

    def test_none_leaves_it_to_the_trainer(self, loader):
        assert make(loader).eval_interval is None

    def test_a_function_is_kept(self, loader):
        def always(state, event):
            return True

        assert make(loader, eval_interval=always).eval_interval is always

    def test_a_time_evaluates_at_batch_ends_and_at_the_end(self, loader):
        is_due = make(loader, eval_interval="3ba").eval_interval
        assert is_due(self.state(3, 2), Event.BATCH_END)
        assert not is_due(self.state(4, 3), Event.BATCH_END)
        assert not is_due(self.state(6, 5), Event.BATCH_CHECKPOINT)
        assert is_due(self.state(10, 9), Event.FIT_END)

    def test_the_end_is_not_evaluated_twice(self, loader):
        is_due = make(loader, eval_interval="5ba").eval_interval
        assert is_due(self.state(10, 9), Event.BATCH_END)
        assert not is_due(self.state(10, 9), Event.FIT_END)

    def test_a_number_counts_epochs(self, loader):
        is_due = make(loader, eval_interval=1).eval_interval
        state = SimpleNamespace(
            timestamp=Timestamp(epoch=1),
            previous_timestamp=Timestamp(epoch=0),
            max_duration=Time(5, "ep"),
        )
        assert is_due(state, Event.EPOCH_END)

    def test_zero_is_never(self, loader):
        is_due = make(loader, eval_interval=0).eval_interval
        assert not is_due(self.state(10, 9), Event.FIT_END)

    def test_what_is_no_time_is_refused_under_its_name(self, loader):
        with pytest.raises(ValueError, match="soon") as caught:
            make(loader, eval_interval="soon")
        assert "eval_interval='soon'" in "".join(caught.value.__notes__)


METRICS = {"MulticlassAccuracy": 1, "BinaryF1Score": 2, "CrossEntropy": 3, "Top-1(x)": 4}


class TestMetrics:
    def select(self, loader, names):
        return list(make(loader, metric_names=names).select_metrics(METRICS))

    def test_none_selects_all(self, loader):
        assert self.select(loader, None) == list(METRICS)

    def test_an_empty_list_selects_nothing(self, loader):
        assert self.select(loader, []) == []

    def test_a_part_of_a_name_in_any_case_selects(self, loader):
        assert self.select(loader, ["accuracy"]) == ["MulticlassAccuracy"]

    def test_patterns_select_in_the_order_of_the_model(self, loader):
        assert self.select(loader, ["Top-.", "f1", "F1Score"]) == ["BinaryF1Score", "Top-1(x)"]

    def test_a_full_name_selects_whatever_signs_it_has(self, loader):
        assert self.select(loader, ["Top-1(x)"]) == ["Top-1(x)"]

    def test_a_name_without_a_metric_warns(self, loader):
        evaluator = make(loader, metric_names=["Perplexity", "f1"])
        with pytest.warns(UserWarning, match="no metric matches 'Perplexity'"):
            assert list(evaluator.select_metrics(METRICS)) == ["BinaryF1Score"]


class TestEnsure:
    def test_an_evaluator_stays(self, loader):
        evaluator = make(loader)
        assert ensure_evaluator(evaluator, ["a"]) is evaluator

    def test_a_loader_is_called_eval_and_gets_the_default_metrics(self, loader):
        evaluator = ensure_evaluator(loader, ["Accuracy"])
        assert (evaluator.label, evaluator.metric_names) == ("eval", ["Accuracy"])

    def test_nothing_gives_no_evaluators(self):
        assert ensure_evaluators(None, []) == []

    def test_several_evaluators_stay_in_order(self, loader):
        first = Evaluator(label="a", dataloader=loader)
        second = Evaluator(label="b", dataloader=loader)
        assert ensure_evaluators((second, first), []) == [second, first]

    @pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x], lambda x: {"dataloader": x}])
    def test_one_loader_may_be_given_in_several_forms(self, loader, wrap):
        (evaluator,) = ensure_evaluators(wrap(loader), [])
        assert evaluator.dataloader.dataloader is loader

    def test_a_list_of_batches_is_one_loader(self):
        class Batches(list):
            batch_size = 2

        batches = Batches([torch.zeros(2), torch.zeros(2)])
        (evaluator,) = ensure_evaluators(batches, [])
        assert evaluator.dataloader.dataloader is batches

    def test_evaluators_and_loaders_do_not_mix(self, loader):
        with pytest.raises(ConfigError, match="do not mix"):
            ensure_evaluators([make(loader), loader], [])

    def test_labels_are_different(self, loader):
        with pytest.raises(ConfigError, match="different labels"):
            ensure_evaluators([make(loader), make(loader)], [])
        with pytest.raises(ConfigError, match="different labels"):
            ensure_evaluators([loader, loader], [])
