"""Checkpoints in a bucket with two ranks: one uploads, and one downloads for both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from composer.distributed import comm
from composer.errors import DistributedError
from tests._dist import RankFailure, run_ranks
from tests.checkpoint._remote_runs import make_remote_trainer
from tests.storage._servers import S3Server

FOLDER = "s3://bucket/{run_name}/checkpoints"
CHECKPOINT = "run/checkpoints/ep2-ba4-rank0.pt"


def total(trainer: Any) -> float:
    return sum(float(value.sum()) for value in trainer.state.model.state_dict().values())


def train() -> float:
    trainer = make_remote_trainer(save_folder=FOLDER, batch_size=2)
    trainer.fit()
    trainer.close()
    return total(trainer)


def go_on() -> tuple[int, float]:
    trainer = make_remote_trainer(save_folder=FOLDER, autoresume=True, batch_size=2)
    trainer.close()
    return trainer.state.timestamp.batch.value, total(trainer)


def load() -> float:
    trainer = make_remote_trainer(run_name="other", load_path=f"s3://bucket/{CHECKPOINT}")
    trainer.close()
    return total(trainer)


def fail_on_one() -> str:
    def work() -> int:
        if comm.get_global_rank() == 1:
            raise ValueError("on purpose")
        return 5

    with pytest.raises((DistributedError, ValueError)) as caught:
        comm.run_while_others_wait(work, "work")
    return str(caught.value)


def test_one_rank_uploads_and_each_machine_downloads_once(
    s3: S3Server, waiting_folder: Path
) -> None:
    env = {**s3.environment(), "COMPOSER_UPLOAD_FOLDER": str(waiting_folder)}
    trained = run_ranks(2, train, env=env, timeout_s=120)
    assert s3.uploads.count(CHECKPOINT) == 1
    for function in (load, go_on):
        s3.downloads.clear()
        found = run_ranks(2, function, env=env, timeout_s=120)
        assert s3.downloads.count(CHECKPOINT) == 1
        assert found == ([(4, each) for each in trained] if function is go_on else trained)


def test_a_missing_checkpoint_fails_on_all_ranks(s3: S3Server) -> None:
    with pytest.raises(RankFailure, match="rank 0 could not download"):
        run_ranks(2, load, env=s3.environment(), timeout_s=120)


def test_an_error_on_one_rank_is_raised_on_all() -> None:
    assert run_ranks(2, fail_on_one) == [
        "rank 1 could not work: ValueError: on purpose",
        "on purpose",
    ]
