"""Amazon S3 and what speaks its protocol: MinIO, Ceph, R2, Google's XML interface."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from composer.env import S3_ENDPOINT_URL
from composer.errors import unknown_name
from composer.storage.fsspec_store import FsspecObjectStore
from composer.storage.object_store import Progress

__all__ = ["S3ObjectStore"]

StrPath = str | os.PathLike[str]

# Names of boto3's TransferConfig -> arguments of the file system's upload.
_TRANSFER = {"max_concurrency": "max_concurrency", "multipart_chunksize": "chunksize"}


class S3ObjectStore(FsspecObjectStore):
    """A bucket of S3.

    Credentials that are not given are found as every AWS client finds them: environment, files in
    ``~/.aws``, the machine's role.

    Args:
        bucket: the bucket's name.
        prefix: put in front of every name, with a slash between.
        region_name: the bucket's region, e.g. ``"eu-central-1"``.
        endpoint_url: address of the service; the environment variable ``S3_ENDPOINT_URL`` by
            default, else Amazon's.
        aws_access_key_id: key, together with the secret.
        aws_secret_access_key: the key's secret.
        aws_session_token: token of temporary credentials.
        client_config: arguments of ``botocore.config.Config``, e.g. ``{"read_timeout": 60}``.
        transfer_config: how large files are sent: ``multipart_chunksize`` in bytes (at least 5
            MiB) and ``max_concurrency``, the parts under way at once.

    Raises:
        ValueError: an unknown key of ``transfer_config``.
        ImportError: s3fs is not installed.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        region_name: str | None = None,
        endpoint_url: str | None = None,
        aws_access_key_id: str | None = None,
        aws_secret_access_key: str | None = None,
        aws_session_token: str | None = None,
        client_config: Mapping[str, Any] | None = None,
        transfer_config: Mapping[str, Any] | None = None,
    ) -> None:
        self.bucket = bucket.strip("/")
        self._transfer = _transfer_options(transfer_config or {})
        super().__init__(
            f"s3://{self.bucket}",
            prefix,
            key=aws_access_key_id,
            secret=aws_secret_access_key,
            token=aws_session_token,
            endpoint_url=endpoint_url or S3_ENDPOINT_URL.get(),
            client_kwargs={} if region_name is None else {"region_name": region_name},
            config_kwargs=dict(client_config or {}),
        )

    def upload_object(
        self, object_name: str, filename: StrPath, callback: Progress | None = None, **kwargs: Any
    ) -> None:
        """Store a local file; see :meth:`ObjectStore.upload_object`.

        Args:
            object_name: name in the bucket.
            filename: the local file.
            callback: called with the bytes sent so far and in all.
            kwargs: parameters of S3's PutObject, e.g. ``ServerSideEncryption="aws:kms"``; also as
                a mapping ``ExtraArgs={...}``, as boto3 takes them.
        """
        extra: Mapping[str, Any] = kwargs.pop("ExtraArgs", None) or {}
        options = {**self._transfer, **extra, **kwargs}
        super().upload_object(object_name, filename, callback, **options)


def _transfer_options(config: Mapping[str, Any]) -> dict[str, Any]:
    for key in config:
        if key not in _TRANSFER:
            raise unknown_name("key of transfer_config", key, _TRANSFER)
    return {_TRANSFER[key]: value for key, value in config.items()}
