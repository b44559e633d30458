"""A forward proxy on this machine alone that knows four hosts, each of which is the sandbox.

A client whose hosts are hard-coded asks it to CONNECT to one of them on port 443 (RFC 9110, 9.3.6)
and is joined to the sandbox's own HTTPS. The proxy looks up no name, opens no connection to
anywhere else, reads nothing of what it passes on, and repeats nothing of what it is sent.

What is refused, and how: anything but such a CONNECT 403, what is no HTTP request 400, a head that
is too slow 408 or too large 431, one connection too many 503, HTTPS that does not answer 502.
"""

import asyncio
import contextlib
import re
from dataclasses import dataclass
from typing import Final

LOOPBACK: Final = "127.0.0.1"
HOSTS: Final = ("api.twitter.com", "api.x.com", "data-api.twitter.com", "data-api.x.com")

# Names of hosts have no case. With a dot at the end it is another text, which no client of the
# original writes and which its signature would not be checked against: not one of the four.
_TARGETS: Final = {f"{host}:443".encode() for host in HOSTS}
_REQUEST_LINE: Final = re.compile(rb"([A-Za-z]+) ([!-~]+) HTTP/1\.[01]")
_FIELD_LINE: Final = re.compile(rb"[!#-'*+\-.0-9A-Z^-z|~]+:[\t -~\x80-\xff]*")
_HEAD_END: Final = b"\r\n\r\n"

_FOREIGN: Final = f"403 This proxy answers CONNECT to port 443 of {', '.join(HOSTS)} only"
_MALFORMED: Final = "400 This is no HTTP request"
_TOO_SLOW: Final = "408 The head of the request took too long"
_TOO_LARGE: Final = "431 The head of the request is too large"
_TOO_MANY: Final = "503 The proxy has as many connections as it may"
_NO_ANSWER: Final = "502 The sandbox does not answer"
_JOINED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"

_CHUNK: Final = 65_536
_LINGER_S: Final = 1.0
_LINGER_CHUNKS: Final = 64

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class ProxyLimits:
    """What one client, and all together, may take."""

    head_bytes: int = 8192
    head_s: float = 10.0
    idle_s: float = 120.0  # without a byte either way; the sandbox's HTTPS itself waits 15 s
    connections: int = 256


class InterceptProxy:
    """Joins clients to the HTTPS that listens on a port of this machine."""

    def __init__(self, https_port: int, limits: ProxyLimits = ProxyLimits()) -> None:
        self.https_port = https_port
        self.limits = limits
        self._tasks: set[asyncio.Task[None] | None] = set()  # one for each client
        self._writers: set[asyncio.StreamWriter] = set()

    async def listen(self, port: int) -> asyncio.Server:
        """Begin to answer, on loopback only; port 0 takes a free one.

        Raises:
            OSError: the port cannot be had.
        """
        limit = self.limits.head_bytes
        return await asyncio.start_server(self._serve, LOOPBACK, port, limit=limit)

    async def close(self) -> None:
        """Cut every connection that is still there."""
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*filter(None, self._tasks), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        room = self.limits.connections - len(self._tasks)
        if room <= -self.limits.connections:  # so many that not even a refusal can be given
            writer.close()
            return
        task = asyncio.current_task()
        self._writers.add(writer)
        self._tasks.add(task)
        try:
            refusal = _TOO_MANY if room <= 0 else await self._read_head(reader)
            refusal = refusal or await self._join((reader, writer))
            if refusal:
                await _refuse(refusal, (reader, writer))
        except OSError:
            pass  # one side went away, or fell silent: there is nobody to tell
        finally:
            await self._hang_up(writer)
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _hang_up(self, writer: asyncio.StreamWriter) -> None:
        """Close once what was written has gone out, or when nobody takes it."""
        writer.close()
        try:
            async with asyncio.timeout(self.limits.idle_s):
                await writer.wait_closed()
        except OSError:
            writer.transport.abort()

    async def _read_head(self, reader: asyncio.StreamReader) -> str:
        """The refusal of what a client asks, empty when it may have it."""
        try:
            async with asyncio.timeout(self.limits.head_s):
                head = await reader.readuntil(_HEAD_END)
        except TimeoutError:
            return _TOO_SLOW
        except asyncio.LimitOverrunError:
            return _TOO_LARGE
        except asyncio.IncompleteReadError:
            return _MALFORMED
        return judge_head(head.removesuffix(_HEAD_END))

    async def _join(self, client: _Streams) -> str:
        """Pass bytes both ways until the sandbox ends it; a refusal if it cannot be reached."""
        try:
            async with asyncio.timeout(self.limits.head_s):
                sandbox = await asyncio.open_connection(LOOPBACK, self.https_port)
        except OSError:
            return _NO_ANSWER
        self._writers.add(sandbox[1])
        try:
            client[1].write(_JOINED)
            await self._splice(client, sandbox)
        finally:
            sandbox[1].transport.abort()  # it has ended, or has nobody left to answer
            self._writers.discard(sandbox[1])
        return ""

    async def _splice(self, client: _Streams, sandbox: _Streams) -> None:
        async with asyncio.timeout(self.limits.idle_s) as patience:
            asking = asyncio.create_task(self._pump(client[0], sandbox[1], patience=patience))
            try:
                await self._pump(sandbox[0], client[1], patience=patience)
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        patience: asyncio.Timeout,
    ) -> None:
        try:
            while part := await reader.read(_CHUNK):
                patience.reschedule(asyncio.get_running_loop().time() + self.limits.idle_s)
                writer.write(part)
                await writer.drain()
        finally:
            # Whoever is done asking may still be answered.
            with contextlib.suppress(OSError):
                writer.write_eof()


def judge_head(head: bytes) -> str:
    """The refusal of a request by its head (without the empty line), empty when it may pass."""
    request_line, *field_lines = head.split(b"\r\n")
    parts = _REQUEST_LINE.fullmatch(request_line)
    if parts is None or not all(map(_FIELD_LINE.fullmatch, field_lines)):
        return _MALFORMED
    method, target = parts.groups()
    return "" if method == b"CONNECT" and target.lower() in _TARGETS else _FOREIGN


def _answer(refusal: str) -> bytes:
    """A refusal as a response; its first line holds the reason, as that is what clients show."""
    body = f"{refusal[4:]}.\n"
    return (
        f"HTTP/1.1 {refusal}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
        f"Connection: close\r\n\r\n{body}"
    ).encode()


async def _refuse(refusal: str, client: _Streams) -> None:
    """Answer, then take in what is still on its way: closing on it would lose the answer."""
    reader, writer = client
    writer.write(_answer(refusal))
    writer.write_eof()
    async with asyncio.timeout(_LINGER_S):
        for _ in range(_LINGER_CHUNKS):
            if not await reader.read(_CHUNK):
                return
