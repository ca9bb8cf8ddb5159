"""What every logger must do, whatever it does with what it gets.

The loggers are those of the registry; `CASES` says how to make each of them without a network. A
new logger needs a line there.
"""

from __future__ import annotations

import copy
import io
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import torch

from composer.core.algorithm import Algorithm
from composer.core.callback import Callback
from composer.core.event import Event
from composer.core.logger import Logger
from composer.core.logger_destination import LoggerDestination
from composer.core.state import State
from composer.loggers.cometml_logger import CometMLLogger
from composer.loggers.console_logger import ConsoleLogger
from composer.loggers.file_logger import FileLogger
from composer.loggers.in_memory_logger import InMemoryLogger
from composer.loggers.mlflow_logger import MLFlowLogger
from composer.loggers.progress_bar_logger import ProgressBarLogger
from composer.loggers.remote_uploader_downloader import RemoteUploaderDownloader
from composer.loggers.slack_logger import SlackLogger
from composer.loggers.tensorboard_logger import TensorboardLogger
from composer.loggers.wandb_logger import WandBLogger
from composer.models.base import ComposerModel
from composer.registry import LOGGERS
from composer.trainer.trainer import Trainer
from tests.loggers._mlflow import make_store

# The base itself.
NO_LOGGERS = {"LoggerDestination"}


@dataclass
class Place:
    """Where a logger may write."""

    folder: Path
    stream: io.StringIO = field(default_factory=io.StringIO)

    def content(self) -> str:
        """Everything that was written, files and stream, but for what clients say of themselves."""
        files = sorted(
            path
            for path in self.folder.rglob("*")
            # W&B's own notes on how it ends come a moment after it has ended.
            if path.is_file() and not path.name.startswith("debug")
        )
        texts = [path.read_bytes().decode("utf-8", "replace") for path in files]
        return self.stream.getvalue() + "".join(texts)


def make_slack_logger(place: Place) -> SlackLogger:
    """Return a logger whose messages nobody takes."""
    logger = SlackLogger([".*"], slack_logging_api_key="no", channel_id="C")
    logger.client.base_url = "http://127.0.0.1:9/"
    return logger


Make = Callable[[Place], LoggerDestination]
CASES: dict[str, list[Make]] = {
    "CometMLLogger": [
        lambda place: CometMLLogger(
            exp_kwargs={
                "offline_directory": str(place.folder / "comet"),
                "display_summary_level": 0,
                "log_env_details": False,
                "log_git_metadata": False,
            }
        )
    ],
    "ConsoleLogger": [
        lambda place: ConsoleLogger("2ba", place.stream, log_traces=True),
        lambda place: ConsoleLogger("1ep", place.stream),
    ],
    "FileLogger": [lambda place: FileLogger(f"{place.folder}/log.txt", flush_interval=2)],
    "InMemoryLogger": [lambda place: InMemoryLogger()],
    "MLFlowLogger": [
        lambda place: MLFlowLogger(tracking_uri=make_store(place.folder), log_system_metrics=False)
    ],
    "ProgressBarLogger": [
        lambda place: ProgressBarLogger(place.stream, log_traces=True),
        lambda place: ProgressBarLogger(place.stream),
    ],
    "RemoteUploaderDownloader": [
        lambda place: RemoteUploaderDownloader(f"file://{place.folder}/bucket"),
    ],
    "SlackLogger": [make_slack_logger],
    "TensorboardLogger": [lambda place: TensorboardLogger(str(place.folder))],
    "WandBLogger": [
        lambda place: WandBLogger(init_kwargs={"dir": str(place.folder), "mode": "offline"})
    ],
}


class Uncopyable:
    """Something that is logged and must not be copied or pickled to be shown."""

    def __deepcopy__(self, memo: Any) -> Self:
        raise AssertionError("copied")

    def __reduce__(self) -> Any:
        raise AssertionError("pickled")

    def __repr__(self) -> str:
        return "<uncopyable>"


