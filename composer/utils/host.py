"""What this process runs on: a notebook or not, and which ports are free."""

from __future__ import annotations

import builtins
import socket

__all__ = ["get_free_tcp_port", "is_notebook"]


def is_notebook() -> bool:
    """Return whether the code runs under IPython, as in a notebook."""
    return hasattr(builtins, "__IPYTHON__")


def get_free_tcp_port() -> int:
    """Return a TCP port that is free on this machine now; another program may take it at once."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.bind(("", 0))
        return server.getsockname()[1]
