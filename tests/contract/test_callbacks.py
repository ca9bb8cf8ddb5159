"""What every callback must do, whatever it watches.

The callbacks are those of the registry; `CASES` says how to make each of them so that it acts in a
run of a few batches. A new callback needs a line there.
"""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from composer.core.callback import Callback
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.state import State
from composer.distributed import comm
from composer.registry import CALLBACKS
from tests._dist import run_ranks
from tests.core._doubles import Memory
from tests.house.source import REPOSITORY
from tests.trainer._runs import assert_same, loader, make_trainer, weights_of

# Off CUDA these say that they do nothing.
pytestmark = pytest.mark.filterwarnings("ignore:.*(CUDA devices).*:UserWarning")

ACCURACY = "MulticlassAccuracy"
# One loads other weights into the model, which is all that it is for; one needs a language model.
NO_WATCHERS = {"Generate", "LoadCheckpoint"}


@dataclass(frozen=True)
class Case:
    """One way to use a callback.

    Attributes:
        arguments: of its constructor; ``{folder}`` in a text is filled in.
        writes: the fields of State that it is there to change.
    """

    name: str
    arguments: tuple[tuple[str, Any], ...] = ()
    writes: tuple[str, ...] = ()

    def make(self, folder: Path | str = "unused") -> Callback:
        arguments = {
            name: value.replace("{folder}", str(folder)) if isinstance(value, str) else value
            for name, value in self.arguments
        }
        return CALLBACKS.get(self.name)(**arguments)

    def __str__(self) -> str:
        return "-".join([self.name, *(f"{k}={v}" for k, v in self.arguments)])


def case(name: str, writes: tuple[str, ...] = (), **arguments: Any) -> Case:
    return Case(name, tuple(arguments.items()), writes)


CASES = [
    case("ActivationMonitor", interval="2ba", only_log_wandb=False),
    case("CheckpointSaver", folder="{folder}/saved", save_interval="3ba"),
    case("EarlyStopper", monitor=ACCURACY, dataloader_label="eval", patience=50),
    case("EarlyStopper", monitor="loss/train/total", dataloader_label="train", patience="50ba"),
    case("ExportForInferenceCallback", save_format="safetensors", save_path="{folder}/model"),
    case("FreeOutputs", writes=("outputs",)),
    case("HangMonitor", folder="{folder}/hang"),
    case("ImageVisualizer", interval="2ba"),
    case("LRMonitor"),
    case("LossSpikeMonitor", action="skip", warmup_batches=3),
    case("LossSpikeMonitor", action="warn"),
    case("MemoryMonitor"),
    case("MemorySnapshot"),
    case("NaNMonitor"),
    case("OOMObserver"),
    case("OptimizerMonitor", batch_log_interval=2),
    case("RuntimeEstimator"),
    case("SpeedMonitor", window_size=2),
    case("StallMonitor", interval=2),
    case("SystemMetricsMonitor", log_all_data=True),
    case("ThresholdStopper", monitor=ACCURACY, dataloader_label="eval", threshold=2.0),
]
all_cases = pytest.mark.parametrize("case", CASES, ids=str)


def run(callbacks: list[Callback], **arguments: Any) -> Any:
    """Make a small run that evaluates after each epoch of four batches."""
    given = {"max_duration": "2ep", "eval_dataloader": loader(), "loggers": Memory()}
    return make_trainer(**{**given, **arguments}, callbacks=callbacks)


def test_every_callback_has_a_case() -> None:
    assert set(CALLBACKS.names()) - NO_WATCHERS == {case.name for case in CASES}


# By itself.


@all_cases
def test_copies_and_pickles_are_equal(case: Case) -> None:
    callback = case.make()
    for again in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):
        assert vars(again).keys() == vars(callback).keys()
        assert again.state_dict() == callback.state_dict()


@all_cases
def test_it_can_be_pickled_after_a_run(case: Case, tmp_path: Path) -> None:
    callback = case.make(tmp_path)
    trainer = run([callback], max_duration="2ba")
    trainer.fit()
    trainer.close()
    again = pickle.loads(pickle.dumps(callback))
    assert again.state_dict() == callback.state_dict()


@all_cases
def test_it_is_asked_only_on_events_it_acts_on(case: Case) -> None:
    cls = CALLBACKS.get(case.name)
    assert cls.run_event is Callback.run_event
    acts_on = [e for e in Event if getattr(cls, e.value) is not getattr(Callback, e.value)]
    assert acts_on


