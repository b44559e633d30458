"""A network of its own for some processes, from which each connection can be cut.

The processes run in a network namespace that has nothing but a loopback interface. For each server
outside, a proxy listens in the namespace on the server's own port. Only root may do this.
"""

import asyncio
import ctypes
import os
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from support.balancer import Balancer
from support.ports import HOST
from support.server_process import ServerFolder, ServerProcess

_CLONE_NEWNET = 0x40000000
_HOLD = "ip link set lo up && echo ready && exec sleep infinity"
Made = TypeVar("Made")


def can_isolate() -> bool:
    """Return whether this user may make network namespaces and enter them."""
    return os.geteuid() == 0


class Network(ServerProcess):
    """A network namespace, which exists as long as this process."""

    def __init__(self, folder: ServerFolder, number: int) -> None:
        command = ["unshare", "--net", "sh", "-c", _HOLD]
        super().__init__(folder, f"network{number}", command=command)
        self.start()
        self.links: dict[int, Link] = {}

    def is_ready(self) -> bool:
        return "ready" in self.log()

    @property
    def prefix(self) -> Sequence[str]:
        """What a command begins with to run in the namespace."""
        return ("nsenter", f"--net=/proc/{self.pid}/ns/net")

    def link_out(self, ports: Iterable[int]) -> None:
        """Let processes inside reach these ports of the machine."""
        for port in ports:
            self.links[port] = Link(self, port, outwards=True)

    def link_in(self, port: int) -> None:
        """Let processes outside reach a port of the namespace."""
        self.links[port] = Link(self, port, outwards=False)

    def inside(self, make: Callable[[], Made]) -> Made:
        """Return what `make` returns when it runs in the namespace, such as a socket."""
        made: list[Made] = []

        def run() -> None:
            with suppress(OSError), Path(f"/proc/{self.pid}/ns/net").open() as space:
                if not ctypes.CDLL(None).setns(space.fileno(), _CLONE_NEWNET):
                    made.append(make())

        thread = threading.Thread(target=run)  # of its own: it stays in the namespace
        thread.start()
        thread.join()
        if not made:
            raise ConnectionRefusedError
        return made[0]

    def close(self) -> None:
        """End all proxies."""
        for link in self.links.values():
            link.close()


class Link(Balancer):
    """A proxy on the border. While it is cut, nothing passes, and nobody is told."""

    def __init__(self, network: Network, port: int, *, outwards: bool) -> None:
        self._network = network
        self._port = port
        self._outwards = outwards
        self._open = asyncio.Event()
        self._open.set()
        super().__init__(port, [port])

    def cut(self) -> None:
        """Let nothing pass."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def mend(self) -> None:
        """Let everything pass again, also what waits."""
        self._loop.call_soon_threadsafe(self._open.set)

    async def _permission(self) -> None:
        await self._open.wait()

    async def _listen(self, port: int) -> asyncio.Server:
        def listen() -> socket.socket:
            return socket.create_server((HOST, port))

        listener = self._network.inside(listen) if self._outwards else listen()
        return await asyncio.start_server(self._serve, sock=listener)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        def connect() -> socket.socket:
            return socket.create_connection((HOST, self._port))

        if self._outwards:
            return await asyncio.open_connection(sock=connect())
        made = await asyncio.to_thread(self._network.inside, connect)
        return await asyncio.open_connection(sock=made)
