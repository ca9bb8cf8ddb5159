"""Which failures are worth another try."""

from __future__ import annotations

import errno
from contextlib import AbstractContextManager
from typing import Any

import aiohttp
import botocore.exceptions
import paramiko
import pytest

from composer.errors import ObjectNotFoundError, StorageError, StorageTransientError
from composer.storage.failures import is_transient, translated


class Answer(Exception):
    """What clients raise for an answer with an HTTP status."""

    def __init__(self, **values: Any) -> None:
        vars(self).update(values)


def reading() -> AbstractContextManager[None]:
    return translated("read", "s3://b/n")


PASSING = [
    ConnectionResetError(),
    TimeoutError(),
    EOFError(),
    OSError(errno.EBUSY, "slow down"),
    botocore.exceptions.EndpointConnectionError(endpoint_url="http://host"),
    botocore.exceptions.ReadTimeoutError(endpoint_url="http://host"),
    aiohttp.ClientPayloadError("cut short"),
    paramiko.SSHException("Error reading SSH protocol banner"),
    Answer(status_code=503),
    Answer(status=429),
    Answer(response={"ResponseMetadata": {"HTTPStatusCode": 500}}),
]
LASTING = [
    PermissionError(),
    OSError(errno.ENOSPC, "disk full"),
    botocore.exceptions.NoCredentialsError(),
    paramiko.SSHException("not a valid key"),
    ValueError("wrong"),
    Answer(status_code=403),
    Answer(response={"ResponseMetadata": {"HTTPStatusCode": 400}}),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_may_pass_is_worth_another_try(error: Exception) -> None:
    assert is_transient(error)
    with pytest.raises(StorageTransientError, match="could not read 's3://b/n'"), reading():
        raise error


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_what_lasts_is_not(error: Exception) -> None:
    assert not is_transient(error)
    with pytest.raises(StorageError, match="Check the address") as caught, reading():
        raise error
    assert not isinstance(caught.value, StorageTransientError)
    assert caught.value.__cause__ is error


def test_what_is_not_there_is_said_so() -> None:
    with pytest.raises(ObjectNotFoundError, match="not there"), reading():
        raise FileNotFoundError