@all_cases
def test_its_class_and_the_page_of_callbacks_say_what_it_does(case: Case) -> None:
    assert CALLBACKS.get(case.name).__doc__
    page = (REPOSITORY / "docs" / "callbacks.md").read_text("utf-8")
    assert f"| `{case.name}` |" in page


# In a run.


@all_cases
def test_it_does_not_change_what_is_trained(case: Case, tmp_path: Path) -> None:
    plain, watched = run([]), run([case.make(tmp_path)])
    plain.fit()
    watched.fit()
    assert_same(weights_of(plain), weights_of(watched))


class Guard(Callback):
    """Forwards events to a callback and notes the fields of State that it sets."""

    def __init__(self, watched: Callback) -> None:
        self.watched = watched
        self.changed: set[str] = set()

    def run_event(self, event: Event, state: State, logger: Logger) -> None:
        before = dict(vars(state))
        self.watched.run_event(event, state, logger)
        self.changed |= {k for k, v in vars(state).items() if v is not before.get(k)}


@all_cases
def test_it_sets_no_field_of_the_state(case: Case, tmp_path: Path) -> None:
    guard = Guard(case.make(tmp_path))
    trainer = run([guard])
    trainer.fit()
    trainer.predict(loader())
    assert guard.changed <= set(case.writes)


@all_cases
def test_it_goes_through_evaluation_prediction_and_a_second_fit(case: Case, tmp_path: Path) -> None:
    trainer = run([case.make(tmp_path)], max_duration="1ep")
    trainer.eval()
    trainer.fit()
    trainer.eval()
    trainer.predict(loader())
    trainer.fit(duration="1ep")
    assert trainer.state.timestamp.epoch == 2
    trainer.close()


@all_cases
def test_it_works_with_microbatches(case: Case, tmp_path: Path) -> None:
    trainer = run([case.make(tmp_path)], device_train_microbatch_size=2, max_duration="3ba")
    trainer.fit()
    assert trainer.state.timestamp.batch == 3


def comparable(callback: Callback) -> Any:
    """Return the state, without what a clock has measured and where files lie."""
    kept = {k: v for k, v in callback.state_dict().items() if "wct" not in k}
    kept.pop("all_saved_checkpoints_to_timestamp", None)
    return {k: v.keys() if k == "evaluations" else v for k, v in kept.items()}


@all_cases
def test_an_interrupted_run_goes_on_as_if_it_were_not(case: Case, tmp_path: Path) -> None:
    # Four batches an epoch: the checkpoint lies in the middle of the second one.
    straight, resumed = case.make(tmp_path / "a"), case.make(tmp_path / "b")
    first = run([straight], max_duration="3ep")
    first.fit(duration="6ba")
    path = first.save_checkpoint(str(tmp_path / "here.pt"))
    first.fit(duration="6ba")
    second = run([resumed], max_duration="3ep", load_path=path)
    second.fit()
    assert second.state.timestamp.batch == first.state.timestamp.batch
    assert_same(weights_of(first), weights_of(second))
    assert comparable(resumed) == comparable(straight)


def train_on_two_ranks(folder: str) -> tuple[list[torch.Tensor], list[str]]:
    """Train with one of each callback, and return the weights and what was logged."""
    by_name = {each.name: each for each in CASES if each.name not in ("MemorySnapshot",)}
    memory = Memory()
    data = loader(sampler=comm.get_sampler(loader().dataset))
    held_out = loader(sampler=comm.get_sampler(loader().dataset))
    trainer = run(
        [each.make(folder) for each in by_name.values()],
        train_dataloader=data,
        eval_dataloader=held_out,
        loggers=memory,
        max_duration="3ep",
    )
    trainer.fit()
    trainer.eval()
    trainer.predict(held_out)
    trainer.close()
    names = {name for _, metrics in memory.metrics for name in metrics}
    return list(weights_of(trainer).values()), sorted(names)


def test_all_of_them_work_on_two_ranks(tmp_path: Path) -> None:
    (left, names), (right, _) = run_ranks(2, train_on_two_ranks, str(tmp_path), timeout_s=120)
    for a, b in zip(left, right, strict=True):
        assert torch.equal(a, b)
    wanted = "lr-SGD/group0 l2_norm/grad/global cpu_percentage_rank_1 stall/rank1/backward"
    for expected in wanted.split():
        assert expected in names


def test_all_of_them_work_together(tmp_path: Path) -> None:
    memory = Memory()
    trainer = run([each.make(tmp_path) for each in CASES], loggers=memory, max_duration="3ep")
    trainer.fit()
    trainer.close()
    assert trainer.state.timestamp.epoch == 3
    assert memory.series("throughput/batches_per_sec")
