"""Get a file from wherever it is: a local path, a web page, a store, a logger that keeps files."""

from __future__ import annotations

import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Protocol, runtime_checkable

from composer.errors import ArgumentTypeError, ObjectNotFoundError, StorageError
from composer.storage.checks import check_target
from composer.storage.failures import translated
from composer.storage.object_store import ObjectStore, ObjectStoreTransientError, Progress
from composer.storage.uri import is_uri, parse_uri, store_of
from composer.utils.atomic import atomic_write
from composer.utils.folders import LINK_SUFFIX, read_symlink_file
from composer.utils.retrying import retry

__all__ = [
    "FileSource",
    "extract_path_from_symlink",
    "get_file",
    "list_remote_objects",
    "shown_progress",
    "validate_credentials",
]

StrPath = str | os.PathLike[str]
# Fetches a name into a local file.
_Fetch = Callable[[str, str, bool], None]

_MAX_LINKS = 20
_WEB = ("http", "https")
_WEB_TIMEOUT_S = 60
_try_again = retry(ObjectStoreTransientError, num_attempts=4, initial_backoff=0.5)


@runtime_checkable
class FileSource(Protocol):
    """A logger destination that gives back the files it keeps."""

    def download_file(
        self,
        remote_file_name: str,
        destination: str,
        overwrite: bool = False,
        progress_bar: bool = True,
    ) -> None:
        """Fetch a file into a local one."""
        ...


def get_file(
    path: str,
    destination: StrPath,
    object_store: ObjectStore | FileSource | None = None,
    overwrite: bool = False,
    progress_bar: bool = True,
) -> str:
    """Put a file at a local path, following link files (``<name>.symlink``) on the way.

    A local file is not copied: the destination becomes a symbolic link to it. Where there is no
    file ``path``, a link file ``path + ".symlink"`` stands in for it. What fails for a moment is
    tried again.

    Args:
        path: a local path, an ``http(s)://`` page, an address such as ``s3://bucket/name``, or
            with ``object_store`` the name of an object there.
        destination: the local path; it appears only when it is complete.
        object_store: where the file is: a store, or a logger destination that keeps files.
        overwrite: whether an existing local file may be replaced.
        progress_bar: whether to show how far a download is.

    Returns:
        Where the file was found in the end: its path, address or name in ``object_store``.

    Raises:
        FileNotFoundError: there is no such file.
        FileExistsError: the destination exists and ``overwrite`` is false.
        StorageError: it could not be fetched.
    """
    target = os.fspath(destination)
    check_target(target, overwrite)
    for _ in range(_MAX_LINKS):
        with _fetching(path, object_store, progress_bar) as (fetch, name):
            found, is_there = _fetch_through_links(fetch, name, target, overwrite)
        if is_there:
            is_address = object_store is None and is_uri(path) and not is_uri(found)
            return _sibling(path, found) if is_address else found
        path, object_store = found, None
    raise StorageError(f"the links that lead to {path!r} do not come to an end")


def extract_path_from_symlink(
    source_path: str, object_store: ObjectStore | FileSource | None = None
) -> str:
    """Return what a link file points to, wherever the link file is; see :func:`get_file`."""
    with _fetching(source_path, object_store, progress_bar=False) as (fetch, name):
        return _read_link(fetch, name)


def list_remote_objects(remote_path: str) -> list[str]:
    """Return the names of the objects whose address begins with ``remote_path``.

    Args:
        remote_path: an address such as ``s3://bucket/run-1/``.

    Returns:
        Names in the bucket, sorted.

    Raises:
        ValueError: it is no address of a store.
    """
    with store_of(remote_path) as store:
        return store.list_objects(parse_uri(remote_path)[2])


def validate_credentials(remote_backend: ObjectStore, remote_file_name_to_test: str) -> None:
    """Ask a store for an object, to see whether it answers and lets us in.

    Args:
        remote_backend: the store.
        remote_file_name_to_test: any name; whether there is such an object does not matter.

    Raises:
        StorageError: the store does not answer, or does not let us in.
    """
    with suppress(FileNotFoundError):
        _try_again(remote_backend.get_object_size)(remote_file_name_to_test)


@contextmanager
def shown_progress(title: str, is_shown: bool) -> Iterator[Progress | None]:
    """Give a callback that draws a bar of bytes; ``None`` where nothing is to be shown."""
    if not is_shown:
        yield None
        return
    from tqdm.auto import tqdm

    with tqdm(desc=title, unit="B", unit_scale=True, unit_divisor=1024, delay=0.5) as bar:

        def tell(moved: int, total: int) -> None:
            bar.total = total
            # A second attempt begins from nothing again.
            bar.update(moved - bar.n)

        yield tell


