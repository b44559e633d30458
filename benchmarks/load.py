"""The load generator: prepared requests, persistent connections, every answer checked.

Plain Python on epoll, in this process. `drive` is a closed loop: each connection has one request in
progress, and sends the next one when the answer is complete. `pace` is an open loop: requests leave
at a steady rate, whatever happens to earlier ones, and a latency counts from the time when its
request was due.
"""

import gc
import os
import re
import select
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

HOST = "127.0.0.1"
READ_BYTES = 1 << 20
CONNECT_EVERY_S = 0.01  # one worker often takes all that come at once
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Driven:
    """One run of the generator. `cpu_s` is the CPU time of the generator itself."""

    requests: int
    wall_s: float
    cpu_s: float
    latencies_s: list[float]
    last_answer: bytes

    @property
    def rate(self) -> float:
        return self.requests / self.wall_s

    def percentile_ms(self, share: float) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000


@dataclass(slots=True)
class _Connection:
    sock: socket.socket
    sent_at: float = 0.0
    got: bytes = b""
    wanted: int = 0  # bytes of the whole answer, 0 until its head is there


def drive(
    port: int, requests: Sequence[bytes], *, connections: int, core: int | None = None
) -> Driven:
    """Send every request once and wait for every answer, on one core if one is named.

    Raises:
        RuntimeError: an answer is not a 200.
    """
    with _undisturbed(core):
        return _drive(port, requests, min(connections, len(requests)))


def pace(port: int, requests: Sequence[bytes], *, rate: float, connections: int) -> Driven:
    """Send this many requests per second, and wait for every answer.

    A request that finds all connections busy leaves late; its latency includes this wait.

    Raises:
        RuntimeError: an answer is not a 200.
    """
    with _undisturbed(None):
        return _pace(port, requests, rate=rate, connections=connections)


@contextmanager
def _undisturbed(core: int | None) -> Iterator[None]:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, allowed if core is None else {core})
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        os.sched_setaffinity(0, allowed)


def _connect(port: int, connections: int) -> tuple[select.epoll, dict[int, _Connection]]:
    poll = select.epoll()
    at: dict[int, _Connection] = {}
    for _ in range(connections):
        time.sleep(CONNECT_EVERY_S)
        sock = socket.create_connection((HOST, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(sock.fileno(), select.EPOLLIN)
        at[sock.fileno()] = _Connection(sock)
    return poll, at


def _drive(port: int, requests: Sequence[bytes], connections: int) -> Driven:
    poll, at = _connect(port, connections)
    waiting = iter(requests)
    latencies: list[float] = []
    clock = time.perf_counter
    answer = b""
    began, cpu_began = clock(), time.process_time()
    for connection in at.values():
        connection.sent_at = clock()
        connection.sock.sendall(next(waiting))
    running = connections
    while running:
        for descriptor, _ in poll.poll():
            connection = at[descriptor]
            if not _read(connection):
                continue
            now = clock()
            latencies.append(now - connection.sent_at)
            answer, connection.got, connection.wanted = connection.got, b"", 0
            request = next(waiting, None)
            if request is None:
                running -= 1
                continue
            connection.sent_at = now
            connection.sock.sendall(request)
    wall_s, cpu_s = clock() - began, time.process_time() - cpu_began
    _close(poll, at)
    return Driven(len(requests), wall_s, cpu_s, latencies, answer)


def _pace(port: int, requests: Sequence[bytes], *, rate: float, connections: int) -> Driven:
    poll, at = _connect(port, connections)
    idle = deque(at.values())
    latencies: list[float] = []
    clock = time.perf_counter
    answer, sent = b"", 0
    began, cpu_began = clock(), time.process_time()
    while len(latencies) < len(requests):
        due = began + sent / rate
        while idle and sent < len(requests) and due <= clock():
            connection = idle.popleft()
            connection.sent_at = due  # when it was due, not when it leaves
            connection.sock.sendall(requests[sent])
            sent += 1
            due = began + sent / rate
        wait_s = max(0.0, due - clock()) if idle and sent < len(requests) else None
        for descriptor, _ in poll.poll(wait_s):
            connection = at[descriptor]
            if not _read(connection):
                continue
            latencies.append(clock() - connection.sent_at)
            answer, connection.got, connection.wanted = connection.got, b"", 0
            idle.append(connection)
    wall_s, cpu_s = clock() - began, time.process_time() - cpu_began
    _close(poll, at)
    return Driven(len(requests), wall_s, cpu_s, latencies, answer)


def _close(poll: select.epoll, at: dict[int, _Connection]) -> None:
    for connection in at.values():
        connection.sock.close()
    poll.close()


def _read(connection: _Connection) -> bool:
    """Read the available bytes. Return True once the answer is complete and a 200."""
    data = connection.sock.recv(READ_BYTES)
    if not data:
        raise RuntimeError("the server closed a connection")
    connection.got = connection.got + data if connection.got else data
    if not connection.wanted:
        head = connection.got.find(b"\r\n\r\n")
        if head < 0:
            return False
        length = _LENGTH.search(connection.got, 0, head)
        if length is None or not connection.got.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"an answer is not a 200: {connection.got[:500]!r}")
        connection.wanted = head + 4 + int(length[1])
    return len(connection.got) == connection.wanted
