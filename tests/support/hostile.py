"""Many connections that hold a server's memory, and what they cost it."""

import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path

from support.ports import HOST
from support.server import Server
from support.waiting import PATIENCE_S, wait_for

# As little as the kernel allows, so that what a client does not read waits at the server.
_RECEIVE_BUFFER_BYTES = 4096
_CHUNK_BYTES = 16_384
_PAGE_BYTES = 4096
_ESTABLISHED = "01"


@contextmanager
def connections(
    port: int,
    number: int,
    *,
    tls: ssl.SSLContext | None = None,
    receive_buffer_bytes: int = _RECEIVE_BUFFER_BYTES,
) -> Iterator[list[socket.socket]]:
    """Open connections that read nothing."""
    made: list[socket.socket] = []
    try:
        for _ in range(number):
            plain = socket.socket()
            made.append(plain)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            plain.settimeout(PATIENCE_S)
            plain.connect((HOST, port))
            if tls:
                made[-1] = tls.wrap_socket(plain, server_hostname=HOST)
        for each in made:
            each.setblocking(False)
        yield made
    finally:
        for each in made:
            each.close()


def send_to_all(
    sockets: Sequence[socket.socket], data: bytes | Sequence[bytes], *, for_s: float
) -> None:
    """Send the data over all connections, as far as the server takes it within `for_s`.

    `data` is the same for all connections, or has an item for each.
    """
    each_data = dict(zip(sockets, repeat(data) if isinstance(data, bytes) else data, strict=False))
    left = dict.fromkeys(sockets, 0)
    deadline = time.monotonic() + for_s
    while left and time.monotonic() < deadline:
        before = sum(left.values())
        for each in list(left):
            try:
                part = each_data[each][left[each] : left[each] + _CHUNK_BYTES]
                left[each] += each.send(part) if part else 0
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                continue
            except OSError:  # the server refused it and closed the connection
                del left[each]
                continue
            if left[each] == len(each_data[each]):
                del left[each]
        if sum(left.values()) == before:
            time.sleep(0.02)


def open_connections(port: int) -> int:
    """Count the connections that a server on this port still holds."""
    lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    fields = [line.split() for line in lines]
    return sum(
        int(local.rpartition(":")[2], 16) == port and state == _ESTABLISHED
        for _, local, _, state, *_ in fields
    )


def wait_until_closed(port: int, *, left: int = 0) -> None:
    """Wait until a server has closed all connections but `left`."""
    wait_for(lambda: open_connections(port) <= left, pause_s=0.1, reason="closed in time")


def worker_bytes(server: Server) -> int:
    """Return the resident memory of the worker of a server that has one and counts nothing."""
    processes = [folder for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    [worker] = [folder for folder in processes if _parent(folder) == server.pid]
    return int((worker / "statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES


def _parent(folder: Path) -> int | None:
    try:
        return int((folder / "stat").read_bytes().rpartition(b")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None