def odd_values() -> dict[str, Any]:
    """Values that arrive once in a while."""
    return {
        "nan": float("nan"),
        "infinite": float("inf"),
        "minus infinite": float("-inf"),
        "tiny": 5e-324,
        "huge": 10**30,
        "bool": True,
        "none": None,
        "text": 'a "quoted" text\nin two lines\r\twith {braces} and %s',
        "größe/温度/🙂": 1.5,
        "n" * 2000: 1,
        "": 2,
        "loss/train/": 3,
        "loss/train/total": float("nan"),
        "metrics/train/a\nb": float("inf"),
        "numpy": np.float32(1.5),
        "array": np.arange(3),
        "vector": torch.arange(3),
        "scalar": torch.tensor(0.5, requires_grad=True),
        "half": torch.tensor(0.5, dtype=torch.bfloat16),
        "nested": {"a": [1, {"b": (2, None, {3})}], 4: float("nan")},
        "empty": {},
        "uncopyable": Uncopyable(),
    }


def log_everything(logger: Logger) -> None:
    """Call every method with every odd value."""
    values = odd_values()
    logger.log_hyperparameters(values)
    logger.log_metrics(values)
    logger.log_metrics({})
    logger.log_metrics({"own step": 1}, step=10**6)
    logger.log_table(["name", "value"], [[name, value] for name, value in values.items()])
    logger.log_table([], [], name="größe\n", step=3)
    logger.log_traces({"algorithm_traces/A/batch_end": 1, "odd": None})
    logger.log_images(torch.zeros(2, 3, 4, 4), "images")
    logger.log_images([np.zeros((4, 4, 3))], channels_last=True, masks={"m": np.zeros((4, 4))})
    logger.flush()


class LogAlways(Callback):
    """Logs odd values at many moments."""

    def init(self, state: State, logger: Logger) -> None:
        log_everything(logger)

    def batch_end(self, state: State, logger: Logger) -> None:
        log_everything(logger)

    def eval_end(self, state: State, logger: Logger) -> None:
        log_everything(logger)

    def predict_end(self, state: State, logger: Logger) -> None:
        log_everything(logger)

    def close(self, state: State, logger: Logger) -> None:
        log_everything(logger)


class Act(Algorithm):
    """Leaves a trace."""

    def match(self, event: Event, state: State) -> bool:
        return event is Event.BATCH_START

    def apply(self, event: Event, state: State, logger: Logger) -> None:
        pass


