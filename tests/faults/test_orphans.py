"""Workers and the counting process end when their supervisor is killed."""

import os
import signal

from faults.crashing import open_session
from support.waiting import wait_for


def is_running(pid):
    """Return whether the process exists and is not a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


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
        wait_for(
            lambda: not any(map(is_running, workers)),
            reason=lambda: f"ended: {[*filter(is_running, workers)]}",
        )
    finally:
        for worker in filter(is_running, workers):
            os.kill(worker, signal.SIGKILL)
