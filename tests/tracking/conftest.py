"""Trackers for tests, one per module or one per test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from composer.tracking.store.store import Store

pytest.importorskip("starlette", reason="the tracker needs the extra 'tracking'")
pytest.importorskip("graphql", reason="the tracker needs the extra 'tracking'")

from tests.tracking.tracker import Tracker


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracker]:
    found = Tracker(tmp_path_factory.mktemp("tracker") / "store")
    yield found
    found.stop()


@pytest.fixture
def own_tracker(tmp_path: Path) -> Iterator[Tracker]:
    found = Tracker(tmp_path / "store")
    yield found
    if found.process.poll() is None:
        found.stop()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store(tmp_path / "store")
    found.ensure_first_user()
    yield found
    found.close()
