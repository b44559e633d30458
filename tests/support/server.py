"""The real server in its own process, on a copy of a seeded data folder."""

import shutil
import signal
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from support import stores
from support.balancer import Balancer
from support.calls import Bearer, Client
from support.cli import call_command, start_server
from support.forked import Process
from support.ports import HOST, free_port
from support.waiting import PATIENCE_S, wait_for
from support.world import App, World

RUNNING: list["Server"] = []


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
        self._process: Process | None = None
        self._others: list[Process] = []
        self.node_ports: list[int] = []
        self.metrics_urls: list[str] = []  # of each node, if metrics are on
        self._balancer: Balancer | None = None
        self._healthy_in_a_row = 0
        self._bearers: dict[str, str] = {}

    def __enter__(self) -> Self:
        shutil.copytree(self.world.folder, self.data)
        stores.copy_stores(self.world.folder, to=self.data)
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
        stores.SERVED.pop(self.url, None)
        try:
            if self._process is not None:
                self.stop()
        finally:
            self._clean_up()

    def start(self) -> None:
        """Start the process and wait until it answers."""
        stores.SERVED[self.url] = self.data
        self.metrics_urls = []
        if stores.NODES == 1:
            self.node_ports = [self.port]
            self._process = self._start_node(self.data, self.port)
        else:
            self.node_ports = ports = [free_port() for _ in range(stores.NODES)]
            self._process, *self._others = [
                self._start_node(self._data_of(number), port) for number, port in enumerate(ports)
            ]
            self._balancer = Balancer(self.port, ports)
        # A balancer sends connections to the nodes in turns, so the last ones are all of them.
        self._healthy_in_a_row = 0
        wait_for(self._have_started, pause_s=0.05, reason=lambda: self.log()[-2000:])

    def _have_started(self) -> bool:
        self._healthy_in_a_row = self._healthy_in_a_row + 1 if self._has_started() else 0
        return self._healthy_in_a_row >= stores.NODES

    def _data_of(self, number: int) -> Path:
        """Return the data folder of a node. All of them name the same stores."""
        if number == 0:
            return self.data
        data = self.data.with_name(f"data{number}")
        data.mkdir(exist_ok=True)
        shutil.copy(f"{self.data}.stores", f"{data}.stores")
        return data

    def _start_node(self, data: Path, port: int) -> Process:
        options: list[object] = ["--port", port, "--workers", self.workers]
        if self.tls:
            options += ["--tls-cert", self.tls[0], "--tls-key", self.tls[1]]
        settings = dict(self.settings)
        if "metrics" in settings:
            if data != self.data:  # the address is that of the first node
                settings["metrics"] = f"{HOST}:{free_port()}"
            self.metrics_urls.append(f"http://{settings['metrics']}/metrics")
        return start_server(data, *options, log=self._log, settings=settings)

    def _has_started(self) -> bool:
        assert self._process is not None
        for each in (self._process, *self._others):
            assert each.poll() is None, f"the server ended: {self.log()[-2000:]}"
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
        if self._balancer:
            self._balancer.close()
            self._balancer = None
        for each in (process, *self._others):
            each.send_signal(signal.SIGTERM)
        self.wait()

    def wait(self) -> None:
        """Wait for the end after a signal. Check that the exit code is 0 and no worker is left."""
        for each in filter(None, (self._process, *self._others)):
            assert each.wait(PATIENCE_S) == 0, self.log()[-2000:]
        self._process, self._others = None, []
        with socket.socket() as probe:
            assert probe.connect_ex((HOST, self.port)) != 0, "a worker outlived its server"

    def _clean_up(self) -> None:
        self.client.close()
        if self._balancer:
            self._balancer.close()
        for each in filter(None, (self._process, *self._others)):
            if each.poll() is None:
                each.kill()
                each.wait()
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
