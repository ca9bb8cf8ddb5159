"""A run's files in a bucket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.state import State
from composer.errors import ConfigError, StateError, StorageError, UploadError
from composer.loggers.file_logger import FileLogger
from composer.loggers.in_memory_logger import InMemoryLogger
from composer.loggers.remote_uploader_downloader import (
    RemoteUploaderDownloader,
    maybe_create_remote_uploader_downloader_from_uri,
)
from composer.storage.uri import store_of
from tests.loggers._runs import make_trainer
from tests.storage._servers import S3Server

pytestmark = pytest.mark.usefixtures("waiting_folder")


class GiveFile(Callback):
    """Gives a file at the end of each batch."""

    def __init__(self, folder: Path, overwrite: bool = True) -> None:
        self.path = folder / "given.txt"
        self.overwrite = overwrite

    def batch_end(self, state: State, logger: Logger) -> None:
        self.path.write_text(f"batch {state.timestamp.batch.value}")
        logger.upload_file("{run_name}/given.txt", self.path, overwrite=self.overwrite)
        self.path.unlink()


@pytest.mark.parametrize("use_procs", [False, True])
def test_files_given_to_the_logger_arrive(s3: S3Server, tmp_path: Path, use_procs: bool) -> None:
    keeper = RemoteUploaderDownloader("s3://bucket", use_procs=use_procs)
    trainer = make_trainer([keeper], callbacks=GiveFile(tmp_path), run_name=f"run-{use_procs}")
    trainer.fit()
    keeper.download_file(f"run-{use_procs}/given.txt", str(tmp_path / "back"))
    last = trainer.state.timestamp.batch.value
    assert (tmp_path / "back").read_text() == f"batch {last}"
    assert keeper.get_uri_for_file("x/y") == "s3://bucket/x/y"
    trainer.close()


def test_names_are_made_by_the_template(tmp_path: Path) -> None:
    keeper = RemoteUploaderDownloader(
        "memory://templates/below", file_path_format_string="{run_name}/r{rank}/{remote_file_name}"
    )
    trainer = make_trainer([keeper], callbacks=GiveFile(tmp_path), run_name="mine")
    trainer.fit()
    trainer.close()
    assert store_of("memory://templates").list_objects() == ["below/mine/r0/mine/given.txt"]


def test_names_need_the_runs_name_where_they_hold_it() -> None:
    keeper = RemoteUploaderDownloader(
        "memory://early", file_path_format_string="{run_name}/{remote_file_name}"
    )
    with pytest.raises(StateError, match="no name before"):
        keeper.get_uri_for_file("x")


def test_a_log_file_arrives_whole(tmp_path: Path) -> None:
    keeper = RemoteUploaderDownloader(f"file://{tmp_path}/bucket")
    logger = FileLogger(
        str(tmp_path / "log.txt"), "logs/{run_name}.txt", capture_stdout=False, capture_stderr=False
    )
    trainer = make_trainer([logger, keeper], run_name="mine")
    trainer.fit()
    trainer.close()
    there = (tmp_path / "bucket/logs/mine.txt").read_text()
    assert "loss/train/total" in there
    assert (tmp_path / "log.txt").read_text() == there


@pytest.mark.usefixtures("no_waits", "s3")
def test_a_store_that_cannot_be_used_is_refused_at_the_start() -> None:
    config = {"retries": {"max_attempts": 1}}
    keeper = RemoteUploaderDownloader(
        "s3://bucket", {"endpoint_url": "http://127.0.0.1:9", "client_config": config}
    )
    with pytest.raises(StorageError, match="cannot be used"):
        make_trainer([keeper])


def test_an_object_that_may_not_be_replaced_ends_training(s3: S3Server, tmp_path: Path) -> None:
    keeper = RemoteUploaderDownloader("s3://bucket", use_procs=False)
    callback = GiveFile(tmp_path, overwrite=False)
    trainer = make_trainer([keeper], callbacks=callback, run_name="again")
    with pytest.raises(FileExistsError, match="may not be overwritten"):
        trainer.fit()
    trainer.close()


def test_a_store_that_refuses_ends_training_and_loses_nothing(
    s3: S3Server, tmp_path: Path, waiting_folder: Path
) -> None:
    keeper = RemoteUploaderDownloader("s3://bucket", use_procs=False)
    trainer = make_trainer([keeper], callbacks=GiveFile(tmp_path), run_name="refused")
    s3.failures_left, s3.failing_status = 10**6, "403 Forbidden"
    with pytest.raises(UploadError, match="next start tries again"):
        trainer.fit()
    trainer.close()
    s3.reset()
    trainer = make_trainer([RemoteUploaderDownloader("s3://bucket")], run_name="refused")
    trainer.close()
    assert "refused/given.txt" in s3.store().list_objects()


def test_a_store_that_is_gone_at_the_end_holds_up_the_run_no_longer_than_said(
    s3: S3Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class GoneAtTheEnd(GiveFile):
        def batch_end(self, state: State, logger: Logger) -> None:
            if state.timestamp.batch == 2:
                s3.stop()
            super().batch_end(state, logger)

    config = {"retries": {"max_attempts": 1}, "connect_timeout": 1}
    keeper = RemoteUploaderDownloader(
        "s3://bucket",
        {"client_config": config},
        use_procs=False,
        num_attempts=100,
        upload_timeout_in_seconds=1,
    )
    trainer = make_trainer([keeper], callbacks=GoneAtTheEnd(tmp_path), run_name="gone")
    try:
        with pytest.raises(UploadError, match="not uploaded yet"):
            trainer.fit()
        trainer.close()
        assert "not uploaded: ['gone/given.txt'" in caplog.text
    finally:
        s3.start()
    make_trainer([RemoteUploaderDownloader("s3://bucket")], run_name="gone").close()
    assert "gone/given.txt" in s3.store().list_objects()


def test_an_address_makes_a_keeper_of_its_bucket() -> None:
    made = maybe_create_remote_uploader_downloader_from_uri("memory://made/run-1", [])
    assert made is not None
    assert made.bucket_uri == "memory://made"


def test_no_second_keeper_is_made_for_a_bucket() -> None:
    there = [InMemoryLogger(), RemoteUploaderDownloader("memory://made")]
    assert maybe_create_remote_uploader_downloader_from_uri("memory://made/x", there) is None
    assert maybe_create_remote_uploader_downloader_from_uri("/local/folder", []) is None


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"bucket_uri": "/local"}, "no address of a store"),
        ({"bucket_uri": "memory://b", "num_concurrent_uploads": 0}, "num_concurrent_uploads=0"),
        ({"bucket_uri": "memory://b", "num_attempts": 0}, "at least one attempt"),
        ({"bucket_uri": "memory://b", "file_path_format_string": "x"}, "must hold"),
    ],
)
def test_arguments_that_cannot_work_are_refused(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        RemoteUploaderDownloader(**arguments)
