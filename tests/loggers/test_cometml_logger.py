"""CometMLLogger on the real client, which writes to disk."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from composer.loggers.cometml_logger import CometMLLogger
from tests.loggers._runs import make_trainer

# Sockets that the client leaves to the garbage collector, and how it looks for a file's name.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Exception ignored in"),
    pytest.mark.filterwarnings("ignore:stat. path should be"),
]


def make_logger(folder: Path, **arguments: Any) -> CometMLLogger:
    options = {
        "offline_directory": str(folder),
        "display_summary_level": 0,
        "log_env_details": False,
        "log_git_metadata": False,
    }
    return CometMLLogger(exp_kwargs=options, **arguments)


def read(folder: Path) -> list[dict[str, Any]]:
    """Return the messages of the experiment written to a folder."""
    (archive,) = folder.glob("*.zip")
    with zipfile.ZipFile(archive) as found:
        lines = found.read("messages.json").decode().splitlines()
    return [json.loads(line)["payload"] for line in lines]


def metrics(messages: list[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    return [
        (m["metric"]["step"], float(m["metric"]["metricValue"]))
        for m in messages
        if "metric" in m and m["metric"]["metricName"] == name
    ]


def test_each_value_is_at_its_step(tmp_path: Path) -> None:
    trainer = make_trainer(make_logger(tmp_path, project_name="ours"))
    trainer.fit()
    trainer.close()
    messages = read(tmp_path)
    assert metrics(messages, "time/batch") == [(step, step) for step in range(5)]
    assert [step for step, _ in metrics(messages, "loss/train/total")] == [0, 1, 2, 3]
    assert "the-run" in json.dumps(messages)
    assert "rank_zero_seed" in json.dumps(messages)


def test_images_and_tables_are_files(tmp_path: Path) -> None:
    trainer = make_trainer(make_logger(tmp_path))
    masks = {"truth": torch.ones(2, 8, 6)}
    trainer.logger.log_images(torch.rand(2, 3, 8, 6), "pairs", step=3, masks=masks)
    trainer.logger.log_table(["a", "b"], [[1, "x"]], "rows", step=3)
    trainer.close()
    text = json.dumps(read(tmp_path))
    for name in ("pairs_0", "pairs_1", "pairs_0_truth", "pairs_1_truth", "rows-3.csv"):
        assert name in text


def test_odd_values_are_texts_or_refused_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make_trainer(make_logger(tmp_path))
    trainer.logger.log_metrics({"words": "some text", "many": torch.arange(3), "nan": float("nan")})
    trainer.logger.log_images(torch.zeros(2, 5, 4, 4), "five channels")
    trainer.logger.log_table(["a", "b"], [[1]], "uneven")
    trainer.close()
    text = json.dumps(read(tmp_path))
    assert "some text" in text
    assert "[0, 1, 2]" in text
    own = "".join(r.message for r in caplog.records if r.name.startswith("composer"))
    assert "'five channels'" in own
    assert "'uneven'" in own


def test_other_ranks_have_no_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("composer.distributed.comm.get_global_rank", lambda: 1)
    logger = make_logger(tmp_path)
    trainer = make_trainer(logger)
    trainer.fit()
    trainer.close()
    assert logger.experiment is None


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "comet_ml", None)
    with pytest.raises(ImportError, match=r"composer-ml\[comet\]"):
        CometMLLogger()
