"""What every training method must do, whatever it does.

The methods are those of the registry; `tests/contract/_cases.py` holds arguments for each.
"""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from composer.core.callback import Callback
from composer.core.event import Event
from composer.core.logger_destination import LoggerDestination
from composer.core.precision import get_precision_context
from composer.core.weight_view import evaluation_weights
from composer.errors import ComposerError
from composer.registry import ALGORITHMS
from tests.contract._cases import CASES, Case, first_cases
from tests.contract._method_runs import (
    assert_close,
    assert_equal,
    assert_finite,
    make_trainer,
    tensors_of,
    weights,
)
from tests.contract._workloads import NUM_SAMPLES

all_cases = pytest.mark.parametrize("case", CASES, ids=str)
first_of_all = pytest.mark.parametrize("case", first_cases(), ids=str)


def test_every_method_has_a_case() -> None:
    assert set(ALGORITHMS.names()) == {case.name for case in CASES}


# By itself.


@all_cases
def test_repr_shows_every_argument(case: Case) -> None:
    text = repr(case.make())
    parameters = inspect.signature(ALGORITHMS.get(case.name)).parameters
    assert text.startswith(f"{case.name}(")
    assert all(f"{name}=" in text for name in parameters)


@all_cases
def test_json_arguments_make_an_equal_method(case: Case) -> None:
    method = case.make()
    arguments = json.loads(json.dumps(method.arguments()))
    assert set(arguments) == set(inspect.signature(type(method)).parameters)
    again = type(method)(**arguments)
    assert repr(again) == repr(method)
    assert again.arguments() == method.arguments()
    assert dict(again.events) == dict(method.events)


@all_cases
def test_copies_and_pickles_are_equal(case: Case) -> None:
    method = case.make()
    for again in (copy.deepcopy(method), pickle.loads(pickle.dumps(method))):
        assert repr(again) == repr(method)
        assert dict(again.events) == dict(method.events)


ARGUMENTS = [
    pytest.param(case, name, id=f"{case.name}-{name}")
    for case in first_cases()
    for name in inspect.signature(ALGORITHMS.get(case.name)).parameters
    # A key may be anything that a batch understands.
    if not name.endswith("_key")
]


@pytest.mark.parametrize(("case", "name"), ARGUMENTS)
def test_an_argument_of_the_wrong_kind_is_refused_by_its_name(case: Case, name: str) -> None:
    for wrong in (object(), float("nan")):
        with pytest.raises(ComposerError, match=name):
            ALGORITHMS.get(case.name)(**case.arguments | {name: wrong})


@all_cases
def test_its_handlers_exist_and_its_class_says_what_it_changes(case: Case) -> None:
    method = case.make()
    assert all(callable(getattr(method, name)) for name in method.events.values())
    assert method.writes
    assert ALGORITHMS.get(case.name).__doc__
    module = inspect.getmodule(type(method))
    assert module is not None
    for heading in ("Idea:", "When it helps:", "When it hurts:", "Suggested values:"):
        assert heading in " ".join((module.__doc__ or "").split())


# In a run.


class Traces(LoggerDestination):
    def __init__(self) -> None:
        self.seen: set[str] = set()

    def log_traces(self, traces: dict[str, Any]) -> None:
        self.seen |= traces.keys()


@all_cases
def test_it_acts_on_its_events_only_and_never_in_evaluation(case: Case) -> None:
    traces = Traces()
    trainer = make_trainer(case, loggers=traces, eval_dataloader=case.workload.loader(8))
    trainer.fit()
    trainer.eval()
    trainer.predict(case.workload.loader(8))
    acted = {Event(key.rsplit("/", 1)[1]) for key in traces.seen}
    assert acted
    assert not any(event.is_eval or event.is_predict for event in acted)
    assert acted <= set(trainer.state.algorithms[0].events)


class EvaluationBatches(Callback):
    def __init__(self) -> None:
        self.batches: list[Any] = []

    def eval_batch_end(self, state: Any, logger: Any) -> None:
        self.batches.append(state.batch)


@all_cases
def test_evaluation_and_prediction_see_their_own_data_and_the_plain_model(case: Case) -> None:
    watcher = EvaluationBatches()
    trainer = make_trainer(case, callbacks=watcher, max_duration="3ba")
    trainer.fit()
    whole = case.workload.batch()
    trainer.eval(eval_dataloader=case.workload.loader(NUM_SAMPLES))
    for seen, own in zip(tensors_of(watcher.batches[0]), tensors_of(whole), strict=True):
        assert torch.equal(seen, own)
    predicted = trainer.predict(case.workload.loader(NUM_SAMPLES))
    model = trainer.state.model.eval()
    precision = get_precision_context(trainer.state.precision, device_type="cpu")
    with evaluation_weights(trainer.state), torch.no_grad(), precision:
        expected = model(whole)
    for seen, own in zip(tensors_of(predicted), tensors_of(expected), strict=True):
        torch.testing.assert_close(seen, own)


