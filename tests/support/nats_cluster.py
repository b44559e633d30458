"""A cluster of NATS servers on this machine. Each stream is on all of them."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, TypeVar

import nats
from nats.errors import Error
from nats.js.errors import APIError

from support.nats_server import find_executable
from support.ports import HOST, free_port
from support.server_process import ServerFolder, ServerProcess
from support.waiting import wait_for

SERVERS = 3
NAME = "events"
ANSWER_S = 5
REPEATS_S = 3600  # for which a stream knows a message that is sent again
RETRIES = 120  # of a second each, while the servers elect a leader
Result = TypeVar("Result")


async def _keep_quiet(_: Exception) -> None:
    """Replace the client's callback, which prints each error with a traceback."""


class NatsNode(ServerProcess):
    """One server of the cluster."""

    def __init__(self, folder: ServerFolder, number: int) -> None:
        super().__init__(folder, f"nats{number}")
        self.port = free_port()
        self.route_port = free_port()

    @property
    def route(self) -> str:
        return f"nats://{HOST}:{self.route_port}"

    def configure(self, routes: Iterable[str]) -> None:
        """Set the command. `routes` are the addresses of all servers."""
        self.command = [
            *(find_executable(), "--name", self.name),
            *("--addr", HOST, "--port", self.port),
            *("--jetstream", "--store_dir", self.folder.path / self.name),
            *("--cluster_name", NAME, "--cluster", self.route, "--routes", ",".join(routes)),
        ]

    def is_ready(self) -> bool:
        """Return whether it accepts clients."""
        try:
            with socket.create_connection((HOST, self.port), timeout=2) as connection:
                return connection.recv(4) == b"INFO"
        except OSError:
            return False


class NatsCluster:
    """Servers, which start in the constructor."""

    def __init__(self, folder: ServerFolder) -> None:
        self.nodes = [NatsNode(folder, number) for number in range(1, SERVERS + 1)]
        routes = [node.route for node in self.nodes]
        for node in self.nodes:
            node.configure(routes)
            node.start(wait=False)
        for node in self.nodes:
            node.wait_until_ready()

    @property
    def servers(self) -> list[str]:
        """The URL of each server."""
        return [f"nats://{HOST}:{node.port}" for node in self.nodes]

    def url(self, stream: str, *, subjects: Iterable[str] = ()) -> str:
        """Return the URL of a stream for `openengagement consume`."""
        hosts = ",".join(f"{HOST}:{node.port}" for node in self.nodes)
        filters = ",".join(subjects)
        return f"nats://{hosts}/{stream}" + (f"?subject={filters}" if filters else "")

    def run(self, step: Callable[[Any], Awaitable[Result]]) -> Result:
        """Run `await step(jetstream)`."""

        async def connected() -> Result:
            client = await nats.connect(
                self.servers,
                connect_timeout=5,
                ping_interval=1,  # or it would not notice that a server is frozen
                max_outstanding_pings=3,
                max_reconnect_attempts=-1,
                error_cb=_keep_quiet,
            )
            try:
                return await step(client.jetstream(timeout=ANSWER_S))
            finally:
                # If the connection breaks now, the client cancels what waits for its end.
                with suppress(asyncio.CancelledError):
                    await client.close()

        return asyncio.run(connected())

    def add_stream(self, name: str, subjects: Iterable[str]) -> None:
        """Create a stream on all servers. Waits until they have elected a leader."""

        async def add(jetstream: Any) -> bool:
            try:
                await jetstream.add_stream(
                    name=name,
                    subjects=list(subjects),
                    num_replicas=SERVERS,
                    duplicate_window=REPEATS_S,
                )
            except (APIError, Error):
                return False
            return True

        wait_for(lambda: self.run(add), pause_s=0.2, reason="a leader of NATS")

    def leader(self, stream: str) -> NatsNode | None:
        """Return the server that leads a stream, None while there is none."""

        async def ask(jetstream: Any) -> str | None:
            info = await jetstream.stream_info(stream)
            return info.cluster.leader if info.cluster else None

        try:
            name = self.run(ask)
        except (OSError, APIError, Error):
            return None
        return next((node for node in self.nodes if node.name == name), None)


async def publish(jetstream: Any, subject: str, body: bytes, *, key: str) -> None:
    """Publish a message, and try again while the servers elect a leader.

    A message whose acknowledgement was lost is sent again under the same key. JetStream drops it.
    """
    headers = {"Nats-Msg-Id": key}
    for _ in range(RETRIES):
        try:
            await jetstream.publish(subject, body, headers=headers)
        except (TimeoutError, OSError, APIError, Error):
            await asyncio.sleep(1)
        else:
            return
    raise AssertionError("the log does not accept messages")
