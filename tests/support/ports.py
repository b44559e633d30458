"""Ports for the servers of the tests."""

import atexit
import random
import socket

HOST = "127.0.0.1"
# Below 32768, where the kernel starts to take ports for outgoing connections.
PORTS = range(10_000, 32_000)


def free_port() -> int:
    """Return a TCP port that nobody listens on, reserved for this process until it ends.

    Test processes reserve a port by the UDP port of the same number, so that two of them never get
    the same. No server under test uses UDP.
    """
    for port in random.sample(PORTS, 1000):
        reservation = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            reservation.bind((HOST, port))
        except OSError:
            reservation.close()
            continue
        if is_free(port):
            atexit.register(reservation.close)
            return port
        reservation.close()
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
