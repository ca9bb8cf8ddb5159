"""Real services on loopback: an S3 server whose answers can be spoilt, and an SFTP server."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import paramiko
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

from composer.storage.s3 import S3ObjectStore

KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
BUCKET = "bucket"


class S3Server:
    """An S3 server; requests can be made to fail, to be slow, or it can go away and come back."""

    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server: BaseWSGIServer | None = None
        self._port = 0
        self.failures_left = 0
        self.failing_status = "503 Slow Down"
        self.delay_s = 0.0
        self.uploads: list[str] = []
        self.downloads: list[str] = []
        self._num_busy = 0
        self._idle = threading.Condition()
        self._hurry = threading.Event()
        self.start()
        client = boto3.client("s3", endpoint_url=self.url, region_name="us-east-1", **KEYS)
        client.create_bucket(Bucket=BUCKET)
        client.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Answer, on the same port as before."""
        self._server = make_server("127.0.0.1", self._port, self, threaded=True)
        self._port = self._server.port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Be gone: connections are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def reset(self) -> None:
        """Wait for requests that are under way, then forget everything but the objects."""
        self.failures_left, self.failing_status, self.delay_s = 0, "503 Slow Down", 0.0
        self._hurry.set()
        with self._idle:
            assert self._idle.wait_for(lambda: self._num_busy == 0, timeout=60)
        self._hurry.clear()
        self.uploads.clear()
        self.downloads.clear()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        with self._idle:
            self._num_busy += 1
        try:
            return self._answer(environ, start_response)
        finally:
            with self._idle:
                self._num_busy -= 1
                self._idle.notify_all()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Any:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        # A client sends again only what was read.
        if method in ("PUT", "GET") and path.count("/") > 1:
            self._hurry.wait(self.delay_s)
            if self.failures_left > 0:
                self.failures_left -= 1
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                start_response(self.failing_status, [("Content-Length", "0")])
                return [b""]
            names = self.uploads if method == "PUT" else self.downloads
            names.append(path.split("/", 2)[2])
        return self._app(environ, start_response)

    def store(self, **options: Any) -> S3ObjectStore:
        """A store of the server's bucket whose client itself does not try again."""
        config = {"retries": {"max_attempts": 1}, "connect_timeout": 2, "read_timeout": 20}
        given = {"endpoint_url": self.url, "client_config": config, **KEYS, **options}
        return S3ObjectStore(BUCKET, **given)

    def environment(self) -> dict[str, str]:
        """What a process needs to find the server."""
        return {
            "S3_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }


class _Login(paramiko.ServerInterface):
    def check_auth_password(self, username: str, password: str) -> int:
        good = (username, password) == ("user", "secret")
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED


class _Handle(paramiko.SFTPHandle):
    def stat(self) -> Any:
        return paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))


def _answered(operation: Callable[..., Any]) -> Callable[..., Any]:
    def answer(*args: Any, **kwargs: Any) -> Any:
        try:
            found = operation(*args, **kwargs)
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)
        return paramiko.SFTP_OK if found is None else found

    return answer


class _Files(paramiko.SFTPServerInterface):
    root = ""

    def _real(self, path: str) -> str:
        return self.root + self.canonicalize(path)

    @_answered
    def list_folder(self, path: str) -> Any:
        found = []
        for name in os.listdir(self._real(path)):
            status = os.stat(os.path.join(self._real(path), name))
            found.append(paramiko.SFTPAttributes.from_stat(status, name))
        return found

    @_answered
    def stat(self, path: str) -> Any:
        return paramiko.SFTPAttributes.from_stat(os.stat(self._real(path)))

    @_answered
    def open(self, path: str, flags: int, attr: Any) -> Any:
        descriptor = os.open(self._real(path), flags, 0o600)
        handle = _Handle(flags)
        mode = "r+b" if flags & (os.O_WRONLY | os.O_RDWR) else "rb"
        handle.readfile = handle.writefile = os.fdopen(descriptor, mode)
        return handle

    @_answered
    def remove(self, path: str) -> None:
        os.remove(self._real(path))

    @_answered
    def posix_rename(self, oldpath: str, newpath: str) -> None:
        os.replace(self._real(oldpath), self._real(newpath))

    @_answered
    def mkdir(self, path: str, attr: Any) -> None:
        os.mkdir(self._real(path))


@contextmanager
def sftp_server(root: Path) -> Iterator[tuple[int, paramiko.PKey]]:
    """Serve a folder to ``user`` with the password ``secret``; gives the port and the host key."""
    key = paramiko.ECDSAKey.generate()
    files = type("Files", (_Files,), {"root": str(root)})
    listener = socket.create_server(("127.0.0.1", 0))
    transports: list[paramiko.Transport] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, files)
            transports.append(transport)
            transport.start_server(server=_Login())

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1], key
    finally:
        # Closing alone does not wake a thread that accepts.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for transport in transports:
            transport.close()
