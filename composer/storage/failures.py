"""Turn the exceptions of many client libraries into the few that callers tell apart.

What matters is whether another try makes sense. Client libraries are known here by the names of
their exception classes, so that none has to be imported.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from composer.errors import (
    ComposerError,
    ObjectNotFoundError,
    StorageError,
    StorageTransientError,
)

__all__ = ["http_status", "is_transient", "translated"]

_TRANSIENT_ERRNOS = {
    getattr(errno, name)
    for name in (
        "EAGAIN",
        "EBUSY",
        "ECONNABORTED",
        "ECONNREFUSED",
        "ECONNRESET",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "EINTR",
        "EIO",
        "ENETDOWN",
        "ENETRESET",
        "ENETUNREACH",
        "EPIPE",
        "EREMOTEIO",
        "ESTALE",
        "ETIMEDOUT",
    )
    if hasattr(errno, name)
}
# Class names, with the package they come from, of what a network does to a client.
_TRANSIENT_CLASSES = {
    ("aiohttp", "ClientConnectionError"),
    ("aiohttp", "ClientPayloadError"),
    ("asyncio", "IncompleteReadError"),
    ("azure", "ServiceRequestError"),
    ("azure", "ServiceResponseError"),
    ("botocore", "ConnectionError"),
    ("botocore", "HTTPClientError"),
    ("botocore", "IncompleteReadError"),
    ("botocore", "ResponseStreamingError"),
    ("google", "RetryError"),
    ("google", "TransportError"),
    ("http", "IncompleteRead"),
    ("oci", "ConnectTimeout"),
    ("oci", "RequestException"),
    ("paramiko", "NoValidConnectionsError"),
    ("requests", "ChunkedEncodingError"),
    ("requests", "ConnectionError"),
    ("requests", "Timeout"),
    ("ssl", "SSLEOFError"),
    ("urllib3", "HTTPError"),
}
# Messages of paramiko's one general class that speak of the connection.
_BROKEN_SSH = ("EOF", "Error reading SSH protocol banner", "Server connection dropped", "Timeout")


@contextmanager
def translated(action: str, uri: str) -> Iterator[None]:
    """Turn what a client library raises in the block into this library's errors.

    Args:
        action: what is done, e.g. ``"upload"``.
        uri: the object or place it is done to.

    Raises:
        FileNotFoundError: the store has no such object.
        ObjectStoreTransientError: worth another try.
        StorageError: anything else that went wrong.
    """
    try:
        yield
    except (ComposerError, FileExistsError):
        raise
    except FileNotFoundError as error:
        raise ObjectNotFoundError(f"could not {action} {uri!r}: it is not there") from error
    except Exception as error:
        text = f"could not {action} {uri!r}: {type(error).__name__}: {error}".rstrip(". ")
        if is_transient(error):
            raise StorageTransientError(text) from error
        raise StorageError(f"{text}. Check the address, the credentials and the rights.") from error


def is_transient(error: BaseException) -> bool:
    """Return whether an exception of some client library speaks of a failure that may pass."""
    if isinstance(error, StorageTransientError | ConnectionError | TimeoutError | EOFError):
        return True
    if isinstance(error, OSError) and error.errno in _TRANSIENT_ERRNOS:
        return True
    status = http_status(error)
    if status is not None:
        return status in (408, 425, 429) or status >= 500
    if type(error).__name__ == "SSHException":
        return any(part in str(error) for part in _BROKEN_SSH)
    return any(
        (cls.__module__.partition(".")[0].lstrip("_"), cls.__name__) in _TRANSIENT_CLASSES
        for cls in type(error).__mro__
    )


def http_status(error: BaseException) -> int | None:
    """Return the HTTP status an exception tells of; clients call it by several names."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        value = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return value if isinstance(value, int) else None
    for name in ("status_code", "status", "http_code", "code"):
        value = getattr(error, name, None)
        if isinstance(value, int) and 100 <= value < 600:
            return value
    return None
