from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from composer.core.evaluator import Evaluator
from composer.core.precision import Precision
from composer.core.time import Time, Timestamp
from composer.errors import ConfigError
from tests.core._doubles import Method, Noting, make_state

# Names that user code and the reference's own plug-ins read.
PUBLIC = [
    "model",
    "run_name",
    "rank_zero_seed",
    "seed",
    "device",
    "device_train_microbatch_size",
    "auto_microbatching",
    "train_dataloader",
    "evaluators",
    "dataloader",
    "dataloader_label",
    "dataloader_len",
    "max_duration",
    "precision",
    "precision_config",
    "optimizers",
    "schedulers",
    "scaler",
    "algorithms",
    "callbacks",
    "profiler",
    "timestamp",
    "previous_timestamp",
    "eval_timestamp",
    "predict_timestamp",
    "batch",
    "outputs",
    "loss",
    "train_metrics",
    "eval_metrics",
    "train_metric_values",
    "eval_metric_values",
    "total_loss_dict",
    "metric_outputs",
    "dataset_state",
    "dataset_resumption",
    "load_path",
    "device_mesh",
    "fsdp_config",
    "tp_config",
    "save_metrics",
    "fsdp_enabled",
    "is_model_ddp",
    "timer",
]


@pytest.mark.parametrize("name", PUBLIC)
def test_the_state_has_what_plugins_read(name: str) -> None:
    assert hasattr(make_state(), name)


def test_a_state_knows_nothing_but_what_it_was_given() -> None:
    state = make_state(max_duration=None, dataloader=None, dataloader_label=None)
    assert state.timestamp == Timestamp()
    assert state.previous_timestamp is None
    assert state.max_duration is None
    assert state.dataloader_len is None
    assert state.batch is state.outputs is state.loss is state.train_metrics is None
    assert state.evaluators == state.algorithms == state.callbacks == state.optimizers == []
    assert state.precision is Precision.FP32


def test_the_seed_of_rank_zero_is_the_runs_seed() -> None:
    assert make_state(rank_zero_seed=11).seed == 11


def test_a_bare_duration_counts_epochs() -> None:
    assert make_state(max_duration=3).max_duration == Time(3, "ep")


@pytest.mark.parametrize("duration", ["30s", "0.5dur"])
def test_a_duration_in_seconds_or_shares_is_refused(duration: str) -> None:
    with pytest.raises(ConfigError, match="max_duration="):
        make_state(max_duration=duration)


def test_one_object_is_taken_for_a_list_of_one() -> None:
    callback, method = Noting("c", []), Method("m", [])
    state = make_state(callbacks=callback, algorithms=method)
    assert state.callbacks == [callback]
    assert state.algorithms == [method]


def test_evaluators_are_a_list() -> None:
    evaluator = Evaluator(label="e", dataloader=[], device_eval_microbatch_size=1)
    assert make_state(evaluators=evaluator).evaluators == [evaluator]


def sgd() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)


def test_optimizers_may_have_names() -> None:
    left, right = sgd(), sgd()
    state = make_state(optimizers={"body": left, "head": right})
    assert state.optimizers == [left, right]
    assert list(state.named_optimizers) == ["body", "head"]


def test_optimizers_without_names_are_named_for_their_class() -> None:
    state = make_state(optimizers=[sgd(), sgd()])
    assert list(state.named_optimizers) == ["SGD", "SGD_1"]


def test_the_precision_may_be_given_by_name() -> None:
    state = make_state(precision="amp_bf16")
    assert state.precision is Precision.AMP_BF16
    with pytest.raises(ValueError, match="unknown Precision 'fp33'"):
        state.precision = "fp33"


class TestDataloader:
    def test_its_length_is_asked_for(self) -> None:
        assert make_state().dataloader_len == Time(4, "ba")

    def test_a_loader_without_a_length_has_none(self) -> None:
        state = make_state(dataloader=iter([1, 2]))
        assert state.dataloader_len is None

    def test_a_loader_without_a_length_may_be_given_one(self) -> None:
        state = make_state()
        state.set_dataloader(iter([1, 2]), "train", 2)
        assert state.dataloader_len == Time(2, "ba")

    def test_a_smaller_length_is_taken(self) -> None:
        state = make_state()
        state.dataloader_len = Time(2, "ba")
        assert state.dataloader_len == Time(2, "ba")

    def test_a_larger_length_is_cut_to_what_there_is(self) -> None:
        state = make_state()
        with pytest.warns(UserWarning, match="9 batches of 'train' were asked for.*only 4"):
            state.dataloader_len = 9
        assert state.dataloader_len == Time(4, "ba")

    def test_minus_one_asks_the_loader_again(self) -> None:
        state = make_state(dataloader_len=2)
        state.dataloader_len = -1
        assert state.dataloader_len == Time(4, "ba")

    def test_a_length_without_a_loader_is_refused(self) -> None:
        state = make_state(dataloader=None, dataloader_label=None)
        with pytest.raises(ConfigError, match="without a dataloader"):
            state.dataloader_len = 3

    @pytest.mark.parametrize(("loader", "label"), [([1], None), (None, "train")])
    def test_a_loader_and_its_label_belong_together(self, loader: Any, label: Any) -> None:
        with pytest.raises(ConfigError, match="belong together"):
            make_state().set_dataloader(loader, label)

    def test_it_can_be_taken_away(self) -> None:
        state = make_state()
        state.set_dataloader()
        assert state.dataloader is state.dataloader_label is state.dataloader_len is None


