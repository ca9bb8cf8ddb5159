from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from composer.algorithms.ema import EMA
from composer.core.callback import Callback
from composer.core.data_spec import DataSpec
from composer.core.evaluator import Evaluator
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError, StateError
from tests.core._doubles import Memory
from tests.trainer._runs import (
    Events,
    classifier,
    fitted,
    loader,
    make_trainer,
    samples,
    sgd,
    weights_of,
)


def accuracy_by_hand(model: Any, count: int) -> float:
    inputs, targets = samples(count)
    with torch.no_grad():
        return (model.module(inputs).argmax(1) == targets).float().mean().item()


def test_metrics_are_those_of_all_samples() -> None:
    trainer = make_trainer()
    trainer.eval(loader(18))
    value = trainer.state.eval_metrics["eval"]["MulticlassAccuracy"].compute()
    assert value.item() == pytest.approx(accuracy_by_hand(trainer.state.model, 18))


@pytest.mark.parametrize("size", [1, 3, 4])
def test_metrics_do_not_depend_on_the_microbatch_size(size: int) -> None:
    trainer = make_trainer()
    trainer.eval(Evaluator(label="e", dataloader=loader(18), device_eval_microbatch_size=size))
    value = trainer.state.eval_metrics["e"]["MulticlassAccuracy"].compute()
    assert value.item() == pytest.approx(accuracy_by_hand(trainer.state.model, 18))


def test_values_are_logged_under_the_evaluators_name() -> None:
    memory = Memory()
    trainer = make_trainer(loggers=memory)
    trainer.eval(Evaluator(label="mine", dataloader=loader(8)))
    assert memory.metrics[-1][1].keys() == {
        "metrics/mine/CrossEntropy",
        "metrics/mine/MulticlassAccuracy",
    }
    assert isinstance(memory.metrics[-1][1]["metrics/mine/CrossEntropy"], float)


def test_an_evaluator_may_choose_its_metrics() -> None:
    memory = Memory()
    trainer = make_trainer(loggers=memory)
    trainer.eval(Evaluator(label="e", dataloader=loader(8), metric_names=["accuracy"]))
    assert memory.metrics[-1][1].keys() == {"metrics/e/MulticlassAccuracy"}


def test_several_evaluators_run_in_turn() -> None:
    events = Events()
    evaluators = [Evaluator(label=label, dataloader=loader(8)) for label in "ab"]
    trainer = make_trainer(eval_dataloader=evaluators, callbacks=events)
    trainer.eval()
    assert events.names.count("eval_start") == 2
    assert set(trainer.state.eval_metrics) == {"a", "b"}


def test_a_subset_of_batches_is_evaluated() -> None:
    events = Events()
    trainer = make_trainer(eval_dataloader=loader(16), callbacks=events)
    trainer.eval(subset_num_batches=3)
    assert events.names.count("eval_batch_start") == 3
    trainer.eval()
    assert events.names.count("eval_batch_start") == 7


def test_a_loader_without_a_length_needs_a_subset() -> None:
    unsized = DataSpec(iter([samples(4)] * 5))
    evaluator = Evaluator(label="e", dataloader=unsized, device_eval_microbatch_size=4)
    with pytest.raises(ConfigError, match=r"evaluator 'e' has no length.*eval_subset_num_batches"):
        make_trainer(eval_dataloader=evaluator)
    events = Events()
    make_trainer(callbacks=events).eval(evaluator, subset_num_batches=2)
    assert events.names.count("eval_batch_start") == 2


def test_nothing_to_evaluate_on_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to evaluate on"):
        make_trainer().eval()


def test_a_closed_trainer_does_not_evaluate() -> None:
    trainer = make_trainer()
    trainer.close()
    with pytest.raises(StateError, match="closed"):
        trainer.eval(loader(4))


@pytest.mark.parametrize(
    ("interval", "count"), [(1, 2), ("2ep", 1), ("3ba", 3), ("0.25dur", 4), (0, 0), ("5sp", 6)]
)
def test_evaluation_happens_at_its_interval(interval: Any, count: int) -> None:
    events = Events()
    make_trainer(
        max_duration="2ep", eval_dataloader=loader(4), eval_interval=interval, callbacks=events
    ).fit()
    assert events.names.count("eval_start") == count


def test_a_function_may_say_when() -> None:
    def at_batch_three(state: State, event: Event) -> bool:
        return event is Event.BATCH_END and state.timestamp.batch == "3ba"

    events = Events()
    make_trainer(eval_dataloader=loader(4), eval_interval=at_batch_three, callbacks=events).fit()
    assert events.names.count("eval_start") == 1


def test_the_model_is_judged_in_evaluation_mode_without_gradients() -> None:
    seen: list[Any] = []

    class Look(Callback):
        def eval_after_forward(self, state: State, logger: Logger) -> None:
            seen.append((state.model.training, state.outputs.requires_grad, state.dataloader_label))

    trainer = make_trainer(eval_dataloader=loader(4), callbacks=Look())
    trainer.fit()
    assert seen == [(False, False, "eval")]
    assert trainer.state.model.training


def test_training_goes_on_with_its_own_loader_and_batch() -> None:
    class Look(Callback):
        def batch_end(self, state: State, logger: Logger) -> None:
            self.before = (state.dataloader, state.dataloader_len, state.batch, state.outputs)

        def batch_checkpoint(self, state: State, logger: Logger) -> None:
            after = (state.dataloader, state.dataloader_len, state.batch, state.outputs)
            assert all(a is b or a == b for a, b in zip(self.before, after, strict=True))

    make_trainer(
        eval_dataloader=loader(4), eval_interval="1ba", callbacks=Look(), train_subset_num_batches=3
    ).fit()


