"""Getting files from everywhere."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from composer.errors import ArgumentTypeError, StorageError
from composer.storage.files import (
    extract_path_from_symlink,
    get_file,
    list_remote_objects,
    validate_credentials,
)
from composer.storage.object_store import ObjectStoreTransientError
from composer.storage.uri import store_of
from tests.storage._servers import S3Server


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.txt"
    path.write_text("content")
    return path


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    handler = partial(Quiet, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def put(uri: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "put").write_text(text)
    with store_of(uri) as store:
        store.upload_object(uri.split("/", 3)[3], tmp_path / "put")


def test_a_local_file_is_linked(source: Path, tmp_path: Path) -> None:
    get_file(str(source), tmp_path / "new" / "target")
    assert (tmp_path / "new" / "target").is_symlink()
    assert (tmp_path / "new" / "target").read_text() == "content"


def test_a_local_link_is_replaced_when_asked(source: Path, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    with pytest.raises(FileExistsError):
        get_file(str(source), tmp_path / "target")
    get_file(str(source), tmp_path / "target", overwrite=True)
    get_file(str(source), tmp_path / "target", overwrite=True)
    assert (tmp_path / "target").read_text() == source.read_text() == "content"


def test_a_missing_file_is_named(tmp_path: Path, s3: S3Server) -> None:
    for path in (str(tmp_path / "missing"), "s3://bucket/missing"):
        with pytest.raises(FileNotFoundError, match="missing"):
            get_file(path, tmp_path / "target")


def test_an_object_is_downloaded(tmp_path: Path, s3: S3Server) -> None:
    put("s3://bucket/run/a.txt", "remote", tmp_path)
    get_file("s3://bucket/run/a.txt", tmp_path / "target")
    assert (tmp_path / "target").read_text() == "remote"
    with store_of("s3://bucket") as store:
        get_file("run/a.txt", tmp_path / "again", store, progress_bar=False)
    assert (tmp_path / "again").read_text() == "remote"


@pytest.mark.usefixtures("no_waits")
def test_a_download_is_tried_again(tmp_path: Path, s3: S3Server) -> None:
    put("s3://bucket/run/a.txt", "remote", tmp_path)
    s3.failures_left = 2
    get_file("run/a.txt", tmp_path / "target", s3.store())
    assert (tmp_path / "target").read_text() == "remote"
    assert s3.failures_left == 0


def test_links_in_a_bucket_are_followed(tmp_path: Path, s3: S3Server) -> None:
    put("s3://bucket/run/ep2.pt", "weights", tmp_path)
    put("s3://bucket/run/latest.pt.symlink", "run/ep2.pt", tmp_path)
    for name in ("run/latest.pt", "run/latest.pt.symlink"):
        get_file(f"s3://bucket/{name}", tmp_path / "target", overwrite=True)
        assert (tmp_path / "target").read_text() == "weights"
    assert extract_path_from_symlink("s3://bucket/run/latest.pt.symlink") == "run/ep2.pt"


def test_a_link_may_lead_to_another_place(tmp_path: Path) -> None:
    put("memory://two-places/ep2.pt", "weights", tmp_path)
    (tmp_path / "latest.pt.symlink").write_text("memory://two-places/ep2.pt")
    get_file(str(tmp_path / "latest.pt"), tmp_path / "target")
    assert (tmp_path / "target").read_text() == "weights"


def test_local_links_are_relative_to_their_folder(source: Path, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "latest.symlink").write_text("../source.txt")
    get_file(str(tmp_path / "below" / "latest"), tmp_path / "target")
    assert (tmp_path / "target").read_text() == "content"


def test_links_in_a_ring_are_refused(tmp_path: Path) -> None:
    put("memory://ring/a.symlink", "memory://ring/b", tmp_path)
    put("memory://ring/b.symlink", "memory://ring/a", tmp_path)
    put("memory://ring/c.symlink", "c", tmp_path)
    for name in "ac":
        with pytest.raises(StorageError, match="do not come to an end"):
            get_file(f"memory://ring/{name}", tmp_path / "target")


def test_a_page_is_downloaded(source: Path, tmp_path: Path, web: str) -> None:
    get_file(f"{web}/source.txt", tmp_path / "target")
    assert (tmp_path / "target").read_text() == "content"


def test_a_missing_page_is_not_found(tmp_path: Path, web: str) -> None:
    with pytest.raises(FileNotFoundError, match="404"):
        get_file(f"{web}/missing.txt", tmp_path / "target")


def test_a_logger_gives_its_file(tmp_path: Path) -> None:
    class Keeper:
        def download_file(
            self,
            remote_file_name: str,
            destination: str,
            overwrite: bool = False,
            progress_bar: bool = True,
        ) -> None:
            Path(destination).write_text(remote_file_name)

    get_file("name", tmp_path / "target", Keeper())
    assert (tmp_path / "target").read_text() == "name"


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentTypeError, match="neither"):
        get_file("name", tmp_path / "target", object())  # pyright: ignore[reportArgumentType]


def test_objects_are_listed_by_their_address(tmp_path: Path) -> None:
    put("memory://listed/run-1/a", "", tmp_path)
    put("memory://listed/run-2/a", "", tmp_path)
    assert list_remote_objects("memory://listed/run-2") == ["run-2/a"]


def test_a_store_that_answers_is_fine(s3: S3Server) -> None:
    validate_credentials(s3.store(), "whatever")


@pytest.mark.usefixtures("no_waits")
def test_a_store_that_does_not_let_us_in_is_refused(s3: S3Server) -> None:
    with pytest.raises(StorageError, match="could not look up"):
        validate_credentials(s3.store(endpoint_url="http://127.0.0.1:9"), "whatever")


@pytest.mark.usefixtures("no_waits")
def test_a_truncated_page_is_no_file(tmp_path: Path) -> None:
    class Short(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"short")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Short)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.raises(ObjectStoreTransientError):
        get_file(f"http://127.0.0.1:{server.server_port}/x", tmp_path / "target")
    assert not (tmp_path / "target").exists()
    server.shutdown()
    server.server_close()
