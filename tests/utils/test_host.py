"""What the process runs on."""

import builtins
import socket

from composer.utils.host import get_free_tcp_port, is_notebook


def test_plain_python_is_no_notebook():
    assert not is_notebook()


def test_ipython_is_recognised(monkeypatch):
    monkeypatch.setattr(builtins, "__IPYTHON__", True, raising=False)
    assert is_notebook()


def test_the_port_can_be_bound():
    port = get_free_tcp_port()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.bind(("127.0.0.1", port))
        assert server.getsockname()[1] == port