class TestStopping:
    def test_a_run_in_epochs_is_stopped_at_the_current_batch(self) -> None:
        state = make_state(max_duration="2ep")
        state.timestamp = state.timestamp.to_next_batch(8).to_next_batch(8)
        assert not state.is_training_done
        state.stop_training()
        assert state.max_duration == Time(2, "ba")
        assert state.is_training_done

    @pytest.mark.parametrize(("unit", "count"), [("ba", 1), ("sp", 8), ("tok", 80)])
    def test_other_runs_are_stopped_in_their_own_unit(self, unit: str, count: int) -> None:
        state = make_state(max_duration=f"1000{unit}")
        state.timestamp = state.timestamp.to_next_batch(8, 80)
        state.stop_training()
        assert state.max_duration == Time(count, unit)

    def test_a_run_stopped_before_its_first_batch_is_all_done(self) -> None:
        state = make_state()
        state.stop_training()
        assert state.is_training_done
        assert state.get_elapsed_duration() == Time(1.0, "dur")


class TestElapsed:
    def test_it_is_the_share_done_in_the_durations_own_unit(self) -> None:
        state = make_state(max_duration="8ba")
        state.timestamp = state.timestamp.to_next_batch().to_next_batch()
        assert state.get_elapsed_duration() == Time(0.25, "dur")

    def test_in_epochs_it_moves_at_their_ends(self) -> None:
        state = make_state(max_duration="2ep")
        state.timestamp = state.timestamp.to_next_batch()
        assert state.get_elapsed_duration() == Time(0.0, "dur")
        state.timestamp = state.timestamp.to_next_epoch()
        assert state.get_elapsed_duration() == Time(0.5, "dur")

    def test_without_a_duration_there_is_none(self) -> None:
        assert make_state(max_duration=None).get_elapsed_duration() is None


class TestBatch:
    def test_parts_are_read_and_replaced_by_key(self) -> None:
        state = make_state()
        state.batch = {"x": 1, "y": 2}
        state.batch_set_item("x", 3)
        assert state.batch == {"x": 3, "y": 2}
        assert state.batch_get_item("y") == 2

    def test_a_part_of_a_tuple_is_replaced_by_a_new_tuple(self) -> None:
        state = make_state()
        state.batch = kept = (1, 2)
        state.batch_set_item(1, 5)
        assert state.batch == (1, 5)
        assert kept == (1, 2)

    def test_a_pair_of_functions_is_a_key(self) -> None:
        state = make_state()
        state.batch = [1, 2]
        key = (lambda batch: batch[0], lambda batch, value: [value, batch[1]])
        state.batch_set_item(key, 9)
        assert state.batch_get_item(key) == 9
        assert state.batch == [9, 2]

    def test_a_pair_has_its_older_name(self) -> None:
        state = make_state()
        state.batch = (1, 2)
        assert state.batch_pair == (1, 2)
        state.batch = {"x": 1}
        with pytest.raises(TypeError, match="no pair but a dict"):
            _ = state.batch_pair


def test_the_timestamp_has_its_older_name() -> None:
    state = make_state()
    assert state.timer is state.timestamp


def test_an_unsharded_model_has_no_sharding_options() -> None:
    state = make_state()
    assert state.fsdp_config is state.tp_config is state.device_mesh is None
    assert not state.fsdp_enabled
    assert not state.is_model_ddp


def test_the_models_state_dict_is_within_reach() -> None:
    state = make_state()
    assert state.get_model_state_dict().keys() == state.model.state_dict().keys()


def test_a_generator_is_no_loader_to_be_copied() -> None:
    def batches() -> Iterator[int]:
        yield 1

    loader = batches()
    assert make_state(dataloader=loader).dataloader is loader
