"""Addresses such as ``s3://bucket/run-1/ep1.pt``, and the store each belongs to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from composer.env import AZURE_ACCOUNT_ACCESS_KEY, AZURE_ACCOUNT_NAME
from composer.errors import ConfigError, unknown_name
from composer.registry import STORES
from composer.storage.fsspec_store import FsspecObjectStore
from composer.storage.gcs import GCSObjectStore
from composer.storage.libcloud import LibcloudObjectStore
from composer.storage.object_store import ObjectStore
from composer.storage.oci import OCIObjectStore
from composer.storage.s3 import S3ObjectStore
from composer.storage.sftp import SFTPObjectStore

__all__ = [
    "build_remote_backend",
    "is_uri",
    "maybe_create_object_store_from_uri",
    "parse_uri",
    "store_of",
]

StrPath = str | os.PathLike[str]

# Stores by the name of old for the kind of backend.
_BACKENDS: dict[str, type[ObjectStore]] = {
    "gs": GCSObjectStore,
    "libcloud": LibcloudObjectStore,
    "oci": OCIObjectStore,
    "s3": S3ObjectStore,
    "sftp": SFTPObjectStore,
}
# These addresses lead to web pages: they can be read, and nothing can be stored there.
_READ_ONLY = ("http", "https")


def is_uri(path: StrPath) -> bool:
    """Return whether a path is an address, such as ``s3://bucket/name``."""
    return "://" in os.fspath(path)


def parse_uri(uri: str) -> tuple[str, str, str]:
    """Take an address apart.

    Args:
        uri: an address, or a local path.

    Returns:
        Backend (e.g. ``"s3"``), bucket (or host) and the path in it, without a slash in front. A
        local path comes back as it is, with backend and bucket empty. The namespace in
        ``oci://bucket@namespace/path`` is left out.

    Example:
        >>> parse_uri("s3://bucket/run-1/ep1.pt")
        ('s3', 'bucket', 'run-1/ep1.pt')
        >>> parse_uri("/data/ep1.pt")
        ('', '', '/data/ep1.pt')
    """
    if not is_uri(uri):
        return "", "", uri
    backend, _, rest = uri.partition("://")
    bucket, _, path = rest.partition("/")
    if backend == "oci":
        bucket = bucket.partition("@")[0]
    return backend, bucket, path.lstrip("/")


def store_of(uri: str, options: Mapping[str, Any] | None = None) -> ObjectStore:
    """Make the store of the bucket that an address lies in.

    Names in the store are paths in the bucket: for ``s3://bucket/run-1/ep1.pt`` the object is
    ``run-1/ep1.pt``.

    Args:
        uri: the address.
        options: arguments of the store's class besides the bucket; of fsspec's file system where
            the scheme has no class of its own.

    Raises:
        ValueError: a local path, or a scheme nobody knows.
        ImportError: the package for the scheme is not installed; the message says how to.
    """
    backend, bucket, _ = parse_uri(uri)
    given = dict(options or {})
    if not backend or backend in _READ_ONLY:
        raise ConfigError(
            f"{uri!r} is no address of a store; give one such as 's3://bucket' or "
            "'file:///data/runs'"
        )
    if backend == "sftp":
        given.setdefault("host", f"sftp://{bucket}")
        given.setdefault("cwd", "/")
        return SFTPObjectStore(**given)
    if backend in _BACKENDS and backend != "libcloud":
        given.setdefault("bucket", bucket)
        return _BACKENDS[backend](**given)
    if backend in STORES:
        return STORES.get(backend)(bucket, **given)
    given.pop("bucket", None)
    if backend in ("azure", "az", "abfs"):
        return FsspecObjectStore(f"az://{bucket}", **{**_azure_account(), **given})
    return FsspecObjectStore(f"{backend}://{bucket}", **given)


def maybe_create_object_store_from_uri(uri: str) -> ObjectStore | None:
    """Make the store of the bucket that an address lies in; ``None`` for a local path."""
    return store_of(uri) if is_uri(uri) else None


def build_remote_backend(remote_backend_name: str, backend_kwargs: dict[str, Any]) -> ObjectStore:
    """Make a store by the name of its kind.

    Args:
        remote_backend_name: ``"s3"``, ``"gs"``, ``"oci"``, ``"sftp"``, ``"libcloud"``, or any
            scheme that :func:`store_of` knows.
        backend_kwargs: the arguments of its class, e.g. ``{"bucket": "name"}``.

    Raises:
        ValueError: nobody knows the name.
    """
    if remote_backend_name in _BACKENDS:
        return _BACKENDS[remote_backend_name](**backend_kwargs)
    try:
        bucket = backend_kwargs.get("bucket", "")
        return store_of(f"{remote_backend_name}://{bucket}", backend_kwargs)
    except ConfigError as error:
        raise unknown_name("backend", remote_backend_name, _BACKENDS) from error


def _azure_account() -> dict[str, str]:
    name, key = AZURE_ACCOUNT_NAME.get(), AZURE_ACCOUNT_ACCESS_KEY.get()
    given = {"account_name": name, "account_key": key}
    return {argument: value for argument, value in given.items() if value is not None}
