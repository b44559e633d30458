"""Server processes that a test kills, freezes and starts again."""

import math
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from support.processes import all_ended, descendants
from support.waiting import PATIENCE_S, wait_for

# `set -m` gives the background command a process group of its own, which the servers join.
_GUARD = """
set -m
sleep infinity <&- >&- 2>&- &
echo $!
read -r _
kill -KILL -- -$!
rm -rf -- "$0" || { sleep 1; rm -rf -- "$0"; }
"""


class ServerFolder:
    """A temporary folder, and the process group of the servers that keep their data in it.

    A guard process kills the group and deletes the folder when its input ends. That happens in
    `remove`, and when the test process ends in any way, so that no server outlives the tests.
    """

    def __init__(self, prefix: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        self.servers: list[ServerProcess] = []
        self._guard = subprocess.Popen(
            ["bash", "-c", _GUARD, str(self.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,  # so that Ctrl-C does not reach it
        )
        assert self._guard.stdout is not None
        self.group = int(self._guard.stdout.readline())
        self._guard.stdout.close()

    def remove(self) -> None:
        """Kill all servers, and delete the folder."""
        assert self._guard.stdin is not None
        self._guard.stdin.write(b"\n")
        self._guard.stdin.close()
        self._guard.wait(PATIENCE_S)
        for server in self.servers:
            server.reap()


class ServerProcess:
    """A server. It keeps its data in the folder when it is stopped or killed.

    A subclass says in `is_ready` when it has started. `options` are those of `Popen`. `kill`,
    `freeze` and `wake` include the processes that the server has started.
    """

    def __init__(
        self,
        folder: ServerFolder,
        name: str,
        *,
        command: Sequence[object] = (),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.name = name
        self.command = command  # may be set later, before `start`
        self.options = dict(options or {})
        self._log = folder.path / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.killed_at_s = -math.inf  # of the monotonic clock
        folder.servers.append(self)

    def is_ready(self) -> bool:
        """Return whether the server answers."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        """The id of the process, which must run."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process exists. It may be frozen."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, wait: bool = True) -> None:
        """Start the server, unless it runs."""
        if not self.is_running:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [str(part) for part in self.command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.folder.path,
                    process_group=self.folder.group,
                    **self.options,
                )
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait until the server answers. Fail if it ends instead."""
        wait_for(self._has_started, pause_s=0.02, reason=lambda: f"started: {self.log()[-2000:]}")

    def _has_started(self) -> bool:
        assert self.is_running, f"{self.name} ended: {self.log()[-2000:]}"
        return self.is_ready()

    def kill(self) -> None:
        """End the server as a power failure would, except that the file system survives."""
        if self.is_running:
            members = self._freeze_all()
            self._send(signal.SIGKILL, members)
            self.reap()
            wait_for(partial(all_ended, members))
        self.killed_at_s = time.monotonic()

    def stop(self) -> None:
        """Ask the server to end, and wait for it."""
        if self.is_running:
            self._send(signal.SIGTERM, [self.pid])
            self.wake()
        self.reap()

    def freeze(self) -> None:
        """Stop all threads of the server. It still accepts connections, but never answers."""
        self._freeze_all()

    def wake(self) -> None:
        """Let a frozen server continue."""
        if self.is_running:
            self._send(signal.SIGCONT, [*descendants(self.pid), self.pid])

    def _freeze_all(self) -> list[int]:
        """Freeze the server first, so that it starts no other process. Return the ids of all."""
        self._send(signal.SIGSTOP, [self.pid])
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        others = descendants(self.pid)
        self._send(signal.SIGSTOP, others)
        return [self.pid, *others]

    @staticmethod
    def _send(number: signal.Signals, pids: list[int]) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def reap(self) -> None:
        """Wait for the end of the process."""
        if self._process is not None:
            self._process.wait(PATIENCE_S)

    def log(self) -> str:
        """Return everything that the server printed."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""
