"""The oracle's own fixtures."""

import os
import signal
from collections.abc import Iterator

import pytest

from oracle.server import Server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Share one server among all tests; worlds of different seeds have no ids in common."""
    # The server has a process group of its own, so SIGTERM must be handled to stop it too.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Server(workers=int(os.environ.get("ORACLE_WORKERS", "1"))) as running:
        yield running
    signal.signal(signal.SIGTERM, before)
