"""Ports for the servers of the tests."""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

HOST = "127.0.0.1"
# Below 32768, where the kernel starts to take ports for outgoing connections.
PORTS = range(10_000, 32_000)
_PORT_LOCKS = Path(tempfile.gettempdir(), "openengagement-test-ports")
_locks_held: list[int] = []


def free_port() -> int:
    """Return a port that nobody listens on, reserved for this process until it ends.

    Test processes reserve a port by the lock on a file, so that two of them never get the same.
    """
    _PORT_LOCKS.mkdir(exist_ok=True)
    for port in random.sample(PORTS, 1000):
        lock = os.open(_PORT_LOCKS / str(port), os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        if is_free(port):
            _locks_held.append(lock)
            return port
        os.close(lock)
    raise AssertionError("no free port")


def is_free(port: int) -> bool:
    """Return whether nobody listens on this port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
