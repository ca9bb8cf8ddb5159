from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from composer.core.callback import Callback
from composer.core.data_spec import DataSpec
from composer.core.logger import Logger
from composer.core.state import State
from composer.core.time import Time
from composer.errors import ConfigError, StateError
from tests.trainer._runs import (
    Events,
    assert_same,
    classifier,
    fitted,
    loader,
    make_trainer,
    samples,
    sgd,
    weights_of,
)


class Stream(IterableDataset[Any]):
    """Samples without a length."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[Any]:
        yield from zip(*samples(self.count), strict=True)


def test_training_moves_the_weights_and_counts_what_it_did() -> None:
    trainer = make_trainer(max_duration="2ep")
    before = weights_of(trainer)
    trainer.fit()
    now = trainer.state.timestamp
    assert (now.epoch, now.batch, now.sample) == (Time(2, "ep"), Time(8, "ba"), Time(32, "sp"))
    assert not torch.equal(before["module.0.weight"], weights_of(trainer)["module.0.weight"])


@pytest.mark.parametrize(
    ("duration", "batches"), [("3ba", 3), ("13sp", 4), ("6ba", 6), ("1ep", 4), (2, 8)]
)
def test_training_ends_with_the_batch_that_reaches_the_duration(
    duration: Any, batches: int
) -> None:
    trainer = make_trainer(max_duration=duration)
    trainer.fit()
    assert trainer.state.timestamp.batch == Time(batches, "ba")


def test_a_duration_in_tokens_counts_tokens() -> None:
    spec = DataSpec(loader(), get_num_tokens_in_batch=lambda batch: 10)
    trainer = make_trainer(train_dataloader=spec, max_duration="25tok")
    trainer.fit()
    assert trainer.state.timestamp.token == Time(30, "tok")


def test_a_second_fit_goes_on_as_if_there_had_been_one() -> None:
    whole = make_trainer(max_duration="3ep")
    whole.fit()
    parts = make_trainer(max_duration="1ep")
    parts.fit()
    parts.fit(duration="2ep")
    assert_same(weights_of(whole), weights_of(parts))
    assert parts.state.timestamp.epoch == Time(3, "ep")


def test_a_second_fit_goes_on_within_an_epoch() -> None:
    whole = make_trainer(max_duration="7ba")
    whole.fit()
    parts = make_trainer(max_duration="3ba")
    parts.fit()
    parts.fit(duration="4ba")
    assert_same(weights_of(whole), weights_of(parts))
    assert parts.state.timestamp.batch_in_epoch == Time(3, "ba")


def test_fit_until_max_duration_needs_something_left_to_do() -> None:
    trainer = make_trainer()
    trainer.fit()
    with pytest.raises(ConfigError, match=r"'1ep' is reached.*fit\(duration=\.\.\.\)"):
        trainer.fit()


def test_reset_time_trains_again_from_zero() -> None:
    trainer = make_trainer()
    trainer.fit()
    trainer.fit(reset_time=True)
    assert trainer.state.timestamp.epoch == Time(1, "ep")
    assert trainer.state.timestamp.batch == Time(4, "ba")


def test_the_data_may_be_given_to_fit() -> None:
    trainer = make_trainer(train_dataloader=None, max_duration=None)
    trainer.fit(train_dataloader=loader(8), duration="1ep", train_dataloader_label="mine")
    assert trainer.state.timestamp.batch == Time(2, "ba")
    assert trainer.state.dataloader_label == "mine"


def test_data_given_to_fit_replaces_the_first() -> None:
    trainer = make_trainer(max_duration="1ep")
    trainer.fit()
    trainer.fit(train_dataloader=loader(8), duration="1ep")
    assert trainer.state.timestamp.batch == Time(6, "ba")


def test_a_subset_of_the_batches_makes_an_epoch() -> None:
    trainer = make_trainer(train_subset_num_batches=3, max_duration="2ep")
    trainer.fit()
    assert trainer.state.timestamp.batch == Time(6, "ba")


def test_a_subset_may_be_given_to_fit() -> None:
    trainer = make_trainer(max_duration="2ep")
    trainer.fit(train_subset_num_batches=1)
    assert trainer.state.timestamp.batch == Time(2, "ba")


def test_a_loader_without_a_length_trains_to_its_end() -> None:
    trainer = make_trainer(
        train_dataloader=DataLoader(Stream(10), batch_size=4), max_duration="2ep"
    )
    trainer.fit()
    assert trainer.state.timestamp.batch == Time(6, "ba")
    assert trainer.state.timestamp.sample == Time(20, "sp")


def test_a_loader_without_a_length_trains_a_subset() -> None:
    trainer = make_trainer(
        train_dataloader=DataLoader(Stream(10), batch_size=4),
        train_subset_num_batches=2,
        max_duration="2ep",
    )
    trainer.fit()
    assert trainer.state.timestamp.batch == Time(4, "ba")


def test_a_list_of_batches_is_a_loader() -> None:
    batches = [samples(4), samples(4, seed=3)]
    trainer = make_trainer(train_dataloader=batches, max_duration="2ep")
    trainer.fit()
    assert trainer.state.timestamp.batch == Time(4, "ba")


def test_a_generator_trains_once() -> None:
    trainer = make_trainer(train_dataloader=(b for b in [samples(4)] * 3), max_duration="3ba")
    trainer.fit()
    assert trainer.state.timestamp.batch == Time(3, "ba")


def test_a_generator_that_ends_too_early_is_told() -> None:
    trainer = make_trainer(train_dataloader=(b for b in [samples(4)] * 3), max_duration="2ep")
    with pytest.warns(UserWarning, match=r"'train' gave no batch in epoch 1.*before.*'2ep'"):
        trainer.fit()
    assert trainer.state.timestamp.epoch == Time(1, "ep")


def test_an_empty_loader_trains_nothing_and_warns() -> None:
    events = Events()
    trainer = make_trainer(train_dataloader=[], max_duration="2ep", callbacks=events)
    with pytest.warns(UserWarning, match="'train' gave no batch"):
        trainer.fit()
    assert trainer.state.timestamp.batch == Time(0, "ba")
    assert events.names[-1] == "fit_end"


def test_batch_transforms_come_before_counting_and_microbatch_transforms_after_cutting() -> None:
    seen: list[tuple[str, int]] = []

    def halve(batch: Any) -> Any:
        seen.append(("batch", len(batch[0])))
        return [part[: len(part) // 2] for part in batch]

    def note(batch: Any) -> Any:
        seen.append(("microbatch", len(batch[0])))
        return batch

    spec = DataSpec(loader(8, 8), batch_transforms=halve, microbatch_transforms=note)
    trainer = make_trainer(train_dataloader=spec, device_train_microbatch_size=3)
    trainer.fit()
    assert seen == [("batch", 8), ("microbatch", 3), ("microbatch", 1)]
    assert trainer.state.timestamp.sample == Time(4, "sp")


def test_a_dictionary_of_a_data_specs_arguments_is_a_loader() -> None:
    trainer = make_trainer(
        train_dataloader={
            "dataloader": loader(8),
            "get_num_tokens_in_batch": lambda batch: 3,
        }
    )
    trainer.fit()
    assert trainer.state.timestamp.token == Time(6, "tok")


def test_a_callback_may_stop_training() -> None:
    class Stop(Callback):
        def batch_end(self, state: State, logger: Logger) -> None:
            if state.timestamp.batch == "3ba":
                state.stop_training()

    trainer = make_trainer(callbacks=Stop(), max_duration="5ep")
    trainer.fit()
    assert trainer.state.timestamp.batch == Time(3, "ba")


def test_the_precision_may_change_for_a_fit() -> None:
    trainer = make_trainer()
    trainer.fit(precision="amp_bf16")
    assert trainer.state.precision.value == "amp_bf16"


def test_evaluators_given_to_fit_replace_the_first() -> None:
    events = Events()
    trainer = make_trainer(eval_dataloader=loader(8), callbacks=events)
    trainer.fit(eval_dataloader=loader(4), eval_interval="2ba")
    assert events.names.count("eval_start") == 2
    assert events.names.count("eval_batch_start") == 2


@pytest.mark.parametrize("arguments", [{"eval_interval": "2ba"}, {"eval_subset_num_batches": 1}])
def test_how_to_evaluate_given_to_fit_without_what_is_refused(arguments: Any) -> None:
    trainer = make_trainer(eval_dataloader=loader(8))
    with pytest.raises(ConfigError, match=r"need an eval_dataloader"):
        trainer.fit(**arguments)


def test_gradients_are_gone_after_training() -> None:
    trainer = make_trainer()
    trainer.fit()
    assert all(p.grad is None for p in trainer.state.model.parameters())


def test_a_closed_trainer_does_not_train() -> None:
    trainer = make_trainer()
    trainer.close()
    trainer.close()
    with pytest.raises(StateError, match="closed"):
        trainer.fit()


def test_the_model_is_back_in_training_mode_for_each_fit() -> None:
    trainer = make_trainer()
    trainer.state.model.eval()
    trainer.fit()
    assert trainer.state.model.training


def test_what_was_measured_is_logged_at_its_step() -> None:
    _, _, memory = fitted(train_dataloader=loader(8), eval_dataloader=loader(8))
    steps: dict[str, list[int | None]] = {}
    for step, metrics in memory.metrics:
        for name in metrics:
            steps.setdefault(name, []).append(step)
    assert steps == {
        "time/epoch": [0, 2],
        "time/batch": [0, 1, 2],
        "time/sample": [0, 1, 2],
        "time/batch_in_epoch": [0, 1, 2],
        "time/sample_in_epoch": [0, 1, 2],
        "trainer/device_train_microbatch_size": [0, 1],
        "loss/train/total": [0, 1],
        "metrics/train/MulticlassAccuracy": [0, 1, 2],
        "metrics/eval/CrossEntropy": [2],
        "metrics/eval/MulticlassAccuracy": [2],
    }


def test_the_times_logged_are_those_before_the_batch() -> None:
    _, _, memory = fitted(train_dataloader=loader(8))
    assert memory.series("time/batch") == [0, 1, 2]
    assert memory.series("time/sample") == [0, 4, 8]


def test_the_state_holds_the_last_training_metrics() -> None:
    trainer, _, memory = fitted()
    value = trainer.state.train_metric_values["MulticlassAccuracy"]
    assert float(value) == memory.series("metrics/train/MulticlassAccuracy")[-1]


def test_an_error_of_the_user_leaves_what_was_logged_with_the_loggers() -> None:
    class Broken(Callback):
        def batch_end(self, state: State, logger: Logger) -> None:
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as caught:
        fitted(callbacks=[Broken()])
    assert "on 'batch_end' at epoch 0, batch 1" in caught.value.__notes__[0]


def test_an_error_of_the_user_does_not_spoil_the_next_fit() -> None:
    class Once(Callback):
        raised = False

        def after_loss(self, state: State, logger: Logger) -> None:
            if not self.raised:
                self.raised = True
                raise ValueError("mine")

    trainer = make_trainer(callbacks=Once())
    with pytest.raises(ValueError, match="mine"):
        trainer.fit()
    trainer.fit()
    plain = make_trainer()
    plain.fit()
    assert_same(weights_of(trainer), weights_of(plain))


def test_a_default_optimizer_is_announced(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "composer"):
        trainer = make_trainer(optimizers=None)
    assert "no optimizer was given: training with DecoupledSGDW(lr=0.1)" in caplog.text
    assert type(trainer.state.optimizers[0]).__name__ == "DecoupledSGDW"


def test_several_optimizers_all_step() -> None:
    one = classifier()
    together = make_trainer(model=one, optimizers=sgd(one))
    two = classifier()
    apart = make_trainer(model=two, optimizers=[sgd(two.module[0]), sgd(two.module[2])])
    together.fit()
    apart.fit()
    assert_same(weights_of(together), weights_of(apart))


def test_an_optimizer_that_asks_for_gradients_itself_gets_them() -> None:
    model = classifier()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4)
    _, losses, _ = fitted(
        model=model, optimizers=optimizer, train_dataloader=loader(16, 16), max_duration="5ep"
    )
    assert losses[-1] < 0.7 * losses[0]


def test_such_an_optimizer_takes_the_steps_that_it_takes_by_hand() -> None:
    model, by_hand = classifier(), classifier().module
    optimizer = torch.optim.LBFGS(by_hand.parameters(), lr=0.5, max_iter=4)
    inputs, targets = samples(16)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(by_hand(inputs), targets)
        loss.backward()
        return loss

    optimizer.step(closure)
    fitted(
        model=model,
        optimizers=torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4),
        train_dataloader=loader(16, 16),
    )
    for own, expected in zip(model.module.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(own, expected)


def test_such_an_optimizer_does_not_share_a_run() -> None:
    model = classifier()
    optimizers = [torch.optim.LBFGS(model.module[0].parameters()), sgd(model.module[2])]
    with pytest.raises(ConfigError, match="LBFGS computes gradients itself"):
        make_trainer(model=model, optimizers=optimizers)


def test_bfloat16_training_learns_on_the_cpu() -> None:
    seen: set[torch.dtype] = set()

    class Look(Callback):
        def after_forward(self, state: State, logger: Logger) -> None:
            seen.add(state.outputs.dtype)

    _, losses, _ = fitted(precision="amp_bf16", max_duration="20ep", callbacks=[Look()])
    assert seen == {torch.bfloat16}
    assert losses[-1] < losses[0]


def test_a_trainer_that_is_let_go_is_freed() -> None:
    trainer = make_trainer()
    trainer.fit()
    engine = trainer.engine
    import weakref

    reference = weakref.ref(engine)
    del trainer, engine
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device_train_microbatch_size": 0}, "device_train_microbatch_size=0"),
        ({"train_subset_num_batches": 0}, "train_subset_num_batches=0"),
        ({"duration": "30s"}, "duration='30s'"),
        ({"precision": "amp_fp16"}, "'amp_fp16' does not run on device 'cpu'"),
    ],
)
def test_a_bad_argument_of_fit_is_refused_and_leaves_the_run_as_it_was(
    arguments: Any, message: str
) -> None:
    trainer = make_trainer()
    before = trainer.state.train_dataloader
    with pytest.raises(ConfigError, match=message):
        trainer.fit(train_dataloader=loader(4), **arguments)
    assert trainer.state.train_dataloader is before
