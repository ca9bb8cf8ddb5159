"""What may go wrong: the server killed, the disk full, two servers, a lost index, a deleted run."""

import http.client
import json
import os
import resource
import subprocess
import sys
import threading
import urllib.error
from pathlib import Path

import pytest

from composer.errors import TrackingError
from composer.tracking.protocol import filestream
from composer.tracking.protocol.refusal import RetryLaterError
from composer.tracking.store import runs, users
from composer.tracking.store.store import Store
from tests.tracking.tracker import Tracker, lines

KILLS = int(os.environ.get("COMPOSER_TRACKER_KILLS", "5"))
CLIENTS = 10


class Client(threading.Thread):
    """Posts rows until told to stop, and goes on with the same lines after any failure."""

    def __init__(self, tracker: Tracker, name: str) -> None:
        super().__init__()
        self.tracker = tracker
        self.name = name
        self.acknowledged = 0
        self.is_done = threading.Event()
        self.failures: list[str] = []

    def run(self) -> None:
        while not self.is_done.is_set():
            try:
                status, answer = self.tracker.post("kills", self.name, lines(self.acknowledged, 7))
            except (urllib.error.URLError, OSError, http.client.HTTPException):
                self.is_done.wait(0.02)
                continue
            if status == 200:
                self.acknowledged += 7
            elif status not in (500, 503):
                self.failures.append(f"{status} {answer}")
                return


def test_what_was_acknowledged_survives_sigkill_and_is_there_once(tmp_path: Path) -> None:
    tracker = Tracker(tmp_path / "store")
    clients = [Client(tracker, f"r{i}") for i in range(CLIENTS)]
    for client in clients:
        tracker.make_run("kills", client.name)
        client.start()
    try:
        for _ in range(KILLS):
            before = sum(client.acknowledged for client in clients)
            while sum(client.acknowledged for client in clients) < before + 200:
                assert any(client.is_alive() for client in clients)
            tracker.kill()
            fresh = Tracker(tracker.folder, port=tracker.port)
            tracker.process = fresh.process
    finally:
        for client in clients:
            client.is_done.set()
        for client in clients:
            client.join()
    tracker.stop()
    store = Store(tmp_path / "store")
    try:
        with store.reading() as reader:
            user = users.everyone(reader)[0]
            project = runs.find_project(reader, user, None, "kills")
            assert project is not None
            for client in clients:
                assert client.failures == []
                run = runs.find(reader, project["id"], client.name)
                assert run is not None
                rows = store.rows.read(reader, run["id"], 0, 0, 10**9)
                assert len(rows) >= client.acknowledged
                assert [row["_step"] for row in rows] == list(range(len(rows)))
                assert [row["loss"] for row in rows] == [i / 7 for i in range(len(rows))]
    finally:
        store.close()


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files, as Linux does")
def test_a_full_disk_makes_clients_try_again_and_spoils_nothing(tmp_path: Path) -> None:
    # A child of its own, since a limit cannot be raised again. Writing beyond it fails like a
    # full disk.
    script = f"""
import json, resource, signal, sys
sys.path[:0] = [{str(Path(__file__).parents[2])!r}]
from pathlib import Path
from tests.tracking.test_faults import fill
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
fill(Path({str(tmp_path)!r}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["refused"] is True
    store = Store(tmp_path / "full")
    try:
        with store.reading() as reader:
            rows = store.rows.read(reader, found["run"], 0, 0, 10**9)
        assert [row["_step"] for row in rows] == list(range(found["acknowledged"]))
    finally:
        store.close()


def fill(folder: Path) -> None:
    """Post until the disk is full, make room, and post once more."""
    store = Store(folder / "full")
    store.ensure_first_user()
    with store.reading() as reader:
        user = users.everyone(reader)[0]
    run, _ = store.do(lambda tx: runs.upsert(tx, user, {"modelName": "p", "name": "r"}))
    acknowledged, refused = 0, False

    def post() -> None:
        body = filestream.parse(json.dumps(lines(acknowledged, 500)).encode())
        store.do(lambda tx: store.ingest.post(tx, runs.reload(tx, run["id"]), body))

    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    while not refused:
        try:
            post()
            acknowledged += 500
        except RetryLaterError:
            refused = True
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    post()
    acknowledged += 500
    store.close()
    print(json.dumps({"run": run["id"], "acknowledged": acknowledged, "refused": refused}))


def test_a_second_server_on_a_folder_is_refused(store: Store) -> None:
    with pytest.raises(TrackingError, match="in use by another tracker"):
        Store(store.folder)


def test_a_torn_write_at_the_end_of_the_journal_is_dropped(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    store.ensure_first_user()
    path = store.journal.path(store.journal.end.segment)
    store.close()
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"\x50\x00\x00\x00torn")
    again = Store(tmp_path / "s")
    with again.reading() as reader:
        assert [row["name"] for row in users.everyone(reader)] == ["local"]
    again.close()
    assert path.stat().st_size == size


def test_a_journal_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    path = store.journal.path(1)
    store.close()
    data = bytearray(path.read_bytes())
    data[16] = 99
    path.write_bytes(bytes(data))
    with pytest.raises(TrackingError, match="newer version"):
        Store(tmp_path / "s")


def test_an_index_of_an_older_version_is_made_anew(tmp_path: Path) -> None:
    import sqlite3

    store = Store(tmp_path / "s")
    store.ensure_first_user()
    store.close()
    connection = sqlite3.connect(tmp_path / "s" / "index.db")
    connection.execute("UPDATE meta SET value = '0' WHERE name = 'version'")
    connection.execute("DELETE FROM users")
    connection.commit()
    connection.close()
    again = Store(tmp_path / "s")
    assert again.was_rebuilt
    with again.reading() as reader:
        assert [row["name"] for row in users.everyone(reader)] == ["local"]
    again.close()


def test_a_run_deleted_while_it_logs_tells_its_client(own_tracker: Tracker) -> None:
    opaque = own_tracker.make_run("p", "r")
    assert own_tracker.post("p", "r", lines(0, 5))[0] == 200
    own_tracker.graphql("mutation M($i: ID!) {deleteRun(input: {id: $i}) {success}}", i=opaque)
    status, answer = own_tracker.post("p", "r", lines(5, 5))
    assert status == 404
    assert "deleted" in answer["error"]


def test_a_clock_set_back_or_forth_crashes_no_run(store: Store) -> None:
    from composer.tracking.server.heartbeats import Heartbeats

    with store.reading() as reader:
        user = users.everyone(reader)[0]
    run, _ = store.do(lambda tx: runs.upsert(tx, user, {"modelName": "p", "name": "r"}))
    clock = [100.0]
    beats = Heartbeats(store, 60, now=lambda: clock[0])
    beats.hear(run["id"])
    clock[0] += 59
    assert beats.check() == 0
    clock[0] += 2
    assert beats.check() == 1
