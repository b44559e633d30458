"""Start the counting process of a server, and restart it when it dies."""

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

_WAITING_MAX: Final = 1024  # connections that nobody has taken yet
_FOLDER_MAX: Final = 60  # letters; a path of 104 is too long for a socket on some systems
_LOOK_EVERY_S: Final = 0.5
_SOON_S: Final = 5.0  # what fails within this time after its start would fail again
_STOP_TIMEOUT_S: Final = 4
# For whoever stops a server, by a terminal or a supervisor, and tells every process of it. The
# workers stop first, and need the one that counts until then.
_NOT_FOR_IT: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A worker that is forked while a pipe or a connection is open here would keep it open.
_FORKING: Final = threading.Lock()
os.register_at_fork(
    before=_FORKING.acquire, after_in_parent=_FORKING.release, after_in_child=_FORKING.release
)


@contextmanager
def counting_beside() -> Iterator[None]:
    """Have a process that counts at hand, at an address that the environment tells.

    It is started when somebody first connects, so that a server that is sent no events has none.
    """
    # Neither in the data folder nor in any other that is deep: the path of a socket must be short.
    shallow = tempfile.gettempdir() if len(tempfile.gettempdir()) < _FOLDER_MAX else "/tmp"  # noqa: S108 - ours alone
    with (
        tempfile.TemporaryDirectory(
            prefix="openengagement-", dir=shallow, ignore_cleanup_errors=True
        ) as folder,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        address = str(Path(folder, "counting"))
        listener.bind(address)
        listener.listen(_WAITING_MAX)
        os.environ[COUNTING_VARIABLE] = address
        keeper = _Keeper(listener)
        try:
            yield
        finally:
            keeper.stop()


class _Keeper:
    """Keeps the process going as long as somebody asks for it."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        # The process ends when this ends: when it is closed here, and no worker holds it either.
        self._input, self._output = os.pipe()
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the process, once the workers have ended."""
        self._stopping = True
        os.close(self._output)
        self._thread.join(_STOP_TIMEOUT_S)
        if self._thread.is_alive() and self._child is not None:
            self._child.kill()
        os.close(self._input)

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_FOR_IT)  # inherited by what we start
        while not self._stopping:
            if not select.select([self._listener], [], [], _LOOK_EVERY_S)[0]:
                continue
            started = time.monotonic()
            if not self._count() and time.monotonic() - started < _SOON_S:
                self._turn_away()

    def _count(self) -> bool:
        """Have a process count until it ends; whether it ended well."""
        number = self._listener.fileno()
        command = [sys.executable, "-m", "openengagement.processes.counting_process", str(number)]
        try:
            with _FORKING:
                self._child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    command, stdin=self._input, pass_fds=[number]
                )
        except OSError as error:
            log_failure("counting_not_started", error)
            return False
        return self._child.wait() == 0

    def _turn_away(self) -> None:
        """Let those who wait know, or it would be started for them again and again."""
        while select.select([self._listener], [], [], 0)[0]:
            with _FORKING:
                self._listener.accept()[0].close()
