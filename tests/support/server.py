"""The real server in its own process, on a copy of a seeded data folder."""

import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from support.calls import Bearer, Client
from support.cli import call_command, start_server
from support.waiting import PATIENCE_S, wait_for
from support.world import App, World

HOST = "127.0.0.1"
RUNNING: list["Server"] = []
# Below 32768, where the kernel starts to take ports for outgoing connections.
PORTS = range(10_000, 32_000)
_PORT_LOCKS = Path(tempfile.gettempdir(), "openengagement-test-ports")
_locks_held: list[int] = []


def free_port() -> int:
    """Return a port that nobody listens on, reserved for this process until it ends.

    Test processes reserve a port by the lock on a file, so that two of them never get the same.
    """
    _PORT_LOCKS.mkdir(exist_ok=True)
    for port in random.sample(PORTS, 1000):
        lock = os.open(_PORT_LOCKS / str(port), os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        if is_free(port):
            _locks_held.append(lock)
            return port
        os.close(lock)
    raise AssertionError("no free port")


def is_free(port: int) -> bool:
    """Return whether nobody listens on this port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


class Server:
    """One server: `with Server(world) as server: server.client.ask(...)`.

    `settings` are given by their names in the settings table. `secrets` holds what must never be
    logged: the world's, and whatever a test adds. `tls` is a certificate and its key, as files.
    """

    def __init__(
        self,
        world: World,
        *,
        workers: int = 1,
        settings: Mapping[str, str] | None = None,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self.world = world
        self.workers = workers
        self.settings = dict(settings or {})
        self.port = free_port()
        self.tls = tls
        self.url = f"{'https' if tls else 'http'}://{HOST}:{self.port}"
        self.client = Client(self.url)
        self.client.session.verify = self.verify
        self.secrets = list(world.secrets)
        self._folder = tempfile.TemporaryDirectory(prefix="openengagement-test-")
        self.data = Path(self._folder.name, "data")
        self._log = Path(self._folder.name, "server.log")
        self._process: subprocess.Popen[bytes] | None = None
        self._bearers: dict[str, str] = {}

    def __enter__(self) -> Self:
        shutil.copytree(self.world.folder, self.data)
        try:
            self.start()
        except BaseException:
            self._clean_up()
            raise
        RUNNING.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        RUNNING.remove(self)
        try:
            if self._process is not None:
                self.stop()
        finally:
            self._clean_up()

    def start(self) -> None:
        """Start the process and wait until it answers."""
        options: list[object] = ["--port", self.port, "--workers", self.workers]
        if self.tls:
            options += ["--tls-cert", self.tls[0], "--tls-key", self.tls[1]]
        self._process = start_server(self.data, *options, log=self._log, settings=self.settings)
        wait_for(self._has_started, pause_s=0.05, reason=lambda: self.log()[-2000:])

    def _has_started(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the server ended: {self.log()[-2000:]}"
        try:
            return self.is_healthy()
        except requests.ConnectionError:
            return False

    def stop(self) -> None:
        """Stop the process with SIGTERM. Check that it exits with 0 and leaves no worker."""
        self.client.close()
        process = self._process
        assert process is not None
        assert process.poll() is None, f"the server ended by itself: {self.log()[-2000:]}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0, self.log()[-2000:]
        self._process = None
        with socket.socket() as probe:
            assert probe.connect_ex((HOST, self.port)) != 0, "a worker outlived its server"

    def _clean_up(self) -> None:
        self.client.close()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    @property
    def verify(self) -> str | bool:
        """How `requests` verifies the server's certificate."""
        return str(self.tls[0]) if self.tls else True

    @property
    def pid(self) -> int:
        """The process that started the workers."""
        assert self._process is not None
        return self._process.pid

    def log(self, *, since: int = 0) -> str:
        """Return the log, without its first `since` bytes."""
        with self._log.open("rb") as log:
            log.seek(since)
            return log.read().decode(errors="replace")

    @property
    def log_bytes(self) -> int:
        """The size of the log."""
        return self._log.stat().st_size

    def is_healthy(self) -> bool:
        """Return whether `/health` answers 200, over a new connection."""
        with requests.Session() as session:
            session.trust_env = False
            session.verify = self.verify
            return session.get(f"{self.url}/health", timeout=PATIENCE_S).status_code == 200

    def command(self, *arguments: str, stdin: str | None = None) -> dict[str, Any]:
        """Run a command on the data folder while the server runs."""
        return call_command(self.data, *arguments, stdin=stdin)

    def bearer(self, app: App) -> Bearer:
        """Return app-only authentication. The first call fetches the bearer token."""
        if app.app_id not in self._bearers:
            answer = self.client.send(
                "POST",
                "/oauth2/token",
                body="grant_type=client_credentials",
                headers={"Content-Type": "application/x-www-form-urlencoded"},
                auth=requests.auth.HTTPBasicAuth(app.consumer_key, app.consumer_secret),
            )
            assert answer.status == 200, answer
            self._bearers[app.app_id] = answer.json()["access_token"]
            self.secrets.append(self._bearers[app.app_id])
        return Bearer(self._bearers[app.app_id])
