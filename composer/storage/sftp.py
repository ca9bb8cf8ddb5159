"""Machines reached by SFTP."""

from __future__ import annotations

import os
import secrets
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from composer.env import Variable
from composer.errors import ConfigError, ObjectNotFoundError, did_you_mean
from composer.storage.checks import check_name, check_source, check_target, exists_already
from composer.storage.failures import translated
from composer.storage.object_store import ObjectStore, Progress
from composer.utils.atomic import atomic_write
from composer.utils.import_helpers import import_extra

__all__ = ["SFTPObjectStore"]

StrPath = str | os.PathLike[str]
_POLICIES = ("AutoAddPolicy", "RejectPolicy", "WarningPolicy")


class SFTPObjectStore(ObjectStore):
    """A folder on a machine that is reached by SFTP.

    A file is sent under a hidden name and renamed once it is complete.

    Args:
        host: the machine, or an address ``sftp://user@host:port/folder``.
        port: its port.
        username: whom to log in as; the current user by default.
        password: the password, or that of the private key.
        known_hosts_filename: file with the host keys to accept; that of the environment variable
            below by default, else ``~/.ssh/known_hosts``.
        known_hosts_filename_environ: name of the environment variable for it.
        key_filename: private key; that of the environment variable below by default, else those
            in ``~/.ssh`` and of an agent.
        key_filename_environ: name of the environment variable for it.
        missing_host_key_policy: what to do about a host whose key is not known:
            ``"RejectPolicy"``, ``"WarningPolicy"`` or ``"AutoAddPolicy"``. Only the first is safe.
        cwd: folder all names are relative to; the login folder by default.
        connect_kwargs: further arguments of ``paramiko.SSHClient.connect``.

    Raises:
        ValueError: no host, or an unknown policy.
        ImportError: paramiko is not installed.
    """

    def __init__(
        self,
        host: str,
        port: int = 22,
        username: str | None = None,
        password: str | None = None,
        known_hosts_filename: str | None = None,
        known_hosts_filename_environ: str = "COMPOSER_SFTP_KNOWN_HOSTS_FILE",
        key_filename: str | None = None,
        key_filename_environ: str = "COMPOSER_SFTP_KEY_FILE",
        missing_host_key_policy: str = "RejectPolicy",
        cwd: str = "",
        connect_kwargs: dict[str, Any] | None = None,
    ) -> None:
        import_extra("paramiko", "sftp")
        if missing_host_key_policy not in _POLICIES:
            hint = did_you_mean(missing_host_key_policy, _POLICIES)
            raise ConfigError(f"missing_host_key_policy={missing_host_key_policy!r}.{hint}")
        self.host, self.port, self.username, self.cwd = _place(host, port, username, cwd)
        self._known_hosts = known_hosts_filename or _from_environment(known_hosts_filename_environ)
        self._policy = missing_host_key_policy
        self._connect_kwargs: dict[str, Any] = {
            "password": password,
            "key_filename": key_filename or _from_environment(key_filename_environ),
            **(connect_kwargs or {}),
        }
        self._lock = threading.RLock()
        self._client: Any = None
        self._sftp: Any = None

    def get_uri(self, object_name: str) -> str:
        """Return the address of an object, whether it exists or not."""
        user = f"{quote(self.username)}@" if self.username else ""
        port = "" if self.port == 22 else f":{self.port}"
        return f"sftp://{user}{self.host}{port}/{self._path(object_name).lstrip('/')}"

    def upload_object(
        self, object_name: str, filename: StrPath, callback: Progress | None = None, **kwargs: Any
    ) -> None:
        """Store a local file; see :meth:`ObjectStore.upload_object`. No ``kwargs`` are taken."""
        if kwargs:
            raise ConfigError(f"an upload by SFTP takes no {sorted(kwargs)}")
        check_source(filename)
        path = self._path(object_name)
        folder, _, name = path.rpartition("/")
        aside = f"{folder}{'/' if folder or path.startswith('/') else ''}.{name[:100]}"
        aside = f"{aside}.{secrets.token_hex(6)}.tmp"
        with self._session("upload", object_name) as sftp:
            _make_folders(sftp, folder)
            try:
                # Asks for the size afterwards and raises if it is another.
                sftp.put(os.fspath(filename), aside, callback)
                sftp.posix_rename(aside, path)
            except BaseException:
                with suppress(OSError, EOFError):
                    sftp.remove(aside)
                raise

    def create_object(self, object_name: str, content: bytes) -> None:
        """Store a few bytes, unless there is such a file; see :meth:`ObjectStore.create_object`."""
        path = self._path(object_name)
        with self._session("create", object_name) as sftp:
            _make_folders(sftp, path.rpartition("/")[0])
            try:
                file = sftp.open(path, "wx")
            except OSError as error:
                # The protocol has one code for all failures.
                if _is_there(sftp, path):
                    raise exists_already(self.get_uri(object_name)) from error
                raise
            with file:
                file.write(content)

    def get_object_size(self, object_name: str) -> int:
        """Return an object's size in bytes; see :meth:`ObjectStore.get_object_size`."""
        with self._session("look up", object_name) as sftp:
            found = sftp.stat(self._path(object_name))
        if stat.S_ISDIR(found.st_mode):
            raise ObjectNotFoundError(
                f"{self.get_uri(object_name)!r} is a folder; name one of the files in it"
            )
        return found.st_size

    def download_object(
        self,
        object_name: str,
        filename: StrPath,
        overwrite: bool = False,
        callback: Progress | None = None,
    ) -> None:
        """Fetch an object into a local file; see :meth:`ObjectStore.download_object`."""
        check_target(filename, overwrite)
        self.get_object_size(object_name)
        with (
            self._session("download", object_name) as sftp,
            atomic_write(filename, overwrite=overwrite, durable=False) as file,
        ):
            sftp.get(self._path(object_name), file.name, callback)

    def list_objects(self, prefix: str | None = None) -> list[str]:
        """Return the names that begin with ``prefix``, sorted; all if ``None``."""
        start = (prefix or "").lstrip("/")
        folder = start.rpartition("/")[0]
        with self._session("list", start or ".") as sftp:
            return sorted(name for name in self._walk(sftp, folder) if name.startswith(start))

    def delete_object(self, object_name: str) -> None:
        """Delete an object; see :meth:`ObjectStore.delete_object`."""
        with self._session("delete", object_name) as sftp:
            sftp.remove(self._path(object_name))

    def close(self) -> None:
        """End the connection; the next call makes a new one."""
        with self._lock:
            client, self._client, self._sftp = self._client, None, None
        if client is not None:
            client.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_lock": None, "_client": None, "_sftp": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.RLock()

    def _path(self, object_name: str) -> str:
        name = check_name(object_name)
        return f"{self.cwd.rstrip('/')}/{name}" if self.cwd else name

    def _walk(self, sftp: Any, folder: str) -> Iterator[str]:
        try:
            entries = sftp.listdir_attr(self._path(folder) if folder else self.cwd or ".")
        except FileNotFoundError:
            return
        for entry in entries:
            name = f"{folder}/{entry.filename}" if folder else entry.filename
            if stat.S_ISDIR(entry.st_mode):
                yield from self._walk(sftp, name)
            else:
                yield name

    @contextmanager
    def _session(self, action: str, name: str) -> Iterator[Any]:
        """The connection, made if there is none; a broken one is dropped, for the next try."""
        # One at a time: requests of several threads on one channel wait for each other anyway.
        with self._lock, translated(action, self.get_uri(name)):
            try:
                if self._sftp is None:
                    self._connect()
                yield self._sftp
            except (FileNotFoundError, FileExistsError):
                raise
            except Exception:
                self.close()
                raise

    def _connect(self) -> None:
        paramiko: ModuleType = import_extra("paramiko", "sftp")
        self._client = paramiko.SSHClient()
        if self._known_hosts is None:
            self._client.load_system_host_keys()
        else:
            self._client.load_host_keys(self._known_hosts)
        self._client.set_missing_host_key_policy(getattr(paramiko, self._policy)())
        self._client.connect(
            self.host, port=self.port, username=self.username, **self._connect_kwargs
        )
        self._sftp = self._client.open_sftp()


def _place(
    host: str, port: int, username: str | None, cwd: str
) -> tuple[str, int, str | None, str]:
    url = urlsplit(host if "://" in host else f"sftp://{host}")
    if not url.hostname:
        raise ConfigError(f"host={host!r} names no machine; give 'host' or 'sftp://user@host'")
    user = username or (unquote(url.username) if url.username else None)
    return url.hostname, url.port or port, user, cwd or url.path


def _from_environment(name: str) -> str | None:
    return Variable(name, str, None, "File for SFTP.").get()


def _is_there(sftp: Any, path: str) -> bool:
    try:
        sftp.stat(path)
    except FileNotFoundError:
        return False
    return True


def _make_folders(sftp: Any, folder: str) -> None:
    """Make a folder and those it lies in, where they are missing."""
    if folder and not _is_there(sftp, folder):
        _make_folders(sftp, folder.rpartition("/")[0])
        with suppress(OSError):
            # Another process may make it at the same moment; if it fails, the upload says so.
            sftp.mkdir(folder)
