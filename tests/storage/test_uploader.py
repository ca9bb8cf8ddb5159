"""Uploads in the background: in order, tried again, never lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from composer.errors import ConfigError, StateError, StorageError, UploadError
from composer.storage import transfer
from composer.storage.fsspec_store import FsspecObjectStore
from composer.storage.object_store import ObjectStore, ObjectStoreTransientError
from composer.storage.uploader import RetryPolicy, Uploader
from tests.storage._servers import S3Server

pytestmark = pytest.mark.usefixtures("waiting_folder")

QUICK = RetryPolicy(4, first_wait_s=0.05)
PATIENT_S = 60


class Gate(FsspecObjectStore):
    """A store in memory that lets uploads through when it is opened, and notes their order."""

    def __init__(self, name: str) -> None:
        super().__init__(f"memory://{name}")
        self.gate = threading.Event()
        self.began: list[str] = []
        self.errors: dict[str, list[Exception]] = {}

    def upload_object(self, object_name: str, filename: Any, *args: Any, **kwargs: Any) -> None:
        self.began.append(object_name)
        assert self.gate.wait(PATIENT_S)
        if self.errors.get(object_name):
            raise self.errors[object_name].pop(0)
        super().upload_object(object_name, filename, *args, **kwargs)


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path.name)


@pytest.fixture
def uploaders() -> Iterator[list[Uploader]]:
    made: list[Uploader] = []
    yield made
    for each in made:
        each.close(timeout_s=0)


@pytest.fixture
def all_in_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files are sent as large ones are."""
    monkeypatch.setattr(transfer, "SMALL_BYTES", 0)


def text_file(folder: Path, text: str, name: str = "file.txt") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def content(store: ObjectStore, name: str, folder: Path) -> str:
    store.download_object(name, folder / "content", overwrite=True)
    return (folder / "content").read_text()


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + PATIENT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.usefixtures("all_in_helpers")
@pytest.mark.parametrize("use_processes", [False, True])
def test_a_file_arrives(s3: S3Server, tmp_path: Path, use_processes: bool) -> None:
    uploader = Uploader(s3.store(), use_processes=use_processes)
    upload = uploader.submit(text_file(tmp_path, "one"), "run/one")
    assert upload.wait(PATIENT_S) == "s3://bucket/run/one"
    assert uploader.close() == []
    assert content(s3.store(), "run/one", tmp_path) == "one"


def test_the_file_may_change_once_it_was_submitted(
    gate: Gate, tmp_path: Path, uploaders: list[Uploader]
) -> None:
    uploaders.append(Uploader(gate))
    path = text_file(tmp_path, "as it was")
    uploaders[0].submit(path, "a")
    path.write_text("changed")
    path.unlink()
    gate.gate.set()
    uploaders[0].wait(PATIENT_S)
    assert content(gate, "a", tmp_path) == "as it was"


def test_a_linked_file_takes_no_space_and_may_go_away(
    gate: Gate, tmp_path: Path, uploaders: list[Uploader]
) -> None:
    uploaders.append(Uploader(gate))
    path = text_file(tmp_path, "whole")
    uploaders[0].submit(path, "a", link=True)
    assert path.stat().st_nlink == 2
    path.unlink()
    gate.gate.set()
    uploaders[0].wait(PATIENT_S)
    assert content(gate, "a", tmp_path) == "whole"


def test_a_file_comes_after_those_it_names(
    gate: Gate, tmp_path: Path, uploaders: list[Uploader]
) -> None:
    uploaders.append(Uploader(gate, num_workers=4, retries=QUICK))
    gate.errors["part-1"] = [ObjectStoreTransientError("busy"), ObjectStoreTransientError("busy")]
    path = text_file(tmp_path, "x")
    parts = [uploaders[0].submit(path, f"part-{index}") for index in range(3)]
    manifest = uploaders[0].submit(path, "manifest", after=parts)
    uploaders[0].submit(path, "latest", after=[manifest])
    wait_for(lambda: len(gate.began) == 3)
    gate.gate.set()
    uploaders[0].wait(PATIENT_S)
    assert sorted(gate.began[:3]) == ["part-0", "part-1", "part-2"]
    assert gate.began[3:] == ["part-1", "part-1", "manifest", "latest"]


