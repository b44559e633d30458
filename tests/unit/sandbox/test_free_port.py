"""The port of the pytest fixture's sandbox."""

import socket

import pytest

from openengagement.sandbox.pytest_plugin import _free_port


def test_nobody_else_gets_the_port_before_the_server_listens_there():
    port = _free_port()
    with socket.socket() as other, pytest.raises(OSError, match="already in use"):
        other.bind(("127.0.0.1", port))
    socket.create_server(("127.0.0.1", port)).close()
