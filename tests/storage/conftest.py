"""What the tests of stores share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage._servers import S3Server


@pytest.fixture(scope="session")
def s3_service() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def s3(s3_service: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """An empty bucket, with the credentials for it in the environment."""
    for name, value in s3_service.environment().items():
        monkeypatch.setenv(name, value)
    yield s3_service
    s3_service.reset()
    store = s3_service.store()
    for name in store.list_objects():
        store.delete_object(name)


@pytest.fixture
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails is tried again at once."""
    monkeypatch.setattr("composer.utils.retrying.time.sleep", lambda seconds: None)


@pytest.fixture(autouse=True)
def waiting_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where files wait for their upload."""
    folder = tmp_path / "waiting"
    monkeypatch.setenv("COMPOSER_UPLOAD_FOLDER", str(folder))
    return folder
