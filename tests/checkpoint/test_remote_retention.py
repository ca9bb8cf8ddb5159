"""What is deleted from a bucket, and when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from composer.checkpoint.manifest import FilePart, Record
from composer.checkpoint.remote_retention import RemoteRetention
from composer.checkpoint.retention import Retention
from composer.errors import StorageError
from composer.storage.fsspec_store import FsspecObjectStore


def record(number: int, **fields: Any) -> Record:
    name = f"ba{number}.pt"
    return Record(name, (FilePart(name, 1, ("",)),), number, "ba{batch}.pt", "run", **fields)


def names_of(record: Record) -> list[str]:
    return [*(part.name for part in record.files), f"manifests/{record.name}.json"]


class Bucket:
    """A store with checkpoints in it."""

    def __init__(self, folder: Path, retention: Retention | None, present: int = 0) -> None:
        self.store = FsspecObjectStore(f"file://{folder}/far")
        is_own = lambda record: record.run_name == "run"  # noqa: E731
        self.retention = RemoteRetention(self.store, retention, names_of, is_own)
        for number in range(1, present + 1):
            self.put(number)
        self.retention.found([record(number) for number in range(1, present + 1)])

    def put(self, number: int) -> None:
        for name in names_of(record(number)):
            self.store.create_object(name, b"x")

    def save(self, number: int, **fields: Any) -> None:
        self.retention.expect(record(number, **fields))
        self.put(number)
        self.retention.arrived(record(number, **fields))

    @property
    def kept(self) -> list[str]:
        return [name for name in self.store.list_objects() if not name.startswith("manifests")]


def test_the_last_and_the_best_stay_with_their_manifests(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path, Retention(last=2, best=1, metric="loss"))
    for number, loss in enumerate((3.0, 1.0, 2.0, 4.0, 5.0), 1):
        bucket.save(number, metrics={"loss": loss})
    assert bucket.kept == ["ba2.pt", "ba4.pt", "ba5.pt"]
    assert len(bucket.store.list_objects("manifests")) == 3
    assert sorted(bucket.retention.names) == bucket.kept


def test_without_a_rule_nothing_is_deleted(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path, None, present=2)
    bucket.save(3)
    assert bucket.kept == ["ba1.pt", "ba2.pt", "ba3.pt"]


def test_what_was_found_at_the_start_is_judged_with_the_rest(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path, Retention(last=2), present=3)
    assert len(bucket.kept) == 3
    bucket.save(4)
    assert bucket.kept == ["ba3.pt", "ba4.pt"]


def test_nothing_is_deleted_for_what_is_still_on_its_way(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path, Retention(last=1), present=1)
    bucket.retention.expect(record(2))
    bucket.retention.expect(record(3))
    assert bucket.kept == ["ba1.pt"]
    bucket.put(2)
    bucket.retention.arrived(record(2))
    assert bucket.kept == ["ba2.pt"]


def test_a_name_that_is_being_written_again_is_not_deleted(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path, Retention(last=1), present=1)
    bucket.retention.expect(record(1))
    bucket.save(2)
    assert bucket.kept == ["ba1.pt", "ba2.pt"]


def test_another_runs_checkpoints_and_pinned_ones_stay(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path, Retention(last=1))
    other = Record("other.pt", (FilePart("other.pt", 1, ("",)),), 1, "ba{batch}.pt", "other")
    bucket.store.create_object("other.pt", b"x")
    bucket.retention.found([other])
    bucket.save(2)
    bucket.retention.changed(record(2, pinned=True))
    bucket.save(3)
    bucket.save(4)
    assert bucket.kept == ["ba2.pt", "ba4.pt", "other.pt"]


def test_what_could_not_be_deleted_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = Bucket(tmp_path, Retention(last=1), present=1)
    with monkeypatch.context() as patch:

        def refuse(name: str) -> None:
            raise StorageError("no")

        patch.setattr(bucket.store, "delete_object", refuse)
        bucket.save(2)
    assert bucket.kept == ["ba1.pt", "ba2.pt"]
    bucket.save(3)
    assert bucket.kept == ["ba3.pt"]
