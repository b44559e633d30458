"""Three servers of NATS that replicate a stream."""

from functools import partial
from pathlib import Path
from typing import Any

import nats
import nats.errors

from support.nats_server import NatsServer
from support.ports import HOST, free_port
from support.waiting import wait_for


class NatsCluster:
    """Three servers, with a stream EVENTS of three replicas."""

    def __init__(self, folder: Path) -> None:
        ports = [free_port() for _ in range(3)]
        routes = ",".join(f"nats://{HOST}:{port}" for port in ports)
        self.servers = [self._start(folder / f"n{port}", port, routes) for port in ports]
        wait_for(partial(self._try, self._add_stream), pause_s=0.2, reason="a stream")

    @staticmethod
    def _start(folder: Path, port: int, routes: str) -> NatsServer:
        folder.mkdir()
        address = ("--cluster", f"nats://{HOST}:{port}", "--routes", routes)
        return NatsServer(folder, "--cluster_name", "test", "-n", folder.name, *address)

    @property
    def url(self) -> str:
        hosts = ",".join(f"{HOST}:{server.port}" for server in self.servers)
        return f"nats://{hosts}/EVENTS"

    def leader(self) -> NatsServer:
        """Wait until the stream has a leader, and return its server."""
        found: list[str] = []

        async def ask(_: Any, jetstream: Any) -> None:
            cluster = (await jetstream.stream_info("EVENTS")).cluster
            found[:] = [cluster.leader] if cluster.leader else []

        wait_for(lambda: self._try(ask) and found, pause_s=0.2, reason="a leader")
        return next(each for each in self.servers if each.folder.name == found[0])

    def stop(self) -> None:
        for server in self.servers:
            server.stop()

    def _try(self, step: Any) -> bool:
        for server in self.servers:
            if server.process is not None:
                try:
                    server.run(step, connect_timeout=1, allow_reconnect=False)
                except (nats.errors.Error, OSError):
                    continue
                return True
        return False

    @staticmethod
    async def _add_stream(_: Any, jetstream: Any) -> None:
        await jetstream.add_stream(name="EVENTS", subjects=["e.in"], num_replicas=3)