def test_what_comes_after_a_failure_is_not_uploaded(
    gate: Gate, tmp_path: Path, uploaders: list[Uploader]
) -> None:
    uploaders.append(Uploader(gate, retries=QUICK))
    gate.errors["part"] = [StorageError("forbidden")]
    gate.gate.set()
    path = text_file(tmp_path, "x")
    part = uploaders[0].submit(path, "part")
    manifest = uploaders[0].submit(path, "manifest", after=[part])
    latest = uploaders[0].submit(path, "latest", after=[manifest])
    with pytest.raises(UploadError, match="'part': forbidden"):
        uploaders[0].wait(PATIENT_S)
    assert gate.list_objects() == []
    with pytest.raises(UploadError, match="comes after 'manifest'"):
        latest.wait(PATIENT_S)


def test_a_name_is_uploaded_in_order_and_what_waits_is_replaced(
    gate: Gate, tmp_path: Path, uploaders: list[Uploader]
) -> None:
    uploaders.append(Uploader(gate, num_workers=3))
    first = uploaders[0].submit(text_file(tmp_path, "1"), "latest", overwrite=True)
    wait_for(lambda: gate.began == ["latest"])
    second = uploaders[0].submit(text_file(tmp_path, "2"), "latest", overwrite=True)
    third = uploaders[0].submit(text_file(tmp_path, "3"), "latest", overwrite=True)
    assert uploaders[0].pending == ["latest", "latest"]
    gate.gate.set()
    assert {each.wait(PATIENT_S) for each in (first, second, third)} == {gate.get_uri("latest")}
    assert gate.began == ["latest", "latest"]
    assert content(gate, "latest", tmp_path) == "3"


def test_what_others_wait_for_is_not_replaced(
    gate: Gate, tmp_path: Path, uploaders: list[Uploader]
) -> None:
    uploaders.append(Uploader(gate, num_workers=1))
    path = text_file(tmp_path, "x")
    uploaders[0].submit(path, "first")
    wait_for(lambda: gate.began == ["first"])
    part = uploaders[0].submit(path, "part", overwrite=True)
    uploaders[0].submit(path, "manifest", after=[part])
    uploaders[0].submit(path, "part", overwrite=True)
    gate.gate.set()
    uploaders[0].wait(PATIENT_S)
    assert gate.began == ["first", "part", "manifest", "part"]


def test_an_existing_object_is_not_replaced_unasked(
    gate: Gate, tmp_path: Path, uploaders: list[Uploader]
) -> None:
    gate.gate.set()
    gate.upload_object("a", text_file(tmp_path, "theirs"))
    uploaders.append(Uploader(gate))
    upload = uploaders[0].submit(text_file(tmp_path, "mine"), "a")
    with pytest.raises(FileExistsError, match="may not be overwritten"):
        upload.wait(PATIENT_S)
    with pytest.raises(FileExistsError, match="1 upload"):
        uploaders[0].check()
    assert content(gate, "a", tmp_path) == "theirs"
    # To try that again at the next start would fail for ever.
    assert uploaders[0].close() == []


def test_a_busy_service_is_asked_again(s3: S3Server, tmp_path: Path) -> None:
    s3.failures_left = 3
    uploader = Uploader(s3.store(), retries=QUICK, num_workers=1)
    uploader.submit(text_file(tmp_path, "x"), "a")
    assert uploader.close(PATIENT_S) == []
    assert s3.failures_left == 0
    assert s3.uploads == ["a"]


def test_a_service_that_goes_away_and_comes_back_loses_nothing(
    s3: S3Server, tmp_path: Path
) -> None:
    uploader = Uploader(s3.store(), retries=RetryPolicy(50, 0.05, 0.2))
    s3.stop()
    try:
        upload = uploader.submit(text_file(tmp_path, "x"), "a")
        time.sleep(0.5)
        assert not upload.is_done
        uploader.check()
    finally:
        s3.start()
    assert uploader.close(PATIENT_S) == []
    assert s3.store().list_objects() == ["a"]


