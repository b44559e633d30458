"""Serve the metrics of all processes, at `/metrics` on an address of its own.

The supervisor does this in threads, and so does a consumer. The supervisor forks workers meanwhile,
so the threads may only do what a fork does not break: they import nothing, and hold no lock that a
worker needs.
"""

import errno
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from openengagement.clock import SystemClock
from openengagement.metrics import table
from openengagement.metrics.cells import Board, Series, create
from openengagement.metrics.exposition import CONTENT_TYPE, render
from openengagement.processes.shared_metrics import join_metrics
from openengagement.setting_kinds import parse_address
from openengagement.settings import METRICS_VARIABLE

_TIMEOUT_S: Final = 5.0
_HEAD_MAX_BYTES: Final = 16_384
_CONNECTIONS_MAX: Final = 16
_BACKLOG: Final = 16
_RETRY_S: Final = 0.1
_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_REASONS: Final = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}

Slots = Sequence[tuple[int, Sequence[Series]]]


@contextmanager
def metrics_server(
    address: str | None, *, process: str = "supervisor", workers: int | None = None
) -> Iterator[None]:
    """Serve metrics for the block, if an address is given. The processes then count in them.

    `process` is the kind of this one. `workers` is the number that a server was started with.

    Raises:
        OSError: the address cannot be used.
    """
    os.environ.pop(METRICS_VARIABLE, None)  # that of another server
    if address is None:
        yield
        return
    host, port = parse_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=_BACKLOG) as listener:
        os.register_at_fork(after_in_child=listener.close)  # only this process accepts
        _, path = create()
        os.environ[METRICS_VARIABLE] = path
        join_metrics(process)
        if workers is not None:
            table.WORKERS.set(workers)
        table.STARTED.set(SystemClock().now_s())
        table.BUILD.set(1, _version())
        threading.Thread(target=_accept, args=(listener, Scrapes(path)), daemon=True).start()
        try:
            yield
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # ends the `accept` that waits


def _version() -> str:
    # Without this import, a supervisor that serves no metrics needs less memory.
    from importlib.metadata import version  # noqa: PLC0415

    return version("openengagement")


class Scrapes:
    """Makes the text of a scrape, of the metrics at the path of a board."""

    def __init__(self, path: str) -> None:
        self._board = Board(path)
        self._cpu_s: dict[int, float] = {}  # pid -> user and system time that was counted
        self._lock = threading.Lock()

    def make(self) -> str:
        """Read all metrics, and render them."""
        with self._lock:
            self._note_processes(list(self._board.read()))
            return render(self._board.read())

    def _note_processes(self, slots: Slots) -> None:
        """Note what the kernel knows of the processes that run."""
        resident: dict[str, int] = {}
        files: dict[str, int] = {}
        cpu_s = {}
        for pid, series in slots:
            kind = _kind_of(series)
            if not pid or kind is None:
                continue
            with suppress(OSError):  # it ends at this moment
                resident[kind] = resident.get(kind, 0) + _resident_bytes(pid)
                cpu_s[pid] = _cpu_s(pid)
                table.CPU_SECONDS.add(cpu_s[pid] - self._cpu_s.get(pid, 0.0), kind)
                files[kind] = files.get(kind, 0) + sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        self._cpu_s = cpu_s
        for gauge, found in ((table.RESIDENT_BYTES, resident), (table.OPEN_FILES, files)):
            for kind in table.PROCESS_KINDS:
                gauge.set(found.get(kind, 0), kind)


def _kind_of(series: Iterable[Series]) -> str | None:
    """Return the value of the label `process` of the process that has the slot now."""
    for each in series:
        if each.name == table.PROCESSES.name and each.numbers[0]:
            return each.labels.partition('"')[2].rstrip('"')
    return None


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE_BYTES


def _cpu_s(pid: int) -> float:
    """Return the user and system time of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def _accept(listener: socket.socket, scrapes: Scrapes) -> None:
    free = threading.Semaphore(_CONNECTIONS_MAX)

    def serve(connection: socket.socket) -> None:
        try:
            with connection, suppress(OSError):
                head = _read_head(connection, deadline_s=time.monotonic() + _TIMEOUT_S)
                connection.settimeout(_TIMEOUT_S)
                connection.sendall(_answer(head, scrapes))
                # A worker that was forked just now may have the connection too: end it for both.
                connection.shutdown(socket.SHUT_RDWR)
        finally:
            free.release()

    while True:
        free.acquire()
        try:
            connection, _ = listener.accept()
        except OSError as error:
            if error.errno in {errno.EINVAL, errno.EBADF}:  # the server ends
                return
            free.release()
            time.sleep(_RETRY_S)  # too many files are open
            continue
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def _read_head(connection: socket.socket, *, deadline_s: float) -> bytes:
    """Read the head of a request until a monotonic time, however slowly it arrives.

    Raises:
        TimeoutError
    """
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _HEAD_MAX_BYTES:
        if (left_s := deadline_s - time.monotonic()) <= 0:
            raise TimeoutError
        connection.settimeout(left_s)
        part = connection.recv(_HEAD_MAX_BYTES)
        if not part:
            break
        head += part
    return head


def _answer(head: bytes, scrapes: Scrapes) -> bytes:
    """Return the answer to a request, with its head."""
    words = head.partition(b"\r\n")[0].split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):  # noqa: PLR2004
        return _response(400, "this is not a request of HTTP/1.1\n")
    if words[1].partition(b"?")[0] != b"/metrics":
        return _response(404, "the metrics are at /metrics\n")
    if words[0] != b"GET":
        return _response(405, "use GET\n")
    return _response(200, scrapes.make(), content_type=CONTENT_TYPE)


def _response(status: int, body: str, *, content_type: str = "text/plain; charset=utf-8") -> bytes:
    encoded = body.encode()
    fields = {
        "Content-Type": content_type,
        "Allow": "GET",
        "Content-Length": str(len(encoded)),
        "Connection": "close",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} {_REASONS[status]}\r\n{lines}\r\n".encode() + encoded
