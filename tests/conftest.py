"""What all tests share: a clean environment, and no skipping where everything must be there."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.storage._servers import S3Server

# Helpers are imported as `tests.<...>`; at the end of the path, so that an installed composer that
# is to be tested goes before the one in this folder.
sys.path.append(str(Path(__file__).resolve().parents[1]))

# One test process is one of several on few cores; more threads only make them wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a launcher or a user may have set outside must not reach the tests.
OUTSIDE = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "NODE_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
    "COMPOSER_RUN_NAME",
    "RUN_NAME",
    "CHECKPOINT_VALIDATION_FUNCTION",
)


# How fast examples are made says something of the machine and its load only.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


def pytest_configure(config: pytest.Config) -> None:
    for name in OUTSIDE:
        os.environ.pop(name, None)
    # A shell that starts the tests in the background makes them, and what they start, deaf to it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    wanted = os.environ.get("COMPOSER_TESTED_FROM")
    if wanted:
        _check_place(Path(wanted))


def _check_place(wanted: Path) -> None:
    """`make test` tests the wheel; a copy from elsewhere would prove nothing about it."""
    import composer

    found = Path(composer.__file__).resolve()
    if wanted.resolve() not in found.parents:
        raise pytest.UsageError(f"composer comes from {found}, not from {wanted}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("gpu") is not None and not _has_cuda():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture(scope="session")
def s3_service() -> Iterator[S3Server]:
    # Imported where it is used: it takes a second, and most tests need none.
    from tests.storage._servers import S3Server

    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def s3(s3_service: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A real S3 server on loopback with an empty bucket; the environment leads to it."""
    for name, value in s3_service.environment().items():
        monkeypatch.setenv(name, value)
    yield s3_service
    s3_service.reset()
    store = s3_service.store()
    for name in store.list_objects():
        store.delete_object(name)


@pytest.fixture
def waiting_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where files wait for their upload."""
    folder = tmp_path / "waiting"
    monkeypatch.setenv("COMPOSER_UPLOAD_FOLDER", str(folder))
    return folder


@pytest.fixture
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails is tried again at once."""
    monkeypatch.setattr("composer.utils.retrying.time.sleep", lambda seconds: None)
    # The client of S3 waits on its own account.
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