@contextmanager
def _fetching(
    path: str, object_store: ObjectStore | FileSource | None, progress_bar: bool
) -> Iterator[tuple[_Fetch, str]]:
    """How to fetch files from the place of ``path``, and the file's name there."""
    with ExitStack() as stack:
        if object_store is None and is_uri(path):
            backend, _, name = parse_uri(path)
            if backend in _WEB:
                yield partial(_from_web, progress_bar=progress_bar), path
                return
            object_store = stack.enter_context(store_of(path))
        else:
            name = path
        if object_store is None:
            yield _from_disk, name
        elif isinstance(object_store, ObjectStore):
            yield partial(_from_store, object_store, progress_bar=progress_bar), name
        elif isinstance(object_store, FileSource):
            yield partial(_from_logger, object_store, progress_bar=progress_bar), name
        else:
            raise ArgumentTypeError(
                f"object_store={object_store!r} is neither an ObjectStore nor a logger destination "
                "that gives files back"
            )


def _from_disk(name: str, destination: str, overwrite: bool) -> None:
    if not os.path.exists(name):
        raise ObjectNotFoundError(f"there is no file {name!r}")
    if overwrite and os.path.lexists(destination):
        if os.path.samefile(name, destination):
            return
        os.remove(destination)
    os.makedirs(os.path.dirname(os.path.abspath(destination)), exist_ok=True)
    os.symlink(os.path.abspath(name), destination)


@_try_again
def _from_store(
    store: ObjectStore, name: str, destination: str, overwrite: bool, progress_bar: bool
) -> None:
    with shown_progress(f"Downloading {name}", progress_bar) as callback:
        store.download_object(name, destination, overwrite, callback)


def _from_logger(
    source: FileSource, name: str, destination: str, overwrite: bool, progress_bar: bool
) -> None:
    source.download_file(name, destination, overwrite, progress_bar)


@_try_again
def _from_web(url: str, destination: str, overwrite: bool, progress_bar: bool) -> None:
    with (
        translated("download", url),
        shown_progress(f"Downloading {url}", progress_bar) as callback,
        atomic_write(destination, overwrite=overwrite, durable=False) as file,
    ):
        try:
            # The scheme was checked: nothing but http and https comes here.
            response = urllib.request.urlopen(url, timeout=_WEB_TIMEOUT_S)  # noqa: S310
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 404:
                raise ObjectNotFoundError(f"there is no page {url!r} (404)") from error
            raise
        with response:
            total = int(response.headers.get("Content-Length") or 0)
            while chunk := response.read(2**20):
                file.write(chunk)
                if callback is not None:
                    callback(file.tell(), total)
            if total and file.tell() != total:
                raise ObjectStoreTransientError(
                    f"{url!r} has {total} bytes and {file.tell()} arrived"
                )


def _read_link(fetch: _Fetch, name: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        link = os.path.join(folder, f"link{LINK_SUFFIX}")
        fetch(name, link, False)
        target = read_symlink_file(link)
    if fetch is _from_disk and not is_uri(target):
        return os.path.join(os.path.dirname(name), target)
    return target


def _sibling(uri: str, name: str) -> str:
    """The address of another name in the bucket of ``uri``."""
    backend, _, rest = uri.partition("://")
    return f"{backend}://{rest.partition('/')[0]}/{name}"


def _fetch_through_links(
    fetch: _Fetch, name: str, target: str, overwrite: bool
) -> tuple[str, bool]:
    """Fetch a file, following links.

    Returns:
        Where it was, and true; or the address of the other place a link leads to, and false.
    """
    followed = [name]
    while len(followed) <= _MAX_LINKS:
        link = _fetch_or_read_link(fetch, followed[-1], target, overwrite)
        if link is None or is_uri(link):
            return (followed[-1], True) if link is None else (link, False)
        followed.append(link)
    raise StorageError(f"the links from {name!r} do not come to an end: {followed}")


def _fetch_or_read_link(fetch: _Fetch, name: str, target: str, overwrite: bool) -> str | None:
    """Fetch a file and return ``None``, or return what the link in its place points to."""
    if name.endswith(LINK_SUFFIX):
        return _read_link(fetch, name)
    try:
        fetch(name, target, overwrite)
    except FileNotFoundError as missing:
        try:
            return _read_link(fetch, name + LINK_SUFFIX)
        except FileNotFoundError:
            raise missing from None
    return None
