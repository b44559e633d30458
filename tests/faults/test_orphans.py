"""Workers and the counting process end when their supervisor is killed."""

import os
import signal
import time

import pytest

from faults.crashing import open_session

ENDS_IN_S = 20


def is_running(pid):
    """Return whether the process exists and is not a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.heavy
def test_workers_end_with_their_supervisor(crashing):
    """Otherwise the next server would share its port with workers that have old settings."""
    crashing.start()
    with open_session() as session:
        crashing.send(session, "events", b"{}")
    workers = crashing.workers_running() + crashing.counting_running()
    assert len(workers) == 3
    crashing.process.kill()
    crashing.process.wait()
    try:
        give_up = time.monotonic() + ENDS_IN_S
        while any(map(is_running, workers)) and time.monotonic() < give_up:
            time.sleep(0.2)
        assert not any(map(is_running, workers)), "a worker outlives its supervisor"
    finally:
        for worker in filter(is_running, workers):
            os.kill(worker, signal.SIGKILL)
