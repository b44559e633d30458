"""The oracle's own fixtures."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Pytest's importlib mode leaves the path alone; this makes `import oracle` work for any runner.
sys.path.insert(0, str(Path(__file__).parent.parent))

from oracle.server import Server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Give every test of a session the same server; worlds of different seeds do not meet in it."""
    # The server has a process group of its own: a run that is told to end must still end it.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Server(workers=int(os.environ.get("ORACLE_WORKERS", "1"))) as running:
        yield running
    signal.signal(signal.SIGTERM, before)
