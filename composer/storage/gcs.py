"""Google Cloud Storage."""

from __future__ import annotations

from typing import Any

from composer.env import GCS_KEY, GCS_SECRET, GOOGLE_APPLICATION_CREDENTIALS
from composer.storage.fsspec_store import FsspecObjectStore

__all__ = ["GCSObjectStore"]

_S3_INTERFACE = "https://storage.googleapis.com"


class GCSObjectStore(FsspecObjectStore):
    """A bucket of Google Cloud Storage.

    With the environment variables ``GCS_KEY`` and ``GCS_SECRET`` (an HMAC key) it is reached
    through the interface that speaks S3's protocol, which needs s3fs. Otherwise through gcsfs,
    with the service account in ``GOOGLE_APPLICATION_CREDENTIALS`` or what Google's own tools have
    set up.

    Args:
        bucket: the bucket's name.
        prefix: put in front of every name, with a slash between.

    Raises:
        ImportError: the package that is needed is not installed.
    """

    def __init__(self, bucket: str, prefix: str = "") -> None:
        self.bucket = bucket.strip("/")
        scheme, options = _way_in()
        super().__init__(f"{scheme}://{self.bucket}", prefix, **options)

    def get_uri(self, object_name: str) -> str:
        """Return the address of an object, whether it exists or not."""
        return f"gs://{self.bucket}/{self.get_key(object_name)}"


def _way_in() -> tuple[str, dict[str, Any]]:
    key, secret = GCS_KEY.get(), GCS_SECRET.get()
    if key is not None and secret is not None:
        # The service does not take the checksums that S3 clients send of late.
        config = {"request_checksum_calculation": "when_required"}
        options: dict[str, Any] = {"key": key, "secret": secret, "config_kwargs": config}
        return "s3", {**options, "endpoint_url": _S3_INTERFACE}
    account = GOOGLE_APPLICATION_CREDENTIALS.get()
    return "gs", {} if account is None else {"token": account}