def test_an_evaluator_that_fails_leaves_the_training_state_as_it_was() -> None:
    class Broken(Callback):
        def eval_after_forward(self, state: State, logger: Logger) -> None:
            raise ValueError("mine")

    trainer = make_trainer(callbacks=Broken())
    state = trainer.state
    before = state.dataloader, state.dataloader_label, state.batch
    with pytest.raises(ValueError, match="mine"):
        trainer.eval(loader(8))
    assert (state.dataloader, state.dataloader_label, state.batch) == before
    assert state.model.training


def test_evaluation_time_is_counted_apart() -> None:
    trainer = make_trainer(eval_dataloader=loader(12))
    trainer.fit()
    assert trainer.state.eval_timestamp.batch == "3ba"
    assert trainer.state.eval_timestamp.sample == "12sp"
    assert trainer.state.timestamp.batch == "4ba"


def test_averaged_weights_are_the_ones_judged_and_training_keeps_its_own() -> None:
    seen: list[dict[str, torch.Tensor]] = []

    class Look(Callback):
        def eval_start(self, state: State, logger: Logger) -> None:
            seen.append({k: v.clone() for k, v in state.model.state_dict().items()})

    average = EMA(half_life="2ba")
    trainer, with_eval, _ = fitted(
        algorithms=average, eval_dataloader=loader(4), callbacks=[Look()], max_duration="2ep"
    )
    _, without, _ = fitted(algorithms=EMA(half_life="2ba"), max_duration="2ep")
    assert with_eval == without
    own = weights_of(trainer)
    assert any(not torch.equal(seen[-1][name], own[name]) for name in own)


def test_batch_and_microbatch_transforms_apply() -> None:
    seen: list[tuple[str, int]] = []

    def whole(batch: Any) -> Any:
        seen.append(("batch", len(batch[0])))
        return batch

    def part(batch: Any) -> Any:
        seen.append(("part", len(batch[0])))
        return batch

    spec = DataSpec(loader(4), batch_transforms=whole, microbatch_transforms=part)
    evaluator = Evaluator(label="e", dataloader=spec, device_eval_microbatch_size=3)
    make_trainer().eval(evaluator)
    assert seen == [("batch", 4), ("part", 3), ("part", 1)]


@pytest.mark.parametrize("rank", [0, 1, 2])
@pytest.mark.parametrize("count", [1, 7, 9, 10])
def test_samples_that_a_sampler_repeats_are_left_out(rank: int, count: int) -> None:
    dataset = TensorDataset(*samples(count))
    sampler = DistributedSampler(dataset, num_replicas=3, rank=rank, shuffle=False)
    data = DataLoader(dataset, batch_size=2, sampler=sampler)
    seen: list[int] = []
    model = classifier()

    def update_metric(batch: Any, outputs: Any, metric: Any) -> None:
        seen.append(len(batch[0]))
        assert len(outputs) == len(batch[0])
        metric.update(outputs, batch[1])

    model.update_metric = update_metric  # pyright: ignore[reportAttributeAccessIssue]
    trainer = make_trainer(model=model, optimizers=sgd(model))
    evaluator = Evaluator(label="e", dataloader=data, metric_names=["Accuracy"])
    real = len(range(rank, count, 3))
    if real == 0:
        with pytest.warns(UserWarning, match="before the ``update``"):
            trainer.eval(evaluator)
    else:
        trainer.eval(evaluator)
    assert sum(seen) == real


class TestPredict:
    def test_outputs_of_each_batch_are_returned(self) -> None:
        trainer = make_trainer()
        outputs = trainer.predict(loader(10))
        assert [len(each) for each in outputs] == [4, 4, 2]
        expected = trainer.state.model.module(samples(10)[0])
        assert torch.equal(torch.cat(outputs), expected)
        assert not outputs[0].requires_grad

    def test_a_subset_may_be_wanted(self) -> None:
        assert len(make_trainer().predict(loader(10), subset_num_batches=2)) == 2

    def test_outputs_may_be_left_to_callbacks(self) -> None:
        seen: list[int] = []

        class Look(Callback):
            def predict_batch_end(self, state: State, logger: Logger) -> None:
                seen.append(len(state.outputs))

        trainer = make_trainer(callbacks=Look())
        assert trainer.predict(loader(10), return_outputs=False) == []
        assert seen == [4, 4, 2]
        assert trainer.state.predict_timestamp.sample == "10sp"

    def test_the_training_state_is_as_it_was(self) -> None:
        trainer = make_trainer()
        state = trainer.state
        before = state.dataloader, state.dataloader_label, state.dataloader_len, state.batch
        trainer.predict(loader(10))
        after = state.dataloader, state.dataloader_label, state.dataloader_len, state.batch
        assert after == before
        assert state.model.training

    def test_an_error_leaves_the_training_state_as_it_was(self) -> None:
        class Broken(Callback):
            def predict_batch_end(self, state: State, logger: Logger) -> None:
                raise ValueError("mine")

        trainer = make_trainer(callbacks=Broken())
        with pytest.raises(ValueError, match="mine"):
            trainer.predict(loader(4))
        assert trainer.state.dataloader_label == "train"

    def test_a_model_may_predict_before_any_training_data_is_there(self) -> None:
        trainer = make_trainer(train_dataloader=None, max_duration=None)
        assert len(trainer.predict(loader(4))) == 1
