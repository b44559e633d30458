"""An intercepting sandbox as a process of its own."""

import json
import os
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

from support.cli import EXECUTABLE, server_environment
from support.ports import HOST, free_port
from support.processes import running
from support.waiting import PATIENCE_S, wait_for

LISTEN = "0A"  # the state, in the kernel's tables


class Sandbox:
    """An intercepting sandbox as a process in its own session."""

    def __init__(self, folder, **settings):
        self.folder = folder / "sandbox"
        self.ports = {name: free_port() for name in ("port", "intercept-port", "https-port")}
        self.url = f"http://{HOST}:{self.ports['port']}"
        self.command = [EXECUTABLE, "--data", folder, "sandbox", "--intercept"]
        for name, port in self.ports.items():
            self.command += [f"--{name}", str(port)]
        self.log = folder / "sandbox.log"
        self.process = None
        self.settings = settings
        folder.mkdir(exist_ok=True)

    def start(self, *options, until):
        """Start it, and wait until it has printed `until`."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*self.command, *options],
                stdout=log,
                stderr=log,
                env=server_environment(self.settings),
                start_new_session=True,
            )

        def is_ready():
            printed = self.log.read_text()
            assert self.process.poll() is None, printed[-2000:]
            return until in printed

        wait_for(is_ready, pause_s=0.05, reason=lambda: self.log.read_text()[-2000:])

    def start_with_json(self):
        self.start("--json", until="}}\n")
        lines = self.log.read_text().splitlines()  # log lines of the servers may follow
        return json.loads(next(line for line in lines if line.endswith("}}")))

    def processes(self):
        """The ids of all its processes."""
        return {pid for pid, _, session in running() if session == self.process.pid}

    def servers(self):
        """The ids of the two that `processes.sandbox_supervisor` started."""
        return {pid for pid, parent, _ in running() if parent == self.process.pid}

    def end(self, number=signal.SIGTERM):
        """Signal the process that was started; return its exit code once all have ended."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self):
        code = self.process.wait(PATIENCE_S)
        try:
            wait_for(lambda: not self.left(), pause_s=0.05, reason=self.left)
        finally:
            for pid in self.processes():
                os.kill(pid, signal.SIGKILL)
        return code

    def left(self):
        """Return the processes and the ports that it still has."""
        return self.processes() or self.listening()

    def listening(self):
        """The addresses of its ports that are listened on, in the kernel's format."""
        wanted = {f"{port:04X}" for port in self.ports.values()}
        lines = [
            line.split()
            for table in ("tcp", "tcp6")
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        ]
        listed = {fields[1] for fields in lines if fields[3] == LISTEN}
        return {address for address in listed if address.rpartition(":")[2] in wanted}


@contextmanager
def sandbox_in(folder, **settings):
    one = Sandbox(folder, **settings)
    try:
        yield one
    finally:
        if one.process is not None:
            one.end()
