from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.loggers.in_memory_logger import InMemoryLogger
from composer.models.tasks.classification import ComposerClassifier
from tests.loggers._runs import make_batches, make_trainer

# Metric name -> at which batch counts the reference logs it, recorded in one epoch of two batches
# with accuracy and cross entropy, evaluated at its end.
RECORDED = {
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


class LogAll(Callback):
    """Logs the counters of the moment, at the end of each batch."""

    def batch_end(self, state: State, logger: Logger) -> None:
        logger.log_metrics({"samples": state.timestamp.sample.value})


def fit(**arguments: Any) -> InMemoryLogger:
    memory = InMemoryLogger()
    trainer = make_trainer(memory, **arguments)
    trainer.fit()
    trainer.close()
    return memory


def test_the_trainer_logs_what_the_reference_logs_and_when() -> None:
    memory = fit(
        num_batches=2,
        model=ComposerClassifier(torch.nn.Linear(4, 3), num_classes=3),
        eval_dataloader=make_batches(2),
        device_train_microbatch_size=1,
    )
    logged = {name: [at.batch.value for at, _ in points] for name, points in memory.data.items()}
    assert logged == RECORDED


@pytest.mark.parametrize("is_late", [False, True])
def test_values_have_the_timestamp_at_which_they_were_logged(
    is_late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_late:
        late = property(lambda copy: False)
        monkeypatch.setattr("composer.core.logger._Copy.is_done", late)
    memory = fit(num_batches=12, callbacks=LogAll())
    points = memory.data["samples"]
    assert [at.sample.value for at, _ in points] == [value for _, value in points]
    losses = memory.data["loss/train/total"]
    assert [at.sample.value for at, _ in losses] == [2 * n for n in range(12)]


def test_the_most_recent_values_and_times_are_at_hand() -> None:
    memory = fit(callbacks=LogAll())
    assert memory.most_recent_values["samples"] == 8
    assert memory.most_recent_timestamps["samples"].batch == 4
    assert isinstance(memory.most_recent_values["loss/train/total"], float)


def test_hyperparameters_are_kept() -> None:
    assert fit().hyperparameters["rank_zero_seed"] == 1


def test_tables_are_kept_as_json_with_null_for_what_is_no_number() -> None:
    memory = InMemoryLogger()
    memory.log_table(["a", "b"], [[1, float("nan")], ["größe", torch.zeros(2)]], name="Samples")
    assert json.loads(memory.tables["Samples"]) == {
        "columns": ["a", "b"],
        "data": [[1, None], ["größe", "Tensor of shape (2,)"]],
    }


def test_a_timeseries_has_the_values_and_every_counter() -> None:
    series = fit(callbacks=LogAll()).get_timeseries("samples")
    np.testing.assert_array_equal(series["samples"], [2, 4, 6, 8])
    np.testing.assert_array_equal(series["batch"], [1, 2, 3, 4])
    np.testing.assert_array_equal(series["sample_in_epoch"], [2, 4, 6, 8])
    assert (np.diff(series["total_wct"]) >= 0).all()
    assert {values.shape for values in series.values()} == {(4,)}


def test_a_timeseries_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown metric 'loss/train'\. Did you mean 'loss/tr"):
        fit().get_timeseries("loss/train")


def test_a_tensor_is_kept_as_it_was() -> None:
    memory, tensor = InMemoryLogger(), torch.zeros(2, requires_grad=True)
    memory.log_metrics({"vector": tensor}, step=0)
    with torch.no_grad():
        tensor += 1
    assert memory.most_recent_values["vector"].tolist() == [0, 0]
    assert not memory.most_recent_values["vector"].requires_grad


def test_a_step_of_ones_own_is_the_batch_count() -> None:
    memory = InMemoryLogger()
    trainer = make_trainer(memory)
    trainer.fit()
    trainer.logger.log_metrics({"mine": 1}, step=100)
    trainer.logger.flush()
    assert memory.most_recent_timestamps["mine"].batch == 100


def test_values_can_be_logged_before_there_is_a_run() -> None:
    memory = InMemoryLogger()
    memory.log_metrics({"early": 1})
    assert memory.most_recent_timestamps["early"].batch == 0
