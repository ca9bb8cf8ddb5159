"""A file as a lock between processes: the system gives it free when its holder ends, however."""

from __future__ import annotations

from typing import Any

try:
    import fcntl
except ImportError:  # Windows has locks of its own.
    fcntl: Any = None

__all__ = ["hold_file"]


def hold_file(handle: int) -> None:
    """Take the lock of an open file, until the file is closed.

    Processes forked from the holder share the lock.

    Args:
        handle: descriptor of a file that is open for writing.

    Raises:
        BlockingIOError: another process holds it.
    """
    if fcntl is not None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    import msvcrt

    lock: Any = msvcrt
    try:
        lock.locking(handle, lock.LK_NBLCK, 1)
    except OSError as error:
        raise BlockingIOError(*error.args) from error
