"""HTTP over sockets, for requests that no client library would send."""

import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from support.ports import HOST
from support.waiting import PATIENCE_S


@dataclass(frozen=True)
class RawAnswer:
    """A response. Header names are in lower case; a repeated header has its last value."""

    version: bytes
    status: int
    headers: Mapping[str, str]
    body: bytes


def talk(port: int, *pieces: bytes, pause_s: float = 0, hang_up: bool = False) -> bytes:
    """Send pieces, then read until the server closes the connection."""
    with socket.create_connection((HOST, port), timeout=PATIENCE_S) as connection:
        send_all(connection, pieces, pause_s=pause_s)
        if hang_up:
            return b""
        return read_all(connection)


def send_all(connection: socket.socket, pieces: Iterable[bytes], *, pause_s: float = 0) -> None:
    """Send pieces. The server may close the connection before it has received all of them."""
    try:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause_s)
    except (BrokenPipeError, ConnectionResetError):
        pass


def read_all(connection: socket.socket) -> bytes:
    received = bytearray()
    try:
        while part := connection.recv(65_536):
            received += part
    except ConnectionResetError:
        pass
    return bytes(received)


def parse_answers(received: bytes) -> list[RawAnswer]:
    """Parse all responses in the received bytes."""
    answers = []
    while received:
        head, found, rest = received.partition(b"\r\n\r\n")
        assert found, received[:200]
        status_line, *lines = head.split(b"\r\n")
        version, status = status_line.split(b" ")[:2]
        pairs = (line.decode("latin-1").partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        length = int(headers.get("content-length", "0"))
        answers.append(RawAnswer(version, int(status), headers, rest[:length]))
        received = rest[length:]
    return answers


def request_bytes(
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    *,
    host: str | None = "localhost",
) -> bytes:
    """Return a request with `Connection: close`. Nothing is checked or quoted."""
    lines = [f"{method} {target} HTTP/1.1"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    lines += ["Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def exchange(port: int, request: bytes) -> RawAnswer:
    """Send one request and read its response."""
    [answer] = parse_answers(talk(port, request))
    return answer
