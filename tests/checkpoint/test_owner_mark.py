"""Of two runs that write to one address, wherever they are, the second refuses."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from composer.checkpoint.owner_mark import OwnerMark
from composer.errors import CheckpointError, StorageTransientError
from composer.storage.fsspec_store import FsspecObjectStore
from composer.storage.object_store import ObjectStore

NAME = "run/.composer/owner.json"


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return FsspecObjectStore(f"file://{tmp_path}/far")


def mark(store: ObjectStore, note: Path, run_name: str = "run", lease_s: float = 1.2) -> OwnerMark:
    note.parent.mkdir(exist_ok=True)
    return OwnerMark(store, NAME, run_name, str(note), renew_s=lease_s / 6, lease_s=lease_s)


def content(store: ObjectStore, folder: Path) -> dict[str, Any]:
    store.download_object(NAME, folder / "content", overwrite=True)
    return json.loads((folder / "content").read_bytes())


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def kill(owner: OwnerMark) -> None:
    """Let a mark stay as SIGKILL leaves it."""
    owner._stop.set()
    assert owner._thread is not None
    owner._thread.join()


def test_a_second_run_refuses_and_names_the_first(store: ObjectStore, tmp_path: Path) -> None:
    first = mark(store, tmp_path / "here" / "owner", "digits")
    first.take()
    second = mark(store, tmp_path / "there" / "owner", lease_s=60)
    with pytest.raises(CheckpointError, match=r"in use by the run 'digits'.*save_folder or a run"):
        second.take()
    first.check()
    first.release()
    second.take()
    second.release()
    assert store.list_objects() == []


def test_what_a_killed_run_has_left_counts_until_its_lease_is_over(
    store: ObjectStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = mark(store, tmp_path / "here" / "owner", "digits")
    first.take()
    kill(first)
    began = time.monotonic()
    second = mark(store, tmp_path / "there" / "owner")
    second.take()
    assert time.monotonic() - began > 1.2
    assert "taking over" in caplog.text
    second.release()


def test_the_next_start_on_the_same_machine_does_not_wait(
    store: ObjectStore, tmp_path: Path
) -> None:
    first = mark(store, tmp_path / "here" / "owner", lease_s=600)
    first.take()
    kill(first)
    second = mark(store, tmp_path / "here" / "owner", lease_s=600)
    second.take()
    second.release()
    assert store.list_objects() == []


def test_a_run_that_lost_its_mark_notices(store: ObjectStore, tmp_path: Path) -> None:
    first = mark(store, tmp_path / "here" / "owner")
    first.take()
    kill(first)  # as a process that is stopped for long renews nothing
    second = mark(store, tmp_path / "there" / "owner", "letters")
    second.take()
    first._renew()
    with pytest.raises(CheckpointError, match="in use by the run 'letters'"):
        first.check()
    first.release()
    second.check()
    assert len(store.list_objects()) == 1
    second.release()


def test_of_runs_that_take_over_at_once_one_has_the_mark(
    store: ObjectStore, tmp_path: Path
) -> None:
    first = mark(store, tmp_path / "here" / "owner")
    first.take()
    kill(first)
    others = [mark(store, tmp_path / f"there-{number}" / "owner") for number in range(4)]

    def take(other: OwnerMark) -> bool:
        try:
            other.take()
        except CheckpointError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(take, others))
    assert sum(taken) <= 1
    for other in others:
        other.release()


def test_a_mark_that_was_removed_by_hand_is_made_again(store: ObjectStore, tmp_path: Path) -> None:
    first = mark(store, tmp_path / "here" / "owner")
    first.take()
    store.delete_object(NAME)
    wait_for(lambda: len(store.list_objects()) == 1)
    first.check()
    first.release()


def test_it_is_renewed_although_the_store_fails_at_times(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = mark(store, tmp_path / "here" / "owner")
    first.take()
    own, failures = store.download_object, [0, 0]

    def failing(*args: Any, **kwargs: Any) -> None:
        if failures:
            failures.pop()
            raise StorageTransientError("slow down")
        own(*args, **kwargs)

    monkeypatch.setattr(store, "download_object", failing)
    wait_for(lambda: not failures)
    before = content(store, tmp_path)["renewals"]
    wait_for(lambda: content(store, tmp_path)["renewals"] > before)
    first.check()
    first.release()


def test_a_mark_that_cannot_be_read_is_watched_like_another_runs(
    store: ObjectStore, tmp_path: Path
) -> None:
    store.create_object(NAME, b"{")
    first = mark(store, tmp_path / "here" / "owner")
    first.take()
    assert content(store, tmp_path)["run_name"] == "run"
    first.release()
