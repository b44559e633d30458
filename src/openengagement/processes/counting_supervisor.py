"""Start the counting process of a server when it is needed, and restart it when it dies."""

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from openengagement.settings import COUNTING_VARIABLE
from openengagement.telemetry import log_failure

_BACKLOG: Final = 1024  # connections that wait to be accepted
_FOLDER_MAX: Final = 60  # characters; some systems refuse a socket whose path has 104
_POLL_S: Final = 0.5
_FAILED_START_S: Final = 5.0  # a process that fails within this time would fail again
_RAISED: Final = 1  # exit code of a process that ended with an exception
_STOP_TIMEOUT_S: Final = 4
# A terminal or a service manager sends these to every process of the server. The counting process
# must ignore them: the workers stop first and need it until then.
_IGNORED_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A worker forked while this process opens a pipe or a connection would inherit it and keep it open.
_FORK_LOCK: Final = threading.Lock()
os.register_at_fork(
    before=_FORK_LOCK.acquire, after_in_parent=_FORK_LOCK.release, after_in_child=_FORK_LOCK.release
)


@contextmanager
def counting_supervisor() -> Iterator[None]:
    """Supervise a counting process for the block; COUNTING_VARIABLE names the socket to connect to.

    The process starts with the first connection, so a server that receives no events has none.
    """
    # The path of a socket must be short, so it cannot be in the data folder or in any deep folder.
    temporary = tempfile.gettempdir() if len(tempfile.gettempdir()) < _FOLDER_MAX else "/tmp"  # noqa: S108 - the folder in it is private
    with (
        tempfile.TemporaryDirectory(
            prefix="openengagement-", dir=temporary, ignore_cleanup_errors=True
        ) as folder,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        address = str(Path(folder, "counting"))
        listener.bind(address)
        listener.listen(_BACKLOG)
        os.environ[COUNTING_VARIABLE] = address
        supervisor = _Supervisor(listener)
        try:
            yield
        finally:
            supervisor.stop()


class _Supervisor:
    """Runs a counting process whenever connections wait on the listener, in a thread."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        # The counting process reads this pipe and ends when the last writer closes it: this
        # process, and the workers that inherited it.
        self._input, self._output = os.pipe()
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the counting process. Call this after the workers have ended."""
        self._stopping = True
        os.close(self._output)
        self._thread.join(_STOP_TIMEOUT_S)
        if self._thread.is_alive() and self._child is not None:
            self._child.kill()
        os.close(self._input)

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _IGNORED_SIGNALS)  # child processes inherit it
        while not self._stopping:
            if not select.select([self._listener], [], [], _POLL_S)[0]:
                continue
            started = time.monotonic()
            code = self._run_child()
            failed_soon = code != 0 and time.monotonic() - started < _FAILED_START_S
            # It took longer to raise an error if another process has locked the store.
            if failed_soon or code == _RAISED:
                self._close_waiting_connections()

    def _run_child(self) -> int:
        """Run a counting process until it ends; return its exit code."""
        descriptor = self._listener.fileno()
        module = "openengagement.processes.counting_process"
        command = [sys.executable, "-m", module, str(descriptor)]
        try:
            with _FORK_LOCK:
                self._child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    command, stdin=self._input, pass_fds=[descriptor]
                )
        except OSError as error:
            log_failure("counting_process_not_started", error)
            return _RAISED
        return self._child.wait()

    def _close_waiting_connections(self) -> None:
        """Close waiting connections, because each would only cause another failed start."""
        while select.select([self._listener], [], [], 0)[0]:
            with _FORK_LOCK:
                self._listener.accept()[0].close()
