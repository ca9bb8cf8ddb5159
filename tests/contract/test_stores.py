"""What every store of files must do, wherever the files are."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from composer.errors import ConfigError, ObjectNotFoundError, StorageError
from composer.storage import gcs
from composer.storage.fsspec_store import FsspecObjectStore
from composer.storage.gcs import GCSObjectStore
from composer.storage.libcloud import LibcloudObjectStore
from composer.storage.object_store import ObjectStore
from composer.storage.s3 import S3ObjectStore
from composer.storage.sftp import SFTPObjectStore
from tests.storage._servers import BUCKET, KEYS, S3Server, sftp_server

# The driver of local folders says that it sorts out names by itself, which is all the same here.
pytestmark = pytest.mark.filterwarnings("ignore:Driver LocalStorageDriver")

Place = Callable[[Path, pytest.MonkeyPatch], Iterator[ObjectStore]]
SERVER: list[S3Server] = []


@pytest.fixture(scope="module", autouse=True)
def server(s3_service: S3Server) -> Iterator[None]:
    SERVER.append(s3_service)
    yield
    SERVER.clear()


def s3_store(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    yield SERVER[0].store(prefix=f"{folder.name}/s3")


def gcs_store(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """By the interface that speaks S3's protocol."""
    patch.setenv("GCS_KEY", "test")
    patch.setenv("GCS_SECRET", "test")
    patch.setattr(gcs, "_S3_INTERFACE", SERVER[0].url)
    yield GCSObjectStore(BUCKET, f"/{folder.name}/gcs/")


