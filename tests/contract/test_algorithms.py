"""What every training method must do, whatever it does.

The methods are those of the registry; `CASES` holds arguments for each. A new method needs a line
there, and a model of its own where the small network has nothing it could act on.
"""

from __future__ import annotations

import copy
import inspect
import itertools
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, TensorDataset

from composer.core.algorithm import Algorithm
from composer.core.callback import Callback
from composer.core.event import Event
from composer.core.logger_destination import LoggerDestination
from composer.core.weight_view import evaluation_weights
from composer.registry import ALGORITHMS
from composer.trainer.trainer import Trainer
from tests.algorithms._runs import classifier, image_batch


@dataclass
class Case:
    """One way to use a method."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    model: Callable[[], torch.nn.Module] = classifier

    def make(self) -> Algorithm:
        return ALGORITHMS.get(self.name)(**self.arguments)

    def __str__(self) -> str:
        return f"{self.name}-{'-'.join(f'{k}={v}' for k, v in self.arguments.items())}"


CASES = [
    Case("BlurPool"),
    Case("BlurPool", {"blur_first": False, "replace_maxpools": False}),
    Case("ChannelsLast"),
    Case("CutMix"),
    Case("CutMix", {"interpolate_loss": True, "uniform_sampling": True, "alpha": 0.5}),
    Case("EMA", {"half_life": "2ba"}),
    Case("EMA", {"half_life": None, "smoothing": 0.5, "ema_start": "0.25dur"}),
    Case("EMA", {"half_life": "1ep"}),
    Case("GradientClipping", {"clipping_type": "norm", "clipping_threshold": 0.1}),
    Case("GradientClipping", {"clipping_type": "value", "clipping_threshold": 0.01}),
    Case("GradientClipping", {"clipping_type": "adaptive", "clipping_threshold": 0.01}),
    Case("LabelSmoothing", {"smoothing": 0.2}),
    Case("MixUp", {"alpha": 1.0}),
    Case("MixUp", {"interpolate_loss": True}),
    Case("ProgressiveResizing", {"delay_fraction": 0.0}),
    Case("ProgressiveResizing", {"mode": "crop", "initial_scale": 0.4, "size_increment": 2}),
]
FIRST = [next(case for case in CASES if case.name == name) for name in {c.name: 0 for c in CASES}]
all_cases = pytest.mark.parametrize("case", CASES, ids=str)

NUM_SAMPLES = 16
BATCH_SIZE = 4


def images() -> TensorDataset:
    return TensorDataset(*image_batch(NUM_SAMPLES))


def make_trainer(
    case_or_methods: Case | list[Algorithm] | None, max_duration: str = "8ba", **keywords: Any
) -> Trainer:
    torch.manual_seed(0)
    is_case = isinstance(case_or_methods, Case)
    model = keywords.pop("model", case_or_methods.model if is_case else classifier)()
    methods = [case_or_methods.make()] if is_case else case_or_methods
    keywords = {
        "model": model,
        "algorithms": methods,
        "max_duration": max_duration,
        "train_dataloader": DataLoader(images(), BATCH_SIZE, shuffle=True),
        "optimizers": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
        "progress_bar": False,
        "seed": 17,
        **keywords,
    }
    return Trainer(**keywords)


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.state.model.state_dict().items()}


def assert_equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    different = [name for name in left if not torch.equal(left[name], right[name])]
    assert not different


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
    trainer = make_trainer(case, loggers=traces, eval_dataloader=DataLoader(images(), 8))
    trainer.fit()
    trainer.eval()
    trainer.predict(DataLoader(images(), 8))
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
    trainer.eval(eval_dataloader=DataLoader(images(), NUM_SAMPLES))
    for seen, own in zip(watcher.batches[0], images().tensors, strict=True):
        assert torch.equal(seen, own)
    predicted = trainer.predict(DataLoader(images(), NUM_SAMPLES))
    model = trainer.state.model.eval()
    with evaluation_weights(trainer.state), torch.no_grad():
        expected = model(images().tensors)
    torch.testing.assert_close(torch.cat(predicted), expected)


@all_cases
def test_evaluating_in_between_does_not_change_training(case: Case) -> None:
    plain = make_trainer(case)
    plain.fit()
    # With a generator of its own: a loader draws a seed from the global one in each pass.
    loader = DataLoader(images(), 8, generator=torch.Generator())
    evaluated = make_trainer(case, eval_dataloader=loader, eval_interval="1ba")
    evaluated.fit()
    assert_equal(weights(plain), weights(evaluated))


@all_cases
def test_the_loss_stays_finite_over_a_second_fit(case: Case) -> None:
    trainer = make_trainer(case, "1ep")
    trainer.fit()
    before = weights(trainer)
    trainer.fit(duration="1ep")
    after = weights(trainer)
    assert trainer.state.timestamp.epoch == 2
    assert all(value.isfinite().all() for value in after.values())
    assert any(not torch.equal(before[name], after[name]) for name in after)


@all_cases
def test_it_works_with_microbatches(case: Case) -> None:
    trainer = make_trainer(case, "2ba", device_train_microbatch_size=2)
    trainer.fit()
    assert all(value.isfinite().all() for value in weights(trainer).values())


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
        loaded = make_trainer([], model=case.model, load_path=str(tmp_path / "ba2.pt"))
    assert [repr(method) for method in loaded.state.algorithms] == [repr(case.make())]
    assert_equal(weights(trained), weights(loaded))


class HostReads(TorchDispatchMode):
    """Counts the operations that bring a value to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += "_local_scalar_dense" in str(func)
        return func(*args, **(kwargs or {}))


