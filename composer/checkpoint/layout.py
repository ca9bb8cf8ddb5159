"""What checkpoint files are called and which kinds of file there are.

A checkpoint is one file: a mapping with ``state`` (see :mod:`composer.core.state_io`), ``rng`` (the
random states, one mapping per rank) and, with several ranks, ``data`` (the data positions, one per
rank). Only this module knows these names.
"""

from __future__ import annotations

import os

from composer.core.naming import format_name_with_dist, format_name_with_dist_and_time
from composer.core.time import Timestamp
from composer.errors import ConfigError
from composer.storage.uri import is_uri
from composer.utils.naming import partial_format

__all__ = [
    "DATA_KEY",
    "DEFAULT_FILENAME",
    "RNG_KEY",
    "STATE_KEY",
    "check_is_local",
    "fill_for_loading",
    "fill_for_saving",
    "split_path",
]

STATE_KEY = "state"
RNG_KEY = "rng"
DATA_KEY = "data"
DEFAULT_FILENAME = "ep{epoch}-ba{batch}-rank{rank}"


def fill_for_saving(template: str, run_name: str, timestamp: Timestamp) -> str:
    """Fill a name template of a file that is about to be written; rank 0 writes for all."""
    return format_name_with_dist_and_time(_of_rank_zero(template), run_name, timestamp)


def fill_for_loading(template: str, run_name: str) -> str:
    """Fill a name template of a file that is to be read; ``{rank}`` is 0."""
    return format_name_with_dist(_of_rank_zero(template), run_name)


def split_path(path: str) -> tuple[str, str]:
    """Return the folder of a checkpoint and its name in it."""
    folder, name = os.path.split(os.path.abspath(path))
    return folder, name


def _of_rank_zero(template: str) -> str:
    return partial_format(template, rank=0, local_rank=0, node_rank=0)


def check_is_local(path: str | os.PathLike[str], name: str) -> None:
    """Refuse an address.

    Args:
        path: what was given.
        name: the name of the argument.

    Raises:
        ValueError: it is an address.
    """
    if is_uri(path):
        raise ConfigError(
            f"{name}={os.fspath(path)!r} is an address; give a local path here. A run keeps its "
            "checkpoints at an address with save_folder, and load_path takes one."
        )
