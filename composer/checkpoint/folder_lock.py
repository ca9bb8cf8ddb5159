"""One run per folder of checkpoints.

Two runs in one folder would delete and overwrite each other's checkpoints. The first takes a lock
on a file; it is the system's lock, so it is gone with the process that holds it, however that ends.
A process may take its own lock again: a notebook makes one Trainer after another.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any

from composer.checkpoint.manifest import OWN_FOLDER
from composer.errors import CheckpointError

try:
    import fcntl
except ImportError:  # Windows has no such locks.
    fcntl: Any = None

__all__ = ["lock_folder", "unlock_folder"]


@dataclass(slots=True)
class _Held:
    handle: int
    holders: int


# By process and path: a child process inherits this table and not the locks. Each file is opened
# once, because closing any handle of it would give the lock away.
_held: dict[tuple[int, str], _Held] = {}


def lock_folder(folder: str, run_name: str) -> None:
    """Make this process the only one that writes checkpoints into a folder.

    Args:
        folder: the folder; it is made if it is missing.
        run_name: who takes it, for the message another process gets.

    Raises:
        RuntimeError: another process has it; it is named.
    """
    if fcntl is None:
        return
    path = _path_of(folder)
    held = _held.get((os.getpid(), path))
    if held is not None and _is_same_file(held.handle, path):
        held.holders += 1
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.read(handle, 1000).decode(errors="replace").strip() or "another process"
        os.close(handle)
        raise CheckpointError(
            f"the folder {folder!r} is in use by {owner}. Two runs in one folder would delete each "
            "other's checkpoints: give this one a save_folder or a run_name of its own, or end the "
            "other."
        ) from error
    os.truncate(handle, 0)
    text = f"the run {run_name!r} (process {os.getpid()} on {socket.gethostname()})"
    os.write(handle, text.encode())
    _held[os.getpid(), path] = _Held(handle, holders=1)


def unlock_folder(folder: str) -> None:
    """Give a folder free, once as often as it was taken."""
    key = (os.getpid(), _path_of(folder))
    held = _held.get(key)
    if held is None:
        return
    held.holders -= 1
    if held.holders == 0:
        del _held[key]
        os.close(held.handle)


def _path_of(folder: str) -> str:
    return os.path.join(os.path.realpath(folder), OWN_FOLDER, "lock")


def _is_same_file(handle: int, path: str) -> bool:
    """Return whether the file locked is still the one of that name: folders get deleted."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