def host_reads(case: Case | None) -> int:
    inputs, labels = images().tensors
    # Probabilities: that indices are valid is looked at on the CPU, and only there.
    data = TensorDataset(inputs, torch.nn.functional.one_hot(labels).float())
    trainer = make_trainer(case, train_dataloader=DataLoader(data, BATCH_SIZE))
    trainer.state.train_metrics = {}
    with HostReads() as reads:
        trainer.fit()
    return reads.count


@all_cases
def test_it_reads_nothing_back_from_the_device(case: Case) -> None:
    assert host_reads(case) <= host_reads(None)


# Together.


def test_what_is_wrapped_last_is_unwrapped_first(monkeypatch: pytest.MonkeyPatch) -> None:
    acted: dict[Event, list[str]] = {Event.BEFORE_LOSS: [], Event.AFTER_LOSS: []}
    methods = [case.make() for case in FIRST if {*case.make().events} & acted.keys()]
    for method in methods:
        monkeypatch.setattr(method, "apply", partial(_noted_apply, method, acted))
    make_trainer(methods, "1ba").fit()
    assert len(acted[Event.BEFORE_LOSS]) == len(methods) > 1
    assert acted[Event.AFTER_LOSS] == acted[Event.BEFORE_LOSS][::-1]


def _noted_apply(method: Algorithm, acted: Any, event: Event, state: Any, logger: Any) -> Any:
    if event in acted:
        acted[event].append(type(method).__name__)
    return type(method).apply(method, event, state, logger)


def test_all_methods_train_together() -> None:
    trainer = make_trainer([case.make() for case in FIRST if case.name != "CutMix"], "1ep")
    trainer.fit()
    assert all(value.isfinite().all() for value in weights(trainer).values())


@pytest.mark.full
@pytest.mark.parametrize("pair", list(itertools.permutations(FIRST, 2)), ids=lambda p: p)
def test_any_two_methods_train_together(pair: tuple[Case, Case]) -> None:
    trainer = make_trainer([case.make() for case in pair], "2ba")
    trainer.fit()
    assert all(value.isfinite().all() for value in weights(trainer).values())
