"""The process that counts (`openengagement.counting`), started beside a server's workers."""

import os
import select
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

_WAITING_MAX: Final = 1024  # connections that nobody has taken yet
_FOLDER_MAX: Final = 60  # letters; a path of 104 is too long for a socket on some systems
_SOON_S: Final = 5.0  # what fails within this time after its start would fail again
_STOP_TIMEOUT_S: Final = 15


@contextmanager
def counting_beside() -> Iterator[None]:
    """Have a process that counts at hand, at an address that the environment tells.

    It is started when somebody first connects, so that a server that is sent no events has none.
    """
    # Neither in the data folder nor in any other that is deep: the path of a socket must be short.
    shallow = tempfile.gettempdir() if len(tempfile.gettempdir()) < _FOLDER_MAX else "/tmp"  # noqa: S108 - ours alone
    with tempfile.TemporaryDirectory(prefix="openengagement-", dir=shallow) as folder:
        address = Path(folder, "counting")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(address))
            listener.listen(_WAITING_MAX)
            os.environ[COUNTING_VARIABLE] = str(address)
            keeper = _Keeper(listener)
            thread = threading.Thread(target=keeper.run, daemon=True)
            thread.start()
            try:
                yield
            finally:
                keeper.stop()
                with socket.socket(socket.AF_UNIX) as last:
                    last.connect(str(address))  # or the thread might go on waiting for one
                thread.join()


class _Keeper:
    """Keeps the process going as long as somebody asks for it."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = False

    def run(self) -> None:
        while True:
            select.select([self._listener], [], [])
            if self._stopping:
                return
            number, started = self._listener.fileno(), time.monotonic()
            command = [sys.executable, "-m", "openengagement.counting", str(number)]
            with subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command, stdin=subprocess.PIPE, pass_fds=[number]
            ) as self._child:
                failed = self._child.wait() != 0
            if failed and time.monotonic() - started < _SOON_S:
                self._turn_away()

    def _turn_away(self) -> None:
        """Let those who wait know, or it would be started for them again and again."""
        while select.select([self._listener], [], [], 0)[0]:
            self._listener.accept()[0].close()

    def stop(self) -> None:
        """End the process, once the workers have ended."""
        self._stopping = True
        child = self._child
        if child is None or child.stdin is None:
            return
        child.stdin.close()
        try:
            child.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
