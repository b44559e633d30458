"""Send API requests of the pages to this server itself, inside the process.

Such a request takes the whole path of a client's request: authentication, limits, usage and the
access log. A page therefore shows exactly the answer that a client would get.
"""

import asyncio
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from openengagement.portal.page_request import PageRequest

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]
_KEPT_BYTES: Final = 100_000  # of the decompressed body
_GZIP_WINDOW: Final = 31


@dataclass(frozen=True, slots=True)
class InnerAnswer:
    """An answer of this server. `body` is decompressed, and cut if `is_cut` says so."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes
    is_cut: bool
    duration_ms: float

    def header(self, name: str) -> str:
        """Return a header by its name in lower case; empty if there is none."""
        return dict(self.headers).get(name, "")


class InnerCalls:
    """Sends requests to `application`, which is set once the server is complete."""

    application: Application

    async def post(
        self, request: PageRequest, path: str, *, headers: Mapping[str, str], body: bytes
    ) -> InnerAnswer:
        """Send a POST request as if the browser of `request` had sent it to the same host."""
        fields = {"host": request.host, "content-length": str(len(body)), **headers}
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "scheme": request.scheme,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(k.encode(), v.encode("latin-1")) for k, v in fields.items()],
            "client": (request.address, 0),
            "extensions": {},
        }
        exchange = _Exchange(body)
        began_s = time.perf_counter()
        await self.application(scope, exchange.receive, exchange.send)
        return exchange.read_answer((time.perf_counter() - began_s) * 1000)


class _Exchange:
    """The two ends of a request: gives its body, and collects its answer."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._start: Message = {}
        self._parts: list[bytes] = []

    async def receive(self) -> Message:
        body, self._body = self._body, None
        if body is None:  # nobody disconnects
            await asyncio.Event().wait()
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        else:
            self._parts.append(message.get("body", b""))

    def read_answer(self, duration_ms: float) -> InnerAnswer:
        headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in self._start["headers"]]
        body = b"".join(self._parts)
        if dict(headers).get("content-encoding") == "gzip":
            body = zlib.decompressobj(_GZIP_WINDOW).decompress(body, _KEPT_BYTES + 1)
        is_cut = len(body) > _KEPT_BYTES
        return InnerAnswer(self._start["status"], headers, body[:_KEPT_BYTES], is_cut, duration_ms)
