"""TensorboardLogger, read back by TensorBoard's own reader."""

from __future__ import annotations

import pathlib
import sys
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from composer.core.logger_destination import LoggerDestination
from composer.core.state import State
from composer.loggers.tensorboard_logger import TensorboardLogger
from composer.models.tasks.classification import ComposerClassifier
from tests.loggers._runs import make_batches, make_trainer


def read(folder: pathlib.Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0, "scalars": 0})
    events.Reload()
    return events


def plugin_data(events: EventAccumulator, tag: str) -> HParamsPluginData:
    content = events.SummaryMetadata(tag).plugin_data.content
    return HParamsPluginData.FromString(content)


def test_each_value_is_at_its_step(tmp_path: pathlib.Path) -> None:
    trainer = make_trainer(TensorboardLogger(str(tmp_path)))
    trainer.fit()
    trainer.close()
    events = read(tmp_path / "the-run")
    points = events.Scalars("loss/train/total")
    assert [point.step for point in points] == [0, 1, 2, 3]
    assert all(point.value > 0 for point in points)
    assert [point.value for point in events.Scalars("time/batch")] == [0, 1, 2, 3, 4]


def test_hyperparameters_stand_beside_the_results(tmp_path: pathlib.Path) -> None:
    model = ComposerClassifier(torch.nn.Linear(4, 3), num_classes=3)
    logger = TensorboardLogger(str(tmp_path))
    trainer = make_trainer(logger, model=model, eval_dataloader=make_batches(2))
    trainer.logger.log_hyperparameters({"lr": 0.5, "nested": {"a": [1]}})
    trainer.fit()
    trainer.close()
    events = read(tmp_path / "the-run")
    experiment = plugin_data(events, "_hparams_/experiment").experiment
    assert {"lr", "nested", "rank_zero_seed"} <= {info.name for info in experiment.hparam_infos}
    results = {info.name.tag for info in experiment.metric_infos}
    assert {"loss/train/total", "metrics/eval/MulticlassAccuracy"} <= results
    values = plugin_data(events, "_hparams_/session_start_info").session_start_info.hparams
    assert values["lr"].number_value == 0.5
    assert values["nested"].string_value == "{'a': [1]}"


def test_images_masks_and_tables_are_there(tmp_path: pathlib.Path) -> None:
    trainer = make_trainer(TensorboardLogger(str(tmp_path)))
    masks = {"truth": torch.ones(2, 8, 6)}
    trainer.logger.log_images(torch.rand(2, 3, 8, 6), "pairs", step=3, masks=masks)
    trainer.logger.log_table(["a", "b"], [[1, "x|y"]], "rows", step=3)
    trainer.close()
    events = read(tmp_path / "the-run")
    assert set(events.Tags()["images"]) == {
        "pairs/0", "pairs/1", "pairs/0/truth", "pairs/1/truth",
    }  # fmt: skip
    image = events.Images("pairs/0")[0]
    assert (image.step, image.height, image.width) == (3, 8, 6)
    text = events.Tensors("rows/text_summary")[0].tensor_proto.string_val[0].decode()
    assert text == "| a | b |\n| --- | --- |\n| 1 | x\\|y |"


def test_odd_values_are_what_they_are_or_named(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make_trainer(TensorboardLogger(str(tmp_path)))
    values = {"many": torch.arange(9.0), "text": "a", "nan": float("nan"), "none": torch.zeros(0)}
    trainer.logger.log_metrics(values, step=1)
    trainer.logger.log_images(torch.zeros(2, 5, 4, 4), "five channels")
    trainer.logger.log_table(["a", "b"], [[1]], "uneven")
    trainer.close()
    tags = read(tmp_path / "the-run").Tags()
    assert tags["histograms"] == ["many"]
    assert "text/text_summary" in tags["tensors"]
    assert "nan" in tags["scalars"]
    texts = [record.message for record in caplog.records]
    assert [name for name in ("none", "five channels", "uneven") if name in "".join(texts)] == [
        "none", "five channels", "uneven",
    ]  # fmt: skip


class Keeper(LoggerDestination):
    """Keeps the names of files."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def can_upload_files(self) -> bool:
        return True

    def upload_file(
        self, state: State, remote_file_name: str, file_path: pathlib.Path, *, overwrite: bool
    ) -> None:
        assert file_path.stat().st_size > 0
        self.names.add(remote_file_name)


def test_event_files_are_given_to_loggers_that_keep_files(tmp_path: pathlib.Path) -> None:
    keeper = Keeper()
    trainer = make_trainer([TensorboardLogger(str(tmp_path), flush_interval=2), keeper])
    trainer.fit()
    trainer.close()
    (file,) = (tmp_path / "the-run").iterdir()
    assert keeper.names == {f"tensorboard_logs/the-run/{file.name}"}


def test_other_ranks_write_only_if_asked_to(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("composer.distributed.comm.get_global_rank", lambda: 1)
    for rank_zero_only in (True, False):
        trainer = make_trainer(TensorboardLogger(str(tmp_path), rank_zero_only=rank_zero_only))
        trainer.fit()
        trainer.close()
    assert [path.name for path in (tmp_path / "the-run").iterdir()] == ["rank1"]


def test_bad_arguments_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="flush_interval=0 must be 1 or more"):
        TensorboardLogger(flush_interval=0)
    hidden: dict[str, Any] = dict.fromkeys([n for n in sys.modules if n.startswith("tensorboard.")])
    for name in ("tensorboard", *hidden):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"composer-ml\[tensorboard\]"):
        TensorboardLogger()