class Net(ComposerModel):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)

    def forward(self, batch: Any) -> torch.Tensor:
        return self.layer(batch[0])

    def loss(self, outputs: Any, batch: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(outputs, batch[1])


def batches(count: int) -> list[Any]:
    return [(torch.zeros(2, 4), torch.tensor([0, 1])) for _ in range(count)]


def make_trainer(loggers: Any, callbacks: Any = (), **arguments: Any) -> Trainer:
    model = Net()
    return Trainer(
        model=model,
        train_dataloader=batches(3),
        eval_dataloader=batches(2),
        eval_interval="2ba",
        max_duration="2ep",
        optimizers=torch.optim.SGD(model.parameters(), lr=0.1),
        algorithms=Act(),
        callbacks=callbacks,
        loggers=loggers,
        progress_bar=False,
        device="cpu",
        seed=1,
        **arguments,
    )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# What clients warn of in their own code, and sockets that they leave to the garbage collector.
TOLERATED = {
    "CometMLLogger": ["ignore:Exception ignored in. <socket", "ignore:stat. path should be"],
    "MLFlowLogger": ["ignore::DeprecationWarning", "ignore:Exception ignored in"],
}


def cases() -> list[Any]:
    return [
        pytest.param(
            make,
            id=f"{name}-{index}",
            marks=[pytest.mark.filterwarnings(each) for each in TOLERATED.get(name, [])],
        )
        for name, makes in CASES.items()
        for index, make in enumerate(makes)
    ]


every_logger = pytest.mark.parametrize("make", cases())


def test_every_logger_has_a_case() -> None:
    missing = set(LOGGERS.names()) - CASES.keys() - NO_LOGGERS
    assert not missing, f"add to CASES how to make {sorted(missing)}"


@every_logger
def test_it_takes_odd_values_through_a_whole_life(make: Make, place: Place) -> None:
    trainer = make_trainer(make(place), LogAlways())
    trainer.fit()
    trainer.fit(duration="1ep")
    trainer.eval()
    trainer.predict(batches(2))
    trainer.close()
    assert trainer.state.timestamp.epoch == 3


@every_logger
def test_it_takes_everything_before_there_is_a_run(make: Make, place: Place) -> None:
    destination = make(place)
    log_everything(Logger(make_trainer(None).state, destination))
    trainer = make_trainer(destination)
    trainer.fit()
    trainer.close()
    assert trainer.state.timestamp.epoch == 2


@every_logger
def test_it_changes_nothing_of_what_is_trained(make: Make, place: Place) -> None:
    ends: list[Any] = []
    for loggers in (None, make(place)):
        torch.manual_seed(0)
        trainer = make_trainer(loggers)
        trainer.fit()
        trainer.close()
        ends.append((trainer.state.model.state_dict(), torch.get_rng_state()))
    (weights, rng), (watched_weights, watched_rng) = ends
    assert all(torch.equal(weight, watched_weights[name]) for name, weight in weights.items())
    assert torch.equal(rng, watched_rng)


@every_logger
def test_it_changes_nothing_of_what_is_logged(make: Make, place: Place) -> None:
    destination = make(place)
    trainer = make_trainer(destination)
    metrics, table = {"a": 1.0, "b": float("inf")}, [[1, [2]], [None, {}]]
    kept = copy.deepcopy((metrics, table))
    destination.log_metrics(metrics, 1)
    destination.log_table(["x", "y"], table)
    destination.log_hyperparameters(metrics)
    trainer.close()
    assert (metrics, table) == kept


@every_logger
def test_it_survives_an_error_in_training_and_goes_on(make: Make, place: Place) -> None:
    class FailOnce(Callback):
        has_failed = False

        def eval_batch_end(self, state: State, logger: Logger) -> None:
            if not self.has_failed:
                self.has_failed = True
                raise RuntimeError("on purpose")

    trainer = make_trainer(make(place), FailOnce())
    with pytest.raises(RuntimeError, match="on purpose"):
        trainer.fit()
    trainer.fit()
    trainer.close()
    assert trainer.state.timestamp.epoch == 2


@every_logger
def test_nothing_comes_after_close(make: Make, place: Place) -> None:
    destination = make(place)
    trainer = make_trainer(destination)
    trainer.fit()
    trainer.close()
    before = place.content()
    log_everything(Logger(trainer.state, destination))
    destination.close(trainer.state, trainer.logger)
    destination.post_close()
    assert place.content() == before


@every_logger
def test_it_can_be_closed_without_having_run(make: Make, place: Place) -> None:
    trainer = make_trainer(make(place))
    trainer.close()
    trainer.close()
    assert trainer.engine.is_closed


@every_logger
def test_its_state_is_plain_and_can_be_taken_over(make: Make, place: Place) -> None:
    destination = make(place)
    trainer = make_trainer(destination)
    trainer.fit()
    trainer.close()
    state = destination.state_dict()
    assert json.loads(json.dumps(state)) == state
    assert pickle.loads(pickle.dumps(state)) == state
    make(place).load_state_dict(state)


@every_logger
def test_it_says_nothing_where_it_is_not_the_first_process(
    make: Make, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("composer.distributed.comm.get_local_rank", lambda: 1)
    trainer = make_trainer(make(place))
    trainer.fit()
    trainer.close()
    assert place.stream.getvalue() == ""
