"""Every environment variable Composer reads, typed and documented.

A variable is an object; ``get()`` reads the environment at the time of the call, never at import::

    from composer.env import WORLD_SIZE

    WORLD_SIZE.get()  # an int, or None when the variable is not set

No other file of the package touches ``os.environ`` to *read* a setting of Composer. Credentials
that a vendor's client finds by itself (AWS, Google, W&B) are not Composer's and do not appear
here.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from composer.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Variable(Generic[T]):
    """One environment variable.

    Attributes:
        name: the variable's name.
        parse: turns the text into the value; raises ``ValueError`` with what is allowed.
        default: the value when the variable is unset or blank.
        help: one sentence for people.
    """

    name: str
    parse: Callable[[str], T]
    default: T
    help: str

    def get(self) -> T:
        """Read the variable now.

        Raises:
            ConfigError: the variable is set to a text that cannot be its value.
        """
        text = os.environ.get(self.name, "").strip()
        if not text:
            return self.default
        try:
            return self.parse(text)
        except ValueError as error:
            raise ConfigError(
                f"The environment variable {self.name}={text!r} is not {error}. "
                f"Correct it or unset it. Meaning: {self.help}"
            ) from None

    def is_set(self) -> bool:
        """Whether the variable has a value that is not blank."""
        return bool(os.environ.get(self.name, "").strip())


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError("a whole number of at least 0")
    return int(text)


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise ValueError("a whole number of at least 1")
    return int(text)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise ValueError("a port number from 1 to 65535")
    return int(text)


def _flag(text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True}
    known |= {"0": False, "false": False, "no": False, "off": False}
    try:
        return known[text.lower()]
    except KeyError:
        raise ValueError("a yes or no, such as '1' or '0'") from None


def _optional_int(name: str, parse: Callable[[str], int], help: str) -> Variable[int | None]:
    return Variable(name, parse, None, help)


def _optional_str(name: str, help: str) -> Variable[str | None]:
    return Variable(name, str, None, help)


# The contract between a launcher (`composer`, torchrun, srun with a wrapper) and each process.
RANK = _optional_int("RANK", _whole, "Number of this process among all processes.")
WORLD_SIZE = _optional_int("WORLD_SIZE", _positive, "How many processes train together.")
LOCAL_RANK = _optional_int("LOCAL_RANK", _whole, "Number of this process on its machine.")
LOCAL_WORLD_SIZE = _optional_int(
    "LOCAL_WORLD_SIZE", _positive, "How many processes run on this machine."
)
NODE_RANK = _optional_int("NODE_RANK", _whole, "Number of this machine among all machines.")
GROUP_RANK = _optional_int("GROUP_RANK", _whole, "What torchrun calls NODE_RANK.")
BASE_RANK = _optional_int("BASE_RANK", _whole, "Launcher only: RANK of this machine's process 0.")
MASTER_ADDR = _optional_str("MASTER_ADDR", "Host on which rank 0 waits for the others.")
MASTER_PORT = _optional_int("MASTER_PORT", _port, "Port on which rank 0 waits for the others.")
FAILURE_FILE = _optional_str(
    "COMPOSER_FAILURE_FILE", "Set by the launcher: where a process notes when an error ended it."
)

# Names of a run; the Trainer's own argument comes first, then these in this order.
COMPOSER_RUN_NAME = _optional_str("COMPOSER_RUN_NAME", "Name of the run when none is given.")
RUN_NAME = _optional_str("RUN_NAME", "Name of the run when COMPOSER_RUN_NAME is not set either.")

CHECKPOINT_VALIDATION_FUNCTION = _optional_str(
    "CHECKPOINT_VALIDATION_FUNCTION",
    "'module.function', called with the path of each checkpoint file before it is read.",
)
ENV_REPORT = Variable(
    "COMPOSER_ENV_REPORT",
    _flag,
    True,
    "Whether the exception hook, once configured, adds the report about the environment.",
)

# Loggers whose services name a variable for what they need.
MLFLOW_RUN_ID = _optional_str("MLFLOW_RUN_ID", "MLflow run to write to instead of a new one.")
MLFLOW_EXPERIMENT_ID = _optional_str(
    "MLFLOW_EXPERIMENT_ID", "MLflow experiment that wins over the logger's experiment_name."
)
MLFLOW_EXPERIMENT_NAME = _optional_str(
    "MLFLOW_EXPERIMENT_NAME", "MLflow experiment when the logger is given none."
)
MLFLOW_TRACKING_URI = _optional_str(
    "MLFLOW_TRACKING_URI", "MLflow server or folder when the logger is given none."
)
SLACK_LOGGING_API_KEY = _optional_str("SLACK_LOGGING_API_KEY", "Token of the Slack logger.")
SLACK_LOGGING_CHANNEL_ID = _optional_str(
    "SLACK_LOGGING_CHANNEL_ID", "Channel to which the Slack logger posts."
)

# Object stores that read more than their client library does.
S3_ENDPOINT_URL = _optional_str("S3_ENDPOINT_URL", "Address of an S3-compatible service.")
GCS_KEY = _optional_str("GCS_KEY", "HMAC key for Google Cloud Storage through the S3 interface.")
GCS_SECRET = _optional_str("GCS_SECRET", "HMAC secret that belongs to GCS_KEY.")
GOOGLE_APPLICATION_CREDENTIALS = _optional_str(
    "GOOGLE_APPLICATION_CREDENTIALS", "File with a Google Cloud service account."
)
AZURE_ACCOUNT_NAME = _optional_str("AZURE_ACCOUNT_NAME", "Account for Azure's blob storage.")
AZURE_ACCOUNT_ACCESS_KEY = _optional_str(
    "AZURE_ACCOUNT_ACCESS_KEY", "Key that belongs to AZURE_ACCOUNT_NAME."
)
COMPOSER_UPLOAD_FOLDER = _optional_str(
    "COMPOSER_UPLOAD_FOLDER",
    "Folder in which files wait for their upload; a folder of your own among the system's "
    "temporary files by default.",
)
COMPOSER_SFTP_KEY_FILE = _optional_str("COMPOSER_SFTP_KEY_FILE", "Private key for SFTP.")
COMPOSER_SFTP_KNOWN_HOSTS_FILE = _optional_str(
    "COMPOSER_SFTP_KNOWN_HOSTS_FILE", "File with the host keys SFTP accepts."
)


def all_variables() -> list[Variable[object]]:
    """Every variable of this file, in the order in which they stand."""
    return [value for value in globals().values() if isinstance(value, Variable)]
