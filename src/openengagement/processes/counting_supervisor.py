"""Start the counting process of a server when it is needed, and restart it when it dies."""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from openengagement.ingest.sources.counting_listener import CountingListener
from openengagement.intake_settings import LOG
from openengagement.settings import COUNTING_VARIABLE, DATA_VARIABLE, load_settings
from openengagement.telemetry import WARNING, log_event, log_failure

_MODULE: Final = "openengagement.processes.counting_process"
_PING_EVERY_S: Final = 1.0
_SILENCE_MAX_S: Final = 5  # after this time without an answer, the health check reports it
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

    The process starts with the first connection, so a server that receives no events has none. With
    `--intake log` it starts at once, because it watches the event log.

    Raises:
        OSError: no folder can have the socket.
    """
    settings = load_settings(os.environ)
    listener = CountingListener.bind_for(Path(os.environ[DATA_VARIABLE]))
    os.environ[COUNTING_VARIABLE] = listener.address
    supervisor = _Supervisor(
        listener, hang_max_s=settings.counting_hang_max_s, at_once=settings.intake == LOG
    )
    try:
        yield
    finally:
        supervisor.stop()
        listener.close()


class _Supervisor:
    """Runs a counting process whenever connections wait on the listener, in a thread."""

    def __init__(
        self, listener: CountingListener, *, hang_max_s: int, at_once: bool = False
    ) -> None:
        self._listener = listener
        self._at_once = at_once
        self._hang_max_s = hang_max_s
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
            if not self._at_once and not _is_readable(self._listener, _POLL_S):
                with _FORK_LOCK:
                    self._listener.restore()
                continue
            self._at_once = False
            started = time.monotonic()
            code = self._run_child()
            failed_soon = code != 0 and time.monotonic() - started < _FAILED_START_S
            # It took longer to raise an error if another process has locked the store.
            if failed_soon or code == _RAISED:
                self._close_waiting_connections()

    def _run_child(self) -> int:
        """Run a counting process until it ends; return its exit code."""
        try:
            with _FORK_LOCK:
                child, channel = self._start_child()
        except OSError as error:
            log_failure("counting_process_not_started", error)
            return _RAISED
        self._child = child
        with channel, suppress(OSError):  # the channel breaks when the child ends
            while self._is_alive(channel):
                pass
            child.kill()  # safe at any moment, because commits are transactions
        code = child.wait()
        self._listener.set_hung(hung=False)
        return code

    def _start_child(self) -> tuple["subprocess.Popen[bytes]", socket.socket]:
        """Start a counting process; return it and the channel on which it answers pings."""
        channel, theirs = socket.socketpair()
        with theirs:
            passed = [self._listener.fileno(), theirs.fileno()]
            command = [sys.executable, "-m", _MODULE, *map(str, passed)]
            try:
                child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    command, stdin=self._input, pass_fds=passed
                )
            except BaseException:
                channel.close()
                raise
        return child, channel

    def _is_alive(self, channel: socket.socket) -> bool:
        """Ping the counting process. Return False if it ended, or hung for too long.

        Raises:
            OSError: it ended.
        """
        channel.send(b".")
        # Count seconds instead of reading a clock, because both processes may be suspended at once.
        for silent_s in range(self._hang_max_s):
            if silent_s == _SILENCE_MAX_S:
                log_event("counting_process_hung", level=WARNING, silent_s=silent_s)
                self._listener.set_hung(hung=True)
            if _is_readable(channel, 1):
                self._listener.set_hung(hung=False)
                # It answers a ping with one byte. If more can be read, it has closed the channel.
                return bool(channel.recv(1)) and not _is_readable(channel, _PING_EVERY_S)
        log_event("counting_process_killed", level=WARNING, silent_s=self._hang_max_s)
        return False

    def _close_waiting_connections(self) -> None:
        """Close waiting connections, because each would only cause another failed start."""
        while _is_readable(self._listener, 0):
            with _FORK_LOCK:
                if connection := self._listener.accept(timeout_s=0):
                    connection.close()


def _is_readable(file: socket.socket | CountingListener, timeout_s: float) -> bool:
    return bool(select.select([file], [], [], timeout_s)[0])