def test_refused_credentials_are_not_tried_again(s3: S3Server, tmp_path: Path) -> None:
    s3.failures_left, s3.failing_status = 1000, "403 Forbidden"
    uploader = Uploader(s3.store(), retries=RetryPolicy(100, 10))
    uploader.submit(text_file(tmp_path, "x"), "a", overwrite=True)
    with pytest.raises(UploadError, match="next start tries again"):
        uploader.wait(PATIENT_S)
    assert uploader.close() == ["a"]


def test_closing_is_bounded_where_the_service_is_slow(s3: S3Server, tmp_path: Path) -> None:
    s3.delay_s = 60
    uploader = Uploader(s3.store())
    uploader.submit(text_file(tmp_path, "x"), "a", overwrite=True)
    begin = time.monotonic()
    assert uploader.close(timeout_s=0.2) == ["a"]
    assert time.monotonic() - begin < 30


class SlowToAnswer(Gate):
    """A store that says what it holds when it is opened."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.asked = threading.Event()

    def get_object_size(self, object_name: str) -> int:
        self.asked.set()
        assert self.gate.wait(PATIENT_S)
        return super().get_object_size(object_name)


def test_nothing_is_sent_after_closing_where_an_answer_came_late(tmp_path: Path) -> None:
    store = SlowToAnswer(tmp_path.name)
    uploader = Uploader(store)
    uploader.submit(text_file(tmp_path, "x"), "a")
    assert store.asked.wait(PATIENT_S)
    assert uploader.close(timeout_s=0) == ["a"]
    store.gate.set()
    for thread in threading.enumerate():
        if thread.name.startswith("upload-"):
            thread.join(PATIENT_S)
    assert store.began == []
    assert Uploader(store).close(PATIENT_S) == []
    assert store.began == ["a"]


def test_what_could_not_be_uploaded_goes_on_at_the_next_start(
    s3: S3Server, tmp_path: Path, waiting_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    s3.stop()
    try:
        uploader = Uploader(s3.store(), scope="run", retries=RetryPolicy(100, 0.05, 0.1))
        part = uploader.submit(text_file(tmp_path, "part"), "part")
        uploader.submit(text_file(tmp_path, "manifest"), "manifest", after=[part])
        assert uploader.close(timeout_s=0.3) == ["part", "manifest"]
        assert "not uploaded" in caplog.text
    finally:
        s3.start()
    other = Uploader(s3.store(), scope="another run")
    assert other.close() == []
    assert s3.store().list_objects() == []
    assert Uploader(s3.store(), scope="run").close(PATIENT_S) == []
    assert s3.uploads == ["part", "manifest"]
    assert [path for path in waiting_folder.rglob("*") if path.is_file()] == []


KILLED = """
import sys, time
from composer.storage import transfer
from composer.storage.uploader import Uploader
from composer.storage.uri import store_of

transfer.SMALL_BYTES = 0
uploader = Uploader(store_of("s3://bucket"), scope="run", use_processes=sys.argv[2] == "True")
parts = [uploader.submit(sys.argv[1], f"part-{index}") for index in range(6)]
uploader.submit(sys.argv[1], "manifest", after=parts)
print("submitted", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("use_processes", [False, True])
def test_a_killed_process_loses_nothing(s3: S3Server, tmp_path: Path, use_processes: bool) -> None:
    path = text_file(tmp_path, "content" * 1000)
    s3.delay_s = 0.3
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), str(use_processes)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "submitted\n"
    wait_for(lambda: len(s3.uploads) >= 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    s3.delay_s = 0.0
    path.unlink()
    assert "manifest" not in s3.uploads
    assert Uploader(s3.store(), scope="run").close(PATIENT_S) == []
    names = [f"part-{index}" for index in range(6)]
    assert s3.store().list_objects() == ["manifest", *names]
    # A helper of the killed process may send its file once more, after all is there.
    assert all(s3.uploads.index(name) < s3.uploads.index("manifest") for name in names)
    assert content(s3.store(), "manifest", tmp_path) == "content" * 1000


def test_two_processes_at_once_do_not_touch_each_others_files(
    gate: Gate, tmp_path: Path, uploaders: list[Uploader]
) -> None:
    uploaders += [Uploader(gate, scope="run"), Uploader(gate, scope="run")]
    uploaders[0].submit(text_file(tmp_path, "x"), "a")
    assert uploaders[1].pending == []
    gate.gate.set()
    uploaders[0].wait(PATIENT_S)
    assert gate.began == ["a"]


def helpers() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if _is_helper(each)]


