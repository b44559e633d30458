"""A forward proxy for this machine that connects four host names to the sandbox.

A client with built-in hosts sends CONNECT for one of them on port 443 (RFC 9110, 9.3.6). The proxy
connects it to the sandbox's HTTPS server. It never resolves a name, connects to any other address,
reads the bytes that it forwards, or repeats anything that a client sent.

It refuses all other requests (403), bytes that are not HTTP (400), slow heads (408), large heads
(431) and too many connections (503). If the HTTPS server does not answer, it answers 502.
"""

import asyncio
import contextlib
import re
from dataclasses import dataclass
from typing import Final

LOOPBACK: Final = "127.0.0.1"
HOSTS: Final = ("api.twitter.com", "api.x.com", "data-api.twitter.com", "data-api.x.com")

# Host names ignore case. A name with a final dot is not one of the four: no client writes it, and
# a signature made with it would not match.
_TARGETS: Final = {f"{host}:443".encode() for host in HOSTS}
_REQUEST_LINE: Final = re.compile(rb"([A-Za-z]+) ([!-~]+) HTTP/1\.[01]")
_FIELD_LINE: Final = re.compile(rb"[!#-'*+\-.0-9A-Z^-z|~]+:[\t -~\x80-\xff]*")
_HEAD_END: Final = b"\r\n\r\n"

_NOT_ALLOWED: Final = f"403 This proxy answers CONNECT to port 443 of {', '.join(HOSTS)} only"
_MALFORMED: Final = "400 This is not an HTTP request"
_TOO_SLOW: Final = "408 The head of the request took too long"
_TOO_LARGE: Final = "431 The head of the request is too large"
_TOO_MANY: Final = "503 The proxy has too many connections"
_NO_ANSWER: Final = "502 The sandbox does not answer"
_CONNECTED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"

_CHUNK: Final = 65_536
_LINGER_S: Final = 1.0
_LINGER_CHUNKS: Final = 64

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class ProxyLimits:
    """Limits on one client's request and connection, and on the number of connections."""

    head_bytes: int = 8192
    head_s: float = 10.0
    idle_s: float = 120.0  # without a byte in either direction; the HTTPS server itself waits 15 s
    connections: int = 256


class ForwardProxy:
    """Connects clients to the HTTPS server on a port of this machine."""

    def __init__(self, https_port: int, limits: ProxyLimits = ProxyLimits()) -> None:
        self.https_port = https_port
        self.limits = limits
        self._tasks: set[asyncio.Task[None] | None] = set()  # one per client
        self._writers: set[asyncio.StreamWriter] = set()

    async def listen(self, port: int) -> asyncio.Server:
        """Start to listen, on the loopback address only; port 0 means any free port.

        Raises:
            OSError: the port is in use.
        """
        limit = self.limits.head_bytes
        return await asyncio.start_server(self._serve, LOOPBACK, port, limit=limit)

    async def close(self) -> None:
        """Abort all open connections and wait until their tasks have ended."""
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*filter(None, self._tasks), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        free = self.limits.connections - len(self._tasks)
        if free <= -self.limits.connections:  # too many even to send refusals
            writer.close()
            return
        task = asyncio.current_task()
        self._writers.add(writer)
        self._tasks.add(task)
        try:
            refusal = _TOO_MANY if free <= 0 else await self._read_head(reader)
            refusal = refusal or await self._connect((reader, writer))
            if refusal:
                await _refuse(refusal, (reader, writer))
        except OSError:
            pass  # one side closed the connection or timed out, so no answer can be sent
        finally:
            await self._close(writer)
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _close(self, writer: asyncio.StreamWriter) -> None:
        """Close the connection after the client has received everything, or after a timeout."""
        writer.close()
        try:
            async with asyncio.timeout(self.limits.idle_s):
                await writer.wait_closed()
        except OSError:
            writer.transport.abort()

    async def _read_head(self, reader: asyncio.StreamReader) -> str:
        """Read a client's request; return the refusal, or "" if it is allowed."""
        try:
            async with asyncio.timeout(self.limits.head_s):
                head = await reader.readuntil(_HEAD_END)
        except TimeoutError:
            return _TOO_SLOW
        except asyncio.LimitOverrunError:
            return _TOO_LARGE
        except asyncio.IncompleteReadError:
            return _MALFORMED
        return check_head(head.removesuffix(_HEAD_END))

    async def _connect(self, client: _Streams) -> str:
        """Forward bytes both ways until the sandbox closes; return a refusal if it is down."""
        try:
            async with asyncio.timeout(self.limits.head_s):
                sandbox = await asyncio.open_connection(LOOPBACK, self.https_port)
        except OSError:
            return _NO_ANSWER
        self._writers.add(sandbox[1])
        try:
            client[1].write(_CONNECTED)
            await self._splice(client, sandbox)
        finally:
            sandbox[1].transport.abort()  # it has ended, or its client has
            self._writers.discard(sandbox[1])
        return ""

    async def _splice(self, client: _Streams, sandbox: _Streams) -> None:
        async with asyncio.timeout(self.limits.idle_s) as idle:
            upload = asyncio.create_task(self._forward(client[0], sandbox[1], idle=idle))
            try:
                await self._forward(sandbox[0], client[1], idle=idle)
            finally:
                upload.cancel()
                await asyncio.gather(upload, return_exceptions=True)

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, idle: asyncio.Timeout
    ) -> None:
        try:
            while part := await reader.read(_CHUNK):
                idle.reschedule(asyncio.get_running_loop().time() + self.limits.idle_s)
                writer.write(part)
                await writer.drain()
        finally:
            # A client that has sent everything may still wait for the answer.
            with contextlib.suppress(OSError):
                writer.write_eof()


def check_head(head: bytes) -> str:
    """Check a request head (without the empty line); return the refusal, or "" if it is allowed."""
    request_line, *field_lines = head.split(b"\r\n")
    parts = _REQUEST_LINE.fullmatch(request_line)
    if parts is None or not all(map(_FIELD_LINE.fullmatch, field_lines)):
        return _MALFORMED
    method, target = parts.groups()
    return "" if method == b"CONNECT" and target.lower() in _TARGETS else _NOT_ALLOWED


def _answer(refusal: str) -> bytes:
    """Return a refusal as a response. Its status line has the reason, which clients display."""
    body = f"{refusal[4:]}.\n"
    return (
        f"HTTP/1.1 {refusal}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
        f"Connection: close\r\n\r\n{body}"
    ).encode()


async def _refuse(refusal: str, client: _Streams) -> None:
    """Send a refusal, then read what the client still sends.

    Closing a connection with unread data would discard the answer.
    """
    reader, writer = client
    writer.write(_answer(refusal))
    writer.write_eof()
    async with asyncio.timeout(_LINGER_S):
        for _ in range(_LINGER_CHUNKS):
            if not await reader.read(_CHUNK):
                return
