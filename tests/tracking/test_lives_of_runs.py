"""What becomes of runs: resumed, rewound, forked, edited, stopped, crashed, offline."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tracking.tracker import CLIENTS, Tracker, lines

pytest.importorskip("wandb", reason="the real client is what is tested here")


@pytest.mark.parametrize("how", ["allow", "must"])
def test_a_resumed_run_goes_on_after_its_last_step(
    tracker: Tracker, tmp_path: Path, how: str
) -> None:
    found = tracker.client("life.py", tmp_path, "resume", f"resume-{how}", how)
    assert found["start"] == 5
    assert found["rows"] == [[0, 0], [1, 1], [2, 2], [3, 3], [4, 4], [5, 100], [6, 101], [7, 102]]
    assert found["state"] == "finished"


def test_a_run_that_must_exist_and_does_not_is_an_error(tracker: Tracker, tmp_path: Path) -> None:
    assert "does not exist" in tracker.client("life.py", tmp_path, "must", "must")["error"]


def test_a_run_that_must_not_exist_and_does_is_an_error(tracker: Tracker, tmp_path: Path) -> None:
    assert tracker.client("life.py", tmp_path, "never", "never")["error"]


def test_a_run_started_afresh_replaces_the_old_one(tracker: Tracker, tmp_path: Path) -> None:
    found = tracker.client("life.py", tmp_path, "afresh", "afresh")
    assert found["rows"] == [[0, 50], [1, 51], [2, 52]]


def test_a_rewound_run_shows_one_continuous_curve(tracker: Tracker, tmp_path: Path) -> None:
    found = tracker.client("life.py", tmp_path, "rewind", "rewind")
    assert found["rows"] == [[0, 0], [1, 1], [2, 2], [3, 3], [4, 4], [5, 100], [6, 101], [7, 102]]


def test_a_fork_begins_with_its_parents_rows(tracker: Tracker, tmp_path: Path) -> None:
    found = tracker.client("life.py", tmp_path, "fork", "fork")
    assert found["rows"] == [[0, 0], [1, 1], [2, 2], [3, 100], [4, 101]]
    assert len(found["parent"]) == 10


def test_a_run_that_ends_badly_has_failed(tracker: Tracker, tmp_path: Path) -> None:
    assert tracker.client("life.py", tmp_path, "fail", "fail")["state"] == "failed"


def test_runs_can_be_edited_and_deleted(tracker: Tracker, tmp_path: Path) -> None:
    found = tracker.client("life.py", tmp_path, "edit", "edit")
    assert found["config"] == {"a": 2}
    assert found["tags"] == []
    assert (found["notes"], found["name"], found["best"]) == ("new", "renamed", 7)
    assert "requirements.txt" not in found["files"]
    assert found["left"] == []


def test_runs_can_be_filtered_and_ordered(tracker: Tracker, tmp_path: Path) -> None:
    found = tracker.client("life.py", tmp_path, "filter", "filter")
    assert found["lr"] == ["q3", "q4"]
    assert found["deep"] == ["q1", "q3"]
    assert found["or"] == ["q4", "q0"]
    assert found["tags"] == ["q1", "q3"]
    assert found["regex"] == ["q1", "q2"]
    assert found["by_summary"] == ["q4", "q3", "q2", "q1", "q0"]
    assert found["paged"] == 5
    assert "filter" in found["projects"]


def test_an_offline_run_can_be_synced_twice_without_doubling(
    tracker: Tracker, tmp_path: Path
) -> None:
    folder = tracker.client("life.py", tmp_path, "offline", "synced")["dir"]
    for _ in range(2):
        for marker in Path(folder).glob("*.synced"):
            marker.unlink()
        subprocess.run(
            [sys.executable, "-m", "wandb", "sync", folder],
            env=tracker.environment(tmp_path),
            check=True,
            capture_output=True,
            timeout=60,
        )
    _, found = tracker.ask("/api/run?entity=local&project=synced&run=o")
    assert found["history_lines"] == 20
    assert found["state"] == "finished"
    assert found["config"]["k"] == {"value": 1}


def test_a_run_written_offline_is_seen_while_it_is_written(tmp_path: Path) -> None:
    home = tmp_path / "cluster"
    home.mkdir()
    watching = Tracker(tmp_path / "store", "--watch", str(home))
    client = subprocess.Popen(
        [sys.executable, str(CLIENTS / "life.py"), "live", "watched"],
        env=watching.environment(home),
        cwd=home,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.DEVNULL,
    )
    assert client.stdout is not None
    assert client.stdin is not None
    try:
        client.stdout.readline()
        running = _until(watching, lambda run: run["history_lines"] > 0)
        assert running["state"] == "running"
        client.stdin.write("\n")
        client.stdin.flush()
        done = _until(watching, lambda run: run["state"] == "finished")
        assert done["history_lines"] == 40
        assert done["summary"]["x"] == 39
        assert done["config"]["k"] == {"value": 1}
    finally:
        client.communicate()
        watching.stop()


def _until(tracker: Tracker, wanted, run: str = "live", project: str = "watched") -> dict:
    deadline = time.monotonic() + 40
    found = {}
    while time.monotonic() < deadline:
        status, found = tracker.ask(f"/api/run?entity=local&project={project}&run={run}")
        if status == 200 and wanted(found):
            return found
        time.sleep(0.2)
    raise AssertionError(found)


def test_a_run_can_be_stopped_from_the_page(tracker: Tracker, tmp_path: Path) -> None:
    tmp_path.mkdir(exist_ok=True)
    client = subprocess.Popen(
        [sys.executable, str(CLIENTS / "life.py"), "stop", "stopping"],
        env=tracker.environment(tmp_path),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.DEVNULL,
    )
    _until(tracker, lambda run: run["history_lines"] > 0, "s", "stopping")
    status, _ = tracker.ask(
        "/api/runs/stop", {"entity": "local", "project": "stopping", "runs": ["s"]}
    )
    assert status == 200
    out, _ = client.communicate(timeout=100)
    assert json.loads(out.strip().splitlines()[-1])["stopped"] is True


def test_a_silent_run_is_noticed_as_crashed_and_revives(tmp_path: Path) -> None:
    quick = Tracker(tmp_path / "store", "--crash-after", "1")
    try:
        quick.make_run("p", "r")
        quick.post("p", "r", lines(0, 3))
        _until(quick, lambda run: run["state"] == "crashed", "r", "p")
        quick.post("p", "r", lines(3, 3))
        found = _until(quick, lambda run: run["state"] == "running", "r", "p")
        assert found["history_lines"] == 6
    finally:
        quick.stop()
