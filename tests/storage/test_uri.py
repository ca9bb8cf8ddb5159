"""Addresses and the stores they belong to."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from composer.errors import ConfigError, MissingDependencyError, UnknownNameError
from composer.storage.fsspec_store import FsspecObjectStore
from composer.storage.gcs import GCSObjectStore
from composer.storage.s3 import S3ObjectStore
from composer.storage.sftp import SFTPObjectStore
from composer.storage.uri import (
    build_remote_backend,
    maybe_create_object_store_from_uri,
    parse_uri,
    store_of,
)


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("s3://bucket/run/ep1.pt", ("s3", "bucket", "run/ep1.pt")),
        ("s3://bucket", ("s3", "bucket", "")),
        ("s3://bucket//odd#name?x={rank}", ("s3", "bucket", "odd#name?x={rank}")),
        ("oci://bucket@space/run", ("oci", "bucket", "run")),
        ("file:///data/run", ("file", "", "data/run")),
        ("sftp://me@host:2222/data", ("sftp", "me@host:2222", "data")),
        ("/data/run", ("", "", "/data/run")),
        ("run", ("", "", "run")),
    ],
)
def test_an_address_comes_apart(uri: str, parts: tuple[str, str, str]) -> None:
    assert parse_uri(uri) == parts


def test_a_local_path_has_no_store() -> None:
    assert maybe_create_object_store_from_uri("/data/run") is None


@pytest.mark.parametrize(
    ("uri", "kind", "address"),
    [
        ("s3://bucket/run", S3ObjectStore, "s3://bucket/name"),
        ("memory://bucket/run", FsspecObjectStore, "memory://bucket/name"),
        ("file:///data/run", FsspecObjectStore, "file:///name"),
        ("sftp://me@host:2222/data", SFTPObjectStore, "sftp://me@host:2222/name"),
    ],
)
def test_an_address_leads_to_its_store(uri: str, kind: type, address: str) -> None:
    store = store_of(uri)
    assert type(store) is kind
    assert store.get_uri("name") == address


def test_google_with_an_hmac_key_goes_by_the_other_interface(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GCS_KEY", "key")
    monkeypatch.setenv("GCS_SECRET", "secret")
    store = store_of("gs://bucket/run")
    assert type(store) is GCSObjectStore
    assert store.get_uri("name") == "gs://bucket/name"


def test_options_reach_the_store() -> None:
    store = store_of("s3://bucket/run", {"prefix": "below"})
    assert store.get_uri("name") == "s3://bucket/below/name"


def test_an_unknown_scheme_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="s3://, gs://"):
        store_of("nowhere://bucket")


@pytest.mark.parametrize("uri", ["/data/run", "https://host/page"])
def test_what_is_no_store_is_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match="no address of a store"):
        store_of(uri)


@pytest.mark.parametrize(
    ("uri", "module", "extra"),
    [
        ("s3://bucket", "s3fs", "remote"),
        ("memory://bucket", "fsspec", "remote"),
        ("gs://bucket", "gcsfs", "gcs"),
        ("az://bucket", "adlfs", "azure"),
        ("oci://bucket", "ocifs", "oci"),
        ("sftp://host/run", "paramiko", "sftp"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    uri: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What was imported before is remembered here as well.
    registry = importlib.import_module("fsspec.registry")._registry
    monkeypatch.delitem(registry, uri.partition("://")[0], raising=False)
    for name in list(sys.modules):
        if name == module or name.startswith(f"{module}."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=rf"composer-ml\[{extra}\]"):
        store_of(uri)


def test_a_backend_is_built_by_its_name(tmp_path: Path) -> None:
    store = build_remote_backend("s3", {"bucket": "bucket", "prefix": "run"})
    assert isinstance(store, S3ObjectStore)
    assert store.get_key("name") == "run/name"
    assert isinstance(build_remote_backend("memory", {"bucket": "b"}), FsspecObjectStore)


def test_an_unknown_backend_is_refused_with_the_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 's3'"):
        build_remote_backend("s3s", {"bucket": "bucket"})


def test_an_unknown_key_of_the_transfer_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="multipart_chunksize"):
        S3ObjectStore("bucket", transfer_config={"multipart_chunk_size": 1})