def _is_helper(process: psutil.Process) -> bool:
    try:
        return "composer.storage.transfer" in " ".join(process.cmdline())
    except psutil.ZombieProcess:  # another test's, which has ended and was not waited for
        return False


@pytest.mark.usefixtures("all_in_helpers")
def test_a_helper_that_dies_is_replaced(s3: S3Server, tmp_path: Path) -> None:
    uploader = Uploader(s3.store(), use_processes=True, num_workers=1, retries=QUICK)
    uploader.submit(text_file(tmp_path, "x"), "a").wait(PATIENT_S)
    s3.delay_s = 2
    upload = uploader.submit(text_file(tmp_path, "x"), "b", overwrite=True)
    wait_for(lambda: uploader.pending == ["b"])
    (helper,) = helpers()
    time.sleep(0.3)
    helper.kill()
    s3.delay_s = 0
    upload.wait(PATIENT_S)
    assert uploader.close() == []


@pytest.mark.usefixtures("all_in_helpers")
def test_an_error_in_a_helper_keeps_its_meaning(s3: S3Server, tmp_path: Path) -> None:
    s3.failures_left, s3.failing_status = 1, "403 Forbidden"
    uploader = Uploader(s3.store(), use_processes=True, retries=RetryPolicy(100, 10))
    upload = uploader.submit(text_file(tmp_path, "x"), "a", overwrite=True)
    with pytest.raises(StorageError, match="credentials"):
        upload.wait(PATIENT_S)
    uploader.close()


def test_progress_is_shown_in_bytes(
    s3: S3Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    s3.delay_s = 0.8
    uploader = Uploader(s3.store())
    uploader.submit(text_file(tmp_path, "x" * 2048), "a", overwrite=True)
    uploader.wait(PATIENT_S, progress_bar=True)
    uploader.close()
    assert "2.00k/2.00k" in capsys.readouterr().err


def test_small_files_start_no_helper(s3: S3Server, tmp_path: Path) -> None:
    uploader = Uploader(s3.store(), use_processes=True)
    uploader.submit(text_file(tmp_path, "x"), "a").wait(PATIENT_S)
    assert not helpers()
    uploader.close()


def test_large_files_are_sent_in_parts(s3: S3Server, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(os.urandom(11 * 2**20))
    sent: list[int] = []
    store = s3.store(transfer_config={"multipart_chunksize": 5 * 2**20, "max_concurrency": 2})
    store.upload_object("large", path, lambda done, total: sent.append(done))
    assert len(set(sent)) >= 3
    store.download_object("large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == path.read_bytes()


def test_nothing_can_be_submitted_after_the_end(gate: Gate, tmp_path: Path) -> None:
    uploader = Uploader(gate)
    uploader.close()
    with pytest.raises(StateError):
        uploader.submit(text_file(tmp_path, "x"), "a")


@pytest.mark.parametrize("arguments", [{"num_workers": 0}, {"folder": None, "num_workers": -1}])
def test_arguments_that_cannot_work_are_refused(gate: Gate, arguments: Any) -> None:
    with pytest.raises(ConfigError):
        Uploader(gate, **arguments)


@pytest.mark.parametrize("arguments", [(0,), (1, -1.0), (1, 1.0, -1.0)])
def test_a_policy_that_cannot_work_is_refused(arguments: Any) -> None:
    with pytest.raises(ConfigError):
        RetryPolicy(*arguments)


def test_waits_grow_to_a_limit() -> None:
    policy = RetryPolicy(100, first_wait_s=1, longest_wait_s=8)
    waits = [policy.wait_s(attempt) for attempt in range(1, 20)]
    assert 0.75 <= waits[0] <= 1.25
    assert all(6 <= each <= 10 for each in waits[3:])
