"""WandBLogger on the real client, without a server: what it writes to disk."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wandb

from composer.algorithms.ema import EMA
from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.loggers.wandb_logger import WandBLogger
from composer.models.tasks.classification import ComposerClassifier
from tests.loggers._runs import make_batches, make_trainer
from tests.loggers._wandb import TRAINED, by_step, forget_wandb, offline, read_offline

__all__ = ["offline"]


class LogAfterBatch(Callback):
    """Logs at the end of each batch, at the step that begins then."""

    def batch_end(self, state: State, logger: Logger) -> None:
        logger.log_metrics({"after": state.timestamp.batch.value})


def fit(*loggers: WandBLogger, **arguments: Any) -> Any:
    trainer = make_trainer(loggers or WandBLogger(), **arguments)
    trainer.fit()
    trainer.close()
    return trainer


def test_a_step_is_one_row_with_all_it_produced(offline: Path) -> None:
    fit(callbacks=LogAfterBatch())
    rows = by_step(read_offline(offline).rows)
    assert list(rows) == [0, 1, 2, 3, 4]
    for step in (1, 2, 3):
        assert {"after", "time/batch", TRAINED} <= rows[step].keys()
        assert rows[step]["after"] == rows[step]["time/batch"] == step


def test_a_step_is_one_call_of_the_client(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    original = wandb.Run.log

    def counted(self: Any, data: Any, step: Any = None, commit: Any = None) -> None:
        calls.append(step)
        original(self, data, step, commit)

    monkeypatch.setattr(wandb.Run, "log", counted)
    fit(callbacks=LogAfterBatch())
    assert calls == [0, 1, 2, 3, 4]


def test_the_run_has_the_trainers_name_and_what_was_asked_for(offline: Path) -> None:
    logger = WandBLogger(
        project="gpt-5",
        group="together",
        entity="team",
        tags=["a", "b"],
        init_kwargs={"notes": "higher learning rate", "config": {"arch": "Llama"}},
    )
    trainer = make_trainer(logger)
    assert logger.run_dir is not None
    assert Path(logger.run_dir).is_dir()
    assert (logger.run_url, logger.project, logger.entity) == (None, "gpt-5", "team")
    trainer.close()
    found = read_offline(offline)
    assert found.run is not None
    wanted = {
        "displayName": "the-run",
        "modelName": "gpt-5",
        "groupName": "together",
        "entityName": "team",
        "notes": "higher learning rate",
        "tags": ["a", "b"],
    }
    assert {key: found.run[key] for key in wanted} == wanted
    assert found.config["arch"] == {"value": "Llama"}


def test_hyperparameters_are_config_and_may_change(offline: Path) -> None:
    trainer = make_trainer(WandBLogger(init_kwargs={"config": {"lr": 0.1}}))
    trainer.logger.log_hyperparameters(
        {"lr": 0.2, "odd": {"a": torch.arange(3)}, "path": Path("x")}
    )
    trainer.logger.log_hyperparameters({"lr": 0.3})
    trainer.close()
    config = read_offline(offline).config
    assert config["lr"] == {"value": 0.3}
    assert config["odd"] == {"value": {"a": [0, 1, 2]}}
    assert config["path"] == {"value": "x"}
    assert config["rank_zero_seed"] == {"value": 1}


class LogByHand(Callback):
    """Logs to the run itself, as users do."""

    def __init__(self, with_step: bool) -> None:
        self.with_step = with_step

    def batch_end(self, state: State, logger: Logger) -> None:
        batch = state.timestamp.batch.value
        if self.with_step:
            wandb.log({"mine": batch}, step=batch)
        else:
            assert wandb.run is not None
            wandb.run.log({"mine": batch})
            wandb.log({"more": batch})


@pytest.mark.parametrize("with_step", [True, False])
def test_what_callbacks_log_by_hand_stands_in_the_same_rows(offline: Path, with_step: bool) -> None:
    fit(callbacks=LogByHand(with_step))
    rows = by_step(read_offline(offline).rows)
    assert list(rows) == [0, 1, 2, 3, 4]
    for step in range(4):
        assert rows[step]["time/batch"] == step
        assert TRAINED in rows[step]
    assert [rows[step].get("mine") for step in range(5)] == [None, 1, 2, 3, 4]
    assert [rows[step].get("more") for step in range(5)] == (
        [None] * 5 if with_step else [None, 1, 2, 3, 4]
    )


def test_a_step_of_the_users_own_that_is_ahead_makes_nothing_get_lost(
    offline: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Ahead(Callback):
        def batch_end(self, state: State, logger: Logger) -> None:
            if state.timestamp.batch == 2:
                wandb.log({"far": 1}, step=100)

    fit(callbacks=Ahead())
    rows = by_step(read_offline(offline).rows)
    assert [row["time/batch"] for row in rows.values() if TRAINED in row] == [0, 1, 2, 3]
    assert rows[100]["far"] == 1
    assert [record.message for record in caplog.records if "next free step" in record.message]


class EndTheRun(Callback):
    """Uses the run in a block, which ends it."""

    def eval_end(self, state: State, logger: Logger) -> None:
        with wandb.init() as run:
            run.log({"mine": state.timestamp.batch.value}, step=state.timestamp.batch.value)


def test_a_callback_that_ends_the_run_ends_nothing(offline: Path) -> None:
    logger = WandBLogger()
    model = ComposerClassifier(torch.nn.Linear(4, 3), num_classes=3)
    fit(
        logger,
        model=model,
        callbacks=EndTheRun(),
        eval_dataloader=make_batches(2),
        max_duration="3ep",
    )
    found = read_offline(offline)
    assert [row["time/batch"] for row in found.rows if TRAINED in row] == list(range(12))
    assert [row["mine"] for row in found.rows if "mine" in row] == [4, 8, 12]
    assert sum("metrics/eval/MulticlassAccuracy" in row for row in found.rows) == 3
    # The client has one log for each time that the run was opened.
    logs = list(offline.glob("wandb/offline-run-*/*.wandb"))
    assert [path.stem for path in logs] == [f"run-{logger._run_ids[0]}"] * 4


def test_a_run_that_is_open_already_is_used(offline: Path) -> None:
    run = wandb.init(project="mine")
    run.log({"before": 1}, step=0)
    run.log({"before": 2}, step=1)
    logger = WandBLogger()
    fit(logger)
    assert logger._run_ids == [run.id]
    rows = read_offline(offline).rows
    assert [row["before"] for row in rows if "before" in row] == [1, 2]
    assert [row["time/batch"] for row in rows if TRAINED in row] == [0, 1, 2, 3]


def test_two_open_trainers_have_runs_of_their_own(offline: Path) -> None:
    trainers = [make_trainer(WandBLogger(), run_name=name) for name in ("one", "two")]
    for trainer in trainers:
        trainer.fit()
    ids = [trainer.logger.destinations[0]._run_ids[0] for trainer in trainers]
    for trainer in trainers:
        trainer.close()
    assert ids[0] != ids[1]
    forget_wandb()
    for run_id in ids:
        logs = list(offline.glob(f"wandb/offline-run-*-{run_id}*/*.wandb"))
        rows = [row for log in logs for row in _rows(log)]
        assert [row["time/batch"] for row in rows if TRAINED in row] == [0, 1, 2, 3]


def _rows(path: Path) -> list[dict[str, Any]]:
    from composer.tracking.protocol.offline import LogReader, gather

    return gather(LogReader(path).read()).rows


def test_images_with_masks_and_tables_are_media(offline: Path) -> None:
    trainer = make_trainer(WandBLogger())
    images = torch.rand(2, 3, 8, 6)
    masks = {"truth": torch.randint(0, 2, (2, 8, 6))}
    log = trainer.logger.log_images
    log(images, "plain", step=1, use_table=False)
    log(images, "masked", step=2, masks=masks, mask_class_labels={0: "a"}, use_table=False)
    log(images[0].numpy().transpose(1, 2, 0), "one", channels_last=True, step=3, use_table=False)
    log(images, "shown", step=4, masks=masks)
    trainer.logger.log_table(["n", "v"], [["a", 1], ["b", None]], "pairs", step=5)
    trainer.close()
    rows = by_step(read_offline(offline).rows)
    assert rows[1]["plain"]["_type"] == "images/separated"
    assert (rows[1]["plain"]["count"], rows[1]["plain"]["height"], rows[1]["plain"]["width"]) == (
        2, 8, 6,
    )  # fmt: skip
    assert len(rows[2]["masked"]["all_masks"]) == 2
    assert rows[3]["one"]["count"] == 1
    assert rows[4]["shown Table"]["_type"] == "table-file"
    assert (rows[5]["pairs"]["nrows"], rows[5]["pairs"]["ncols"]) == (2, 2)


def test_traces_are_logged(offline: Path) -> None:
    trainer = make_trainer(WandBLogger())
    trainer.logger.log_traces({"algorithm_traces/MixUp/before_loss": 1})
    trainer.close()
    assert read_offline(offline).rows[0]["algorithm_traces/MixUp/before_loss"] == 1


def test_a_method_at_the_end_of_a_batch_leaves_rows_in_order(
    offline: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(algorithms=EMA("2ba"))
    rows = by_step(read_offline(offline).rows)
    assert [step for step in rows if TRAINED in rows[step]] == [0, 1, 2, 3]
    assert all("algorithm_traces/EMA/batch_end" in rows[step] for step in range(1, 4))
    assert "is at step" not in caplog.text


def test_odd_values_are_logged_as_what_they_are_or_named(
    offline: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd:
        def __repr__(self) -> str:
            return "<odd>"

    trainer = make_trainer(WandBLogger())
    values = {
        "nan": float("nan"),
        "infinite": float("inf"),
        "text": "a",
        "many": torch.arange(100.0),
        "object": Odd(),
        "größe/🙂": 2,
        "good": 1.5,
    }
    trainer.logger.log_metrics(values, step=1)
    trainer.close()
    row = read_offline(offline).rows[0]
    assert np.isnan(row["nan"])
    assert row["infinite"] == float("inf")
    assert row["many"]["_type"] == "histogram"
    assert (row["text"], row["object"], row["größe/🙂"], row["good"]) == ("a", "<odd>", 2, 1.5)
    own = [r.message for r in caplog.records if r.name.startswith("composer")]
    assert ["'object'" in message for message in own] == [True]


def test_what_cannot_be_shown_is_refused_by_name(
    offline: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make_trainer(WandBLogger())
    trainer.logger.log_images(torch.zeros(2, 5, 4, 4), "five channels")
    trainer.logger.log_images(
        torch.zeros(1, 3, 4, 4), "bad mask", masks={"m": torch.zeros(1, 3, 3)}
    )
    trainer.logger.log_table(["a", "b"], [[1, 2], [3]], "uneven")
    trainer.logger.log_metrics({"good": 1}, step=1)
    trainer.close()
    texts = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert [name for name in ("five channels", "bad mask", "uneven") if name in "".join(texts)] == [
        "five channels", "bad mask", "uneven",
    ]  # fmt: skip
    assert "row 1 has 1 cells for the 2 columns" in texts[2]
    assert read_offline(offline).rows[0]["good"] == 1


def test_an_error_in_training_ends_the_run_as_failed(offline: Path) -> None:
    class Fail(Callback):
        def batch_end(self, state: State, logger: Logger) -> None:
            if state.timestamp.batch == 2:
                raise RuntimeError("on purpose")

    trainer = make_trainer(WandBLogger(), callbacks=Fail())
    with pytest.raises(RuntimeError, match="on purpose"):
        trainer.fit()
    trainer.close()
    found = read_offline(offline)
    assert found.exit_code == 1
    assert [row["time/batch"] for row in found.rows if TRAINED in row] == [0, 1]


def test_a_run_that_went_well_ends_well(offline: Path) -> None:
    fit()
    assert read_offline(offline).exit_code == 0


def test_disabled_writes_nothing(offline: Path) -> None:
    trainer = fit(WandBLogger(init_kwargs={"mode": "disabled"}))
    assert trainer.state.timestamp.batch == 4
    assert not list(offline.glob("wandb/*run-*/*.wandb"))


def test_other_ranks_log_nothing_unless_asked_to(
    offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("composer.distributed.comm.get_global_rank", lambda: 1)
    fit(WandBLogger(log_artifacts=True))
    assert not list(offline.glob("wandb/*"))
    fit(WandBLogger(rank_zero_only=False))
    found = read_offline(offline)
    assert found.run is not None
    assert (found.run["displayName"], found.run["groupName"]) == ("the-run-rank1", "the-run")
    assert by_step(found.rows)[3]["time/batch"] == 3


def test_it_warns_that_files_of_other_ranks_are_not_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("composer.distributed.comm.get_world_size", lambda: 2)
    WandBLogger(log_artifacts=True)
    assert "pass rank_zero_only=False" in caplog.text


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r"composer-ml\[wandb\]"):
        WandBLogger()


def test_the_end_of_a_run_waits_only_so_long(offline: Path) -> None:
    for settings, wanted in (
        (None, 300),
        ({"finish_timeout": 7}, 7),
        (wandb.Settings(finish_timeout=8), 8),
        (wandb.Settings(init_timeout=9), 300),
    ):
        trainer = make_trainer(WandBLogger(init_kwargs={"settings": settings}))
        assert wandb.run is not None
        assert wandb.run.settings.finish_timeout == wanted
        trainer.close()