def memory_store(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    yield FsspecObjectStore(f"memory://{folder.name}")


def file_store(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    yield FsspecObjectStore(f"file://{folder}/far")


def libcloud_store(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    (folder / "far" / "container").mkdir(parents=True)
    patch.setenv("FAR_FOLDER", str(folder / "far"))
    yield LibcloudObjectStore("local", "container", chunk_size=1000, key_environ="FAR_FOLDER")


def sftp_store(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    root = folder / "far"
    root.mkdir()
    with sftp_server(root) as (port, key):
        known = folder / "known_hosts"
        known.write_text(f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n")
        with SFTPObjectStore(
            "127.0.0.1", port, "user", "secret", known_hosts_filename=str(known), cwd="/runs"
        ) as store:
            yield store


@pytest.fixture(
    params=[s3_store, gcs_store, memory_store, file_store, libcloud_store, sftp_store],
    ids=lambda place: place.__name__,
)
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ObjectStore]:
    with contextmanager(request.param)(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.bin"
    path.write_bytes(bytes(range(256)) * 40)
    return path


def test_a_file_comes_back_as_it_was(store: ObjectStore, source: Path, tmp_path: Path) -> None:
    store.upload_object("run/ep1 ü.pt", source)
    target = tmp_path / "new folder" / "target"
    store.download_object("run/ep1 ü.pt", target)
    assert target.read_bytes() == source.read_bytes()
    assert store.get_object_size("run/ep1 ü.pt") == 10240


def test_an_empty_file_is_an_object_too(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    store.upload_object("empty", tmp_path / "empty")
    store.download_object("empty", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b""


def test_a_second_upload_replaces_the_first(
    store: ObjectStore, source: Path, tmp_path: Path
) -> None:
    store.upload_object("name", source)
    (tmp_path / "short").write_bytes(b"new")
    store.upload_object("name", tmp_path / "short")
    assert store.get_object_size("name") == 3
    assert store.list_objects() == ["name"]


def test_names_are_listed_by_their_beginning(store: ObjectStore, source: Path) -> None:
    names = ["a/1", "a/2/deep", "ab", "b"]
    for name in reversed(names):
        store.upload_object(name, source)
    assert store.list_objects() == names
    assert store.list_objects("") == names
    assert store.list_objects("a") == names[:3]
    assert store.list_objects("a/") == names[:2]
    assert store.list_objects("a/2/de") == ["a/2/deep"]
    assert store.list_objects("nothing/here") == []


def test_listed_names_lead_to_the_objects(store: ObjectStore, source: Path) -> None:
    store.upload_object("a/1", source)
    (name,) = store.list_objects()
    assert store.get_object_size(name) == 10240


def test_what_is_not_there_is_not_found(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.get_object_size("missing/object")
    with pytest.raises(ObjectNotFoundError):
        store.download_object("missing/object", tmp_path / "target")
    with pytest.raises(ObjectNotFoundError):
        store.delete_object("missing/object")
    assert not (tmp_path / "target").exists()


def test_a_folder_is_no_object(store: ObjectStore, source: Path) -> None:
    store.upload_object("a/1", source)
    with pytest.raises(FileNotFoundError):
        store.get_object_size("a")


def test_a_local_file_is_not_replaced_unasked(
    store: ObjectStore, source: Path, tmp_path: Path
) -> None:
    store.upload_object("name", source)
    target = tmp_path / "target"
    target.write_text("mine")
    with pytest.raises(FileExistsError):
        store.download_object("name", target)
    assert target.read_text() == "mine"
    store.download_object("name", target, overwrite=True)
    assert target.read_bytes() == source.read_bytes()


def test_a_missing_local_file_is_named(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no local file"):
        store.upload_object("name", tmp_path / "missing")
    assert store.list_objects() == []


def test_an_object_can_be_deleted(store: ObjectStore, source: Path) -> None:
    store.upload_object("name", source)
    store.delete_object("name")
    assert store.list_objects() == []


def test_progress_ends_at_the_whole(store: ObjectStore, source: Path, tmp_path: Path) -> None:
    sent: list[tuple[int, int]] = []
    received: list[tuple[int, int]] = []
    store.upload_object("name", source, lambda *values: sent.append(values))
    store.download_object("name", tmp_path / "t", callback=lambda *values: received.append(values))
    assert sent[-1] == received[-1] == (10240, 10240)


def test_the_address_ends_in_the_name(store: ObjectStore) -> None:
    assert "://" in store.get_uri("run/ep1.pt")
    assert store.get_uri("run/ep1.pt").endswith("/run/ep1.pt")


@pytest.mark.parametrize("name", ["", "/", "../other", "run/../../other"])
def test_a_name_cannot_leave_the_store(store: ObjectStore, source: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        store.upload_object(name, source)


def test_a_copy_from_a_pickle_reaches_the_same_place(
    store: ObjectStore, source: Path, tmp_path: Path
) -> None:
    store.upload_object("name", source)
    with pickle.loads(pickle.dumps(store)) as copy:
        assert copy.get_object_size("name") == 10240


def test_wrong_credentials_are_no_reason_to_try_again(tmp_path: Path) -> None:
    from composer.errors import StorageTransientError

    server = SERVER[0]
    server.failures_left, server.failing_status = 1, "403 Forbidden"
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="credentials") as caught:
        S3ObjectStore(BUCKET, endpoint_url=server.url, **KEYS).upload_object("x", tmp_path / "file")
    server.failing_status = "503 Slow Down"
    assert not isinstance(caught.value, StorageTransientError)


def test_an_object_is_created_once(store: ObjectStore, tmp_path: Path) -> None:
    store.create_object("folder/mark.json", b"first")
    with pytest.raises(FileExistsError, match=r"folder/mark\.json' exists"):
        store.create_object("folder/mark.json", b"second")
    store.download_object("folder/mark.json", tmp_path / "mark")
    assert (tmp_path / "mark").read_bytes() == b"first"
    store.delete_object("folder/mark.json")
    store.create_object("folder/mark.json", b"third")


def test_of_several_that_create_an_object_at_once_one_succeeds(store: ObjectStore) -> None:
    if isinstance(store, LibcloudObjectStore):
        pytest.skip("Libcloud cannot create in one step")

    def create(number: int) -> bool:
        try:
            store.create_object("mark", str(number).encode())
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(8))) == 1
