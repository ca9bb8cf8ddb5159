"""MLFlowLogger on the real client, with a database on disk and with MLflow's own server."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch

from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.loggers import mlflow_logger
from composer.loggers.mlflow_logger import MLFlowLogger
from tests.loggers._mlflow import make_store
from tests.loggers._runs import make_trainer

# SQLAlchemy's about MLflow's own code, and sockets that its client leaves to the collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in"),
]


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in [name for name in os.environ if name.startswith("MLFLOW")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    yield make_store(tmp_path)
    while mlflow.active_run() is not None:
        mlflow.end_run()


def make_logger(uri: str, **arguments: Any) -> MLFlowLogger:
    return MLFlowLogger(tracking_uri=uri, log_system_metrics=False, **arguments)


def fit(logger: MLFlowLogger, **arguments: Any) -> Any:
    """Train, and return the run."""
    trainer = make_trainer(logger, **arguments)
    trainer.fit()
    run_id = logger._run_id
    trainer.close()
    return mlflow.MlflowClient().get_run(run_id)


def history(run: Any, name: str) -> list[tuple[int, float]]:
    found = mlflow.MlflowClient().get_metric_history(run.info.run_id, name)
    return [(metric.step, metric.value) for metric in found]


@pytest.mark.parametrize("synchronous", [True, False])
def test_each_value_is_at_its_step(uri: str, synchronous: bool) -> None:
    run = fit(make_logger(uri, synchronous=synchronous, experiment_name="ours", tags={"a": "b"}))
    assert (run.info.status, run.info.run_name) == ("FINISHED", "the-run")
    assert mlflow.get_experiment(run.info.experiment_id).name == "ours"
    assert history(run, "time/batch") == [(step, step) for step in range(5)]
    assert [step for step, _ in history(run, "loss/train/total")] == [0, 1, 2, 3]
    assert run.data.tags["a"] == "b"
    assert run.data.params["rank_zero_seed"] == "1"
    assert run.data.params["mlflow_run_id"] == run.info.run_id


def test_names_are_changed_and_left_out_as_asked_for(uri: str) -> None:
    logger = make_logger(
        uri,
        rename_metrics={"loss/train/total": "loss"},
        ignore_metrics=["time/*_in_epoch"],
        ignore_hyperparameters=["num_*"],
    )
    run = fit(logger)
    assert logger.rename("loss/train/total") == "loss"
    assert len(history(run, "loss")) == 4
    assert not [name for name in run.data.metrics if name.endswith("_in_epoch")]
    assert not [name for name in run.data.params if name.startswith("num_")]


def test_a_value_that_does_not_change_is_logged_now_and_then(uri: str) -> None:
    trainer = make_trainer(logger := make_logger(uri, log_duplicated_metric_every_n_steps=3))
    for step in range(7):
        trainer.logger.log_metrics({"same": 1.0, "other": step}, step)
    trainer.logger.flush()
    run_id = logger._run_id
    trainer.close()
    run = mlflow.MlflowClient().get_run(run_id)
    assert [step for step, _ in history(run, "same")] == [0, 3, 6]
    assert len(history(run, "other")) == 7


def test_a_hyperparameter_may_change(uri: str) -> None:
    trainer = make_trainer(logger := make_logger(uri))
    trainer.logger.log_hyperparameters({"lr": 0.1, "nested": {"a": 1}})
    trainer.logger.log_hyperparameters({"lr": 0.2, "nested": {"a": 1}})
    run_id = logger._run_id
    trainer.close()
    data = mlflow.MlflowClient().get_run(run_id).data
    assert (data.params["lr"], data.tags["lr"], data.params["nested"]) == ("0.1", "0.2", "{'a': 1}")


def test_images_and_tables_are_artifacts(uri: str) -> None:
    trainer = make_trainer(logger := make_logger(uri))
    masks = {"truth": torch.ones(2, 8, 6)}
    trainer.logger.log_images(torch.rand(2, 3, 8, 6), "pairs", step=3, masks=masks)
    trainer.logger.log_table(["a", "b"], [[1, "x"], [2, None]], "rows", step=3)
    run_id = logger._run_id
    trainer.close()
    client = mlflow.MlflowClient()
    images = [file.path for file in client.list_artifacts(run_id, "images")]
    for name in ("pairs_0", "pairs_1", "pairs_0_truth", "pairs_1_truth"):
        assert any(re.match(rf"images/{name}\Wstep\W3\W", path) for path in images), images
    table = mlflow.artifacts.load_dict(f"runs:/{run_id}/rows_3.json")
    assert table == {"columns": ["a", "b"], "data": [[1, "x"], [2, None]]}


def test_odd_values_are_refused_by_name(uri: str, caplog: pytest.LogCaptureFixture) -> None:
    trainer = make_trainer(logger := make_logger(uri))
    for step in range(2):
        values = {"text": "a", "many": torch.arange(3), "größe 🙂": 2, "infinite": float("inf")}
        trainer.logger.log_metrics(values, step)
    trainer.logger.log_images(torch.zeros(2, 5, 4, 4), "five channels")
    trainer.logger.log_table(["a", "b"], [[1]], "uneven")
    run_id = logger._run_id
    trainer.close()
    assert {"größe _", "infinite"} <= mlflow.MlflowClient().get_run(run_id).data.metrics.keys()
    texts = [r.message for r in caplog.records if r.name.startswith("composer")]
    named = ("'text'", "'many'", "'größe 🙂'", "'five channels'", "'uneven'")
    assert [sum(name in text for text in texts) for name in named] == [1] * 5


def test_with_resume_the_newest_run_of_the_name_goes_on(uri: str) -> None:
    first = fit(make_logger(uri))
    second = fit(make_logger(uri, resume=True), max_duration="2ep")
    third = fit(make_logger(uri))
    assert second.info.run_id == first.info.run_id != third.info.run_id
    assert second.info.status == "FINISHED"


def test_the_environment_names_a_run(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fit(make_logger(uri))
    monkeypatch.setenv("MLFLOW_RUN_ID", first.info.run_id)
    assert fit(make_logger(uri)).info.run_id == first.info.run_id


def test_what_callbacks_log_by_hand_goes_to_the_same_run(uri: str) -> None:
    class ByHand(Callback):
        def batch_end(self, state: State, logger: Logger) -> None:
            mlflow.log_metric("mine", state.timestamp.batch.value, step=state.timestamp.batch.value)

    run = fit(make_logger(uri), callbacks=ByHand())
    assert history(run, "mine") == [(step, step) for step in (1, 2, 3, 4)]
    assert mlflow.active_run() is None


def test_an_open_run_is_used_and_left_to_its_owner(uri: str) -> None:
    mlflow.set_tracking_uri(uri)
    with mlflow.start_run() as own:
        run = fit(make_logger(uri))
        assert run.info.run_id == own.info.run_id
    assert history(run, "time/batch")


def test_an_error_in_training_ends_the_run_as_failed(uri: str) -> None:
    class Fail(Callback):
        def batch_end(self, state: State, logger: Logger) -> None:
            raise RuntimeError("on purpose")

    trainer = make_trainer(logger := make_logger(uri), callbacks=Fail())
    with pytest.raises(RuntimeError, match="on purpose"):
        trainer.fit()
    run_id = logger._run_id
    trainer.close()
    run = mlflow.MlflowClient().get_run(run_id)
    assert run.info.status == "FAILED"
    assert [step for step, _ in history(run, "loss/train/total")] == [0]


@pytest.mark.filterwarnings("ignore:.*Any type hint:UserWarning")
def test_models_are_kept_and_registered(uri: str, tmp_path: Path) -> None:
    logger = make_logger(uri, model_registry_prefix="team.models")
    trainer = make_trainer(logger)
    logger.save_model(
        "pytorch", pytorch_model=torch.nn.Linear(2, 1), path=str(tmp_path / "model"),
        pip_requirements=[], serialization_format="pickle",
    )  # fmt: skip
    version = logger.register_model_with_run_id(str(tmp_path / "model"), "net", tags={"k": "v"})
    again = logger.register_model_with_run_id(str(tmp_path / "model"), "net")
    other = logger.register_model(str(tmp_path / "model"), "other")
    run_id = logger._run_id
    trainer.close()
    assert (version.name, str(version.version), version.run_id) == ("team.models.net", "1", run_id)
    assert (str(again.version), other.name) == ("2", "team.models.other")
    found = mlflow.MlflowClient().get_model_version("team.models.net", "1")
    assert found.tags == {"k": "v"}
    with pytest.raises(ValueError, match="unknown flavor 'torch'"):
        logger.save_model("torch")


def start_server(uri: str, folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-W", "ignore", "-m", "mlflow", "server", "--backend-store-uri", uri,
        "--default-artifact-root", str(folder / "artifacts"), "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    with (folder / "server.log").open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, cwd=folder, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return process, address
        except OSError:
            time.sleep(0.3)
    raise AssertionError((folder / "server.log").read_text())


def kill(process: subprocess.Popen[bytes]) -> None:
    # With its workers.
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_against_its_server_which_goes_away_in_the_middle(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    process, address = start_server(uri, tmp_path)
    try:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        monkeypatch.setattr(mlflow_logger, "CLOSE_TIMEOUT_S", 5.0)
        run = fit(make_logger(address))
        assert history(run, "time/batch") == [(step, step) for step in range(5)]

        logger = make_logger(address, flush_interval=1)
        trainer = make_trainer(logger, callbacks=Kill(process), num_batches=6)
        began = time.monotonic()
        trainer.fit()
        trainer.close()
        assert trainer.state.timestamp.batch == 6
        assert time.monotonic() - began < 60
        assert mlflow.active_run() is None
        assert "MLflow did not take all that was logged" in caplog.text or (
            "MLFlowLogger failed and is switched off" in caplog.text
        )
    finally:
        if process.poll() is None:
            kill(process)


class Kill(Callback):
    """Ends a server in the middle of training."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def batch_end(self, state: State, logger: Logger) -> None:
        if state.timestamp.batch == 2:
            kill(self.process)


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ImportError, match=r"composer-ml\[mlflow\]"):
        MLFlowLogger()
