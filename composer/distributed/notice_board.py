"""Texts that ranks leave for each other without a collective.

For when collectives do not answer: a monitor's thread reads and writes here while the thread that
trains is stuck.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import torch.distributed as dist

from composer.distributed.collectives import broadcast_object_list
from composer.distributed.ranks import get_global_rank, get_world_size
from composer.env import MASTER_ADDR

__all__ = ["NoticeBoard"]


class NoticeBoard:
    """A store of texts that lives in rank 0's process; all ranks must make it together.

    Args:
        timeout_s: how long making it, or a question to it, may take.
    """

    def __init__(self, timeout_s: float = 30.0) -> None:
        self._timeout = timedelta(seconds=timeout_s)
        self._store: dist.Store = self._open()

    def post(self, name: str, text: str) -> bool:
        """Leave a text for the others.

        Returns:
            Whether it was left; it is not if rank 0's process is gone or stopped.
        """
        with suppress(RuntimeError):
            self._store.set(name, text)
            return True
        return False

    def has(self, name: str) -> bool:
        """Return whether there is such a text; ``False`` too where rank 0 does not answer."""
        with suppress(RuntimeError):
            return self._store.check([name])
        return False

    def read(self, name: str, timeout_s: float) -> str | None:
        """Wait for a text.

        Args:
            name: what it is called.
            timeout_s: for how long.

        Returns:
            The text; ``None`` if it does not come.
        """
        with suppress(RuntimeError):
            self._store.wait([name], timedelta(seconds=max(timeout_s, 0.01)))
            return self._store.get(name).decode("utf-8")
        return None

    def _open(self) -> dist.Store:
        if get_world_size() == 1:
            return dist.HashStore()
        if get_global_rank() == 0:
            server = dist.TCPStore(
                "localhost", 0, is_master=True, timeout=self._timeout, wait_for_workers=False
            )
            broadcast_object_list([server.port])
            return server
        place: list[int] = [0]
        broadcast_object_list(place)
        host = MASTER_ADDR.get() or "localhost"
        return dist.TCPStore(
            host, place[0], is_master=False, timeout=self._timeout, wait_for_workers=False
        )
