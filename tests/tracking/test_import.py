"""Old runs come in: folders that the client wrote offline, and a project of another server."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from composer.cli import track
from composer.tracking.store import runs, users
from composer.tracking.store.store import Store
from tests.tracking.tracker import Tracker

pytest.importorskip("wandb", reason="the real client is what is tested here")


def imported(folder: Path, project: str, run: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A run of a store and its rows."""
    store = Store(folder)
    try:
        with store.reading() as reader:
            found = runs.find_project(reader, users.everyone(reader)[0], None, project)
            assert found is not None
            row = runs.find(reader, found["id"], run)
            assert row is not None
            return dict(row), store.rows.read(reader, row["id"], 0, 0, 1000)
    finally:
        store.close()


def test_folders_written_offline_are_imported_once(tracker: Tracker, tmp_path: Path) -> None:
    tracker.client("life.py", tmp_path, "offline", "old")
    words = ["import", "offline", str(tmp_path), "--folder", str(tmp_path / "store")]
    for _ in range(2):
        assert track.main(words) == 0
    run, rows = imported(tmp_path / "store", "old", "o")
    assert run["state"] == "finished"
    assert [row["x"] for row in rows] == list(range(20))


def test_a_project_of_another_server_is_imported_with_its_files(
    tracker: Tracker, tmp_path: Path
) -> None:
    logged = tracker.client("log_everything.py", tmp_path, "elsewhere")
    # A process of its own: the client reads its address and key from the environment once.
    words = ["track", "import", "wandb", f"{logged['entity']}/elsewhere", "--files"]
    done = subprocess.run(
        [sys.executable, "-m", "composer.cli", *words, "--folder", str(tmp_path / "store")],
        env={**tracker.environment(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "imported 1 runs" in done.stdout
    run, rows = imported(tmp_path / "store", "elsewhere", logged["id"])
    assert (run["display_name"], run["grp"], run["job_type"]) == ("first", "g", "train")
    assert run["notes"] == "some notes"
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses == [1 / (i + 1) for i in range(300)]
    contents = {
        path.read_bytes() for path in (tmp_path / "store" / "blobs").rglob("*") if path.is_file()
    }
    assert b"note" in contents
