"""Copying, checking and collecting; taking data in and out by the command line."""

import json
import struct
from pathlib import Path

import pytest

from composer.cli import track
from composer.tracking.store import files, runs, users
from composer.tracking.store.maintenance import backup, check, collect_garbage
from composer.tracking.store.store import Store


def _run_with_file(store: Store, name: str, data: bytes) -> dict:
    with store.reading() as reader:
        user = users.everyone(reader)[0]
    run, _ = store.do(lambda tx: runs.upsert(tx, user, {"modelName": "p", "name": name}))
    blob = store.blobs.put(data)
    store.do(lambda tx: files.put(tx, run["id"], "a/b.txt", blob))
    store.do(
        lambda tx: store.ingest.append_rows(
            tx, run["id"], 0, [{"_step": i, "x": i / 3} for i in range(100)]
        )
    )
    return run


def test_a_backup_of_a_store_in_use_is_a_whole_store(store: Store, tmp_path: Path) -> None:
    run = _run_with_file(store, "r", b"hello")
    backup(store.folder, tmp_path / "copy")
    copy = Store(tmp_path / "copy")
    with copy.reading() as reader:
        row = files.find(reader, run["id"], "a/b.txt")
        assert row is not None
        assert copy.blobs.read(row["sha256"]) == b"hello"
        assert len(copy.rows.read(reader, run["id"], 0, 0, 1000)) == 100
    copy.close()


def test_a_second_backup_adds_what_is_new(store: Store, tmp_path: Path) -> None:
    _run_with_file(store, "r", b"hello")
    backup(store.folder, tmp_path / "copy")
    second = _run_with_file(store, "s", b"more")
    backup(store.folder, tmp_path / "copy")
    copy = Store(tmp_path / "copy")
    with copy.reading() as reader:
        assert runs.reload(reader, second["id"])["name"] == "s"
    copy.close()


def test_the_doctor_finds_missing_and_damaged_contents(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    store.ensure_first_user()
    _run_with_file(store, "r", b"hello")
    _run_with_file(store, "s", b"other")
    paths = [store.blobs.path(sha256) for sha256, _ in store.blobs.all_names()]
    store.close()
    assert check(tmp_path / "s", with_contents=True)["problems"] == []
    paths[0].unlink()
    paths[1].write_bytes(b"xxxxx")
    problems = check(tmp_path / "s", with_contents=True)["problems"]
    assert len(problems) == 2
    assert any("missing" in each for each in problems)
    assert any("damaged" in each for each in problems)


def test_contents_of_a_deleted_run_are_collected(store: Store) -> None:
    keep = _run_with_file(store, "keep", b"kept")
    gone = _run_with_file(store, "gone", b"gone")
    store.do(lambda tx: tx.drop_run(gone["id"]))
    assert collect_garbage(store, older_than_s=-1)["files"] == 1
    with store.reading() as reader:
        row = files.find(reader, keep["id"], "a/b.txt")
        assert row is not None
        assert store.blobs.read(row["sha256"]) == b"kept"


def test_users_are_added_listed_and_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--folder", str(tmp_path / "s")]
    track.main(["user", "add", "ada", "--key", "k" * 60, *words])
    assert capsys.readouterr().out == f"ada\t{'k' * 60}\n"
    track.main(["user", "list", *words])
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == [
        "local",
        "ada",
    ]
    track.main(["user", "remove", "ada", *words])
    track.main(["user", "list", *words])
    assert "ada" not in capsys.readouterr().out


def test_a_project_is_exported_as_parquet_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    store = Store(tmp_path / "s")
    store.ensure_first_user()
    _run_with_file(store, "r", b"hello")
    store.close()
    track.main(["export", "p", str(tmp_path / "out"), "--files", "--folder", str(tmp_path / "s")])
    folder = tmp_path / "out" / "r"
    assert pq.read_table(folder / "history.parquet").to_pydict()["x"] == [i / 3 for i in range(100)]
    assert json.loads((folder / "run.json").read_text())["name"] == "r"
    assert (folder / "files" / "a" / "b.txt").read_bytes() == b"hello"
    track.main(["ls", "--folder", str(tmp_path / "s")])
    assert "local/p\t1 runs" in capsys.readouterr().out


def _event(step: int, tag: str, value: float) -> bytes:
    name = tag.encode()
    inner = b"\x0a" + bytes([len(name)]) + name + b"\x15" + struct.pack("<f", value)
    summary = b"\x0a" + bytes([len(inner)]) + inner
    event = (
        b"\x09"
        + struct.pack("<d", 1000.0 + step)
        + b"\x10"
        + bytes([step])
        + b"\x2a"
        + bytes([len(summary)])
        + summary
    )
    return struct.pack("<Q", len(event)) + b"\0" * 4 + event + b"\0" * 4


def test_tensorboard_scalars_are_imported(tmp_path: Path) -> None:
    folder = tmp_path / "tb" / "one"
    folder.mkdir(parents=True)
    data = b"".join(_event(i, "loss", i * 0.5) + _event(i, "acc", 1.0) for i in range(5))
    (folder / "events.out.tfevents.1.host").write_bytes(data + b"torn")
    track.main(
        [
            "import",
            "tensorboard",
            str(tmp_path / "tb"),
            "--project",
            "tb",
            "--folder",
            str(tmp_path / "s"),
        ]
    )
    store = Store(tmp_path / "s")
    with store.reading() as reader:
        project = runs.find_project(reader, users.everyone(reader)[0], None, "tb")
        assert project is not None
        run = runs.find(reader, project["id"], "one")
        assert run is not None
        rows = store.rows.read(reader, run["id"], 0, 0, 100)
    store.close()
    assert [row["loss"] for row in rows] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert run["state"] == "finished"