@all_cases
def test_a_copy_of_the_trained_model_computes_the_same(case: Case) -> None:
    trainer = make_trainer(case, "2ba")
    trainer.fit()
    methods = copy.deepcopy(trainer.state.algorithms)
    assert [repr(method) for method in methods] == [repr(m) for m in trainer.state.algorithms]
    model = trainer.state.model.eval()
    again = copy.deepcopy(model)
    assert not {*again.parameters()} & {*model.parameters()}
    batch = case.workload.batch()
    for seen, own in zip(tensors_of(again(batch)), tensors_of(model(batch)), strict=True):
        torch.testing.assert_close(seen, own)


@all_cases
def test_evaluating_in_between_does_not_change_training(case: Case) -> None:
    plain = make_trainer(case)
    plain.fit()
    # With a generator of its own: a loader draws a seed from the global one in each pass.
    loader = case.workload.loader(8, generator=torch.Generator())
    evaluated = make_trainer(case, eval_dataloader=loader, eval_interval="1ba")
    evaluated.fit()
    assert_equal(weights(plain), weights(evaluated))


@all_cases
def test_the_loss_stays_finite_over_a_second_fit(case: Case) -> None:
    # In batches: what follows the share that is done acts in these few epochs too.
    trainer = make_trainer(case, "4ba")
    trainer.fit()
    before = weights(trainer)
    trainer.fit(duration="4ba")
    after = weights(trainer)
    assert trainer.state.timestamp.batch == 8
    assert all(value.isfinite().all() for value in after.values())
    assert any(not torch.equal(before[name], after[name]) for name in after)


@all_cases
def test_it_works_with_microbatches(case: Case) -> None:
    trainer = make_trainer(case, "2ba", device_train_microbatch_size=2)
    trainer.fit()
    assert_finite(trainer)


@all_cases
def test_it_works_in_bfloat16(case: Case) -> None:
    trainer = make_trainer(case, "2ba", precision="amp_bf16")
    trainer.fit()
    assert_finite(trainer)


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


# torch looks at gradients where a graph breaks, and hides the warning that this makes; where
# warnings are errors it cannot.
compiled = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")


def check_compiled(case: Case, **options: Any) -> None:
    """A compiled model trains to the weights that it trains to as it is."""
    plain = make_trainer(case, "2ba")
    plain.fit()
    trainer = make_trainer(case, "2ba", compile_config=options)
    trainer.fit()
    # In low precision operations that are fused are not rounded in between.
    share = 0.02 if "precision" in case.keywords else 1e-4
    assert_close(weights(plain), weights(trainer), share)


@compiled
@first_of_all
@pytest.mark.usefixtures("fresh_compiler")
def test_it_trains_alike_on_a_compiled_model(case: Case) -> None:
    check_compiled(case, backend="aot_eager")


@pytest.mark.full
# Compiling takes minutes where other work runs.
@pytest.mark.timeout(900)
@compiled
@all_cases
@pytest.mark.usefixtures("fresh_compiler")
# torch's own: its code generator imports what torch has deprecated.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_it_trains_alike_on_a_model_compiled_to_native_code(case: Case) -> None:
    # Native code draws random numbers of its own otherwise.
    with torch._inductor.config.patch(fallback_random=True):
        check_compiled(case)


@all_cases
def test_an_interrupted_run_equals_one_that_was_not(case: Case, tmp_path: Path) -> None:
    # 4 batches an epoch: the checkpoint lies in the middle of the second one.
    straight = make_trainer(
        case, save_folder=str(tmp_path), save_interval="6ba", save_filename="ba{batch}.pt"
    )
    straight.fit()
    resumed = make_trainer(case, load_path=str(tmp_path / "ba6.pt"))
    resumed.fit()
    assert resumed.state.timestamp.batch == straight.state.timestamp.batch
    assert_equal(weights(straight), weights(resumed))
    with evaluation_weights(straight.state), evaluation_weights(resumed.state):
        assert_equal(weights(straight), weights(resumed))


@pytest.mark.parametrize("case", [c for c in CASES if c.make().required_on_load()], ids=str)
def test_a_checkpoint_brings_the_surgery_it_needs(case: Case, tmp_path: Path) -> None:
    trained = make_trainer(
        case, "2ba", save_folder=str(tmp_path), save_interval="2ba", save_filename="ba{batch}.pt"
    )
    trained.fit()
    with pytest.warns(UserWarning, match=f"trained with {case.name}"):
        loaded = make_trainer(
            [], workload=case.workload, load_path=str(tmp_path / "ba2.pt"), **case.keywords
        )
    assert [repr(method) for method in loaded.state.algorithms] == [repr(case.make())]
    assert_equal(weights(trained), weights(loaded))
