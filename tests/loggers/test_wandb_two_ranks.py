"""Two ranks whose files lie in W&B alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.distributed import comm
from composer.loggers.wandb_logger import WandBLogger
from tests._dist import run_ranks
from tests.loggers._runs import make_trainer
from tests.loggers._wandb import read_runs, rows_of, set_online, trained_batches
from tests.tracking.tracker import Tracker

pytest.importorskip("starlette", reason="the tracker needs the extra 'tracking'")
pytest.importorskip("graphql", reason="the tracker needs the extra 'tracking'")


class KeepOwn(Callback):
    """Keeps a file of each rank, whose content only that rank knows."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def fit_end(self, state: State, logger: Logger) -> None:
        rank = comm.get_global_rank()
        path = Path(self.folder) / f"own-rank{rank}.txt"
        path.write_text(f"of rank {rank}")
        logger.upload_file("own-rank{rank}.txt", path)


def make_logger() -> WandBLogger:
    return WandBLogger(project="ranks", entity="local", log_artifacts=True, rank_zero_only=False)


def end_of(trainer: Any) -> tuple[list[float], list[int]]:
    trainer.fit()
    weights = trainer.state.model.layer.weight.flatten().tolist()
    random_state = torch.get_rng_state()[:64].tolist()
    trainer.close()
    return weights, random_state


def train(folder: str) -> Any:
    folder = f"{folder}/rank{comm.get_global_rank()}"
    return end_of(
        make_trainer(
            make_logger(), max_duration="2ep", save_folder=folder, callbacks=KeepOwn(folder)
        )
    )


def resume(folder: str) -> Any:
    rank = comm.get_global_rank()
    trainer = make_trainer(
        make_logger(),
        max_duration="2ep",
        load_path="the-run/checkpoints/ep1-ba4-rank0.pt",
        load_object_store=WandBLogger(project="ranks", entity="local"),
    )
    batch = trainer.state.timestamp.batch.value
    end = end_of(trainer)
    own = Path(folder) / f"fetched-{rank}.txt"
    make_logger().download_file(f"own-rank{rank}.txt", str(own))
    return batch, own.read_text(), end


@pytest.fixture
def tracker(tmp_path: Path) -> Iterator[Tracker]:
    found = Tracker(tmp_path / "store")
    yield found
    found.stop()


def test_both_ranks_resume_from_artifacts_alone(
    tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {
        name: value
        for name, value in tracker.environment(tmp_path / "home").items()
        if name.startswith("WANDB")
    }
    (tmp_path / "home").mkdir()
    files = tmp_path / "files"
    for rank in (0, 1):
        (files / f"rank{rank}").mkdir(parents=True)
    straight = run_ranks(2, train, str(files), env=environment, timeout_s=150)
    shutil.rmtree(files)
    files.mkdir()

    resumed = run_ranks(2, resume, str(files), env=environment, timeout_s=150)
    for rank, (batch, own, end) in enumerate(resumed):
        assert batch == 4
        assert own == f"of rank {rank}"
        assert end == straight[rank]

    set_online(monkeypatch, tracker, tmp_path, "ranks")
    runs = {run.name: run for run in read_runs("ranks")}
    assert set(runs) == {"the-run-rank0", "the-run-rank1"}
    for run in runs.values():
        assert run.group == "the-run"
        assert trained_batches(rows_of(run)) == list(range(8))
