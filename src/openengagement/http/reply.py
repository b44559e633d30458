"""Answers of the API: build, compress and send them."""

import asyncio
from collections.abc import MutableMapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from openengagement.http.budget import ByteBudget
from openengagement.http.encoding import compress
from openengagement.http.request import Send
from openengagement.http.threads import run_in_pool

JSON: Final = "application/json;charset=utf-8"
HTML: Final = "text/html;charset=utf-8"
# For answers with credentials: no cache may keep them.
NO_STORE: Final = {"cache-control": "no-store", "pragma": "no-cache"}
_NO_CONTENT: Final = 204
# Larger bodies are compressed in a thread. For a smaller body, passing it to a thread takes
# longer than compressing it.
_INLINE_MAX: Final = 262_144
# A larger body counts for the budget, and is sent in pieces. No answer to a stranger is that large,
# so strangers cannot use up the budget.
WHOLE_MAX_BYTES: Final = 65_536
PIECE_BYTES: Final = 16_384
# The number of pieces that Granian queues before `send` waits.
_QUEUED_PIECES: Final = 4


@dataclass(slots=True)
class Reply:
    """An answer before its content encoding: status, body, headers (lower-case names)."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def json_reply(body: Any, headers: dict[str, str] | None = None) -> Reply:  # noqa: ANN401
    """Encode a body as JSON and answer 200."""
    return Reply(200, msgspec.json.encode(body), {"content-type": JSON, **(headers or {})})


async def encode_reply(reply: Reply, *, gzip: bool, pool: Executor) -> None:
    """Compress an answer if the client accepts gzip. A 204 has no body to compress."""
    if gzip and reply.status != _NO_CONTENT:
        body = reply.body
        large = len(body) > _INLINE_MAX
        reply.body = await run_in_pool(pool, compress, body) if large else compress(body)
        reply.headers["content-encoding"] = "gzip"
    reply.headers["vary"] = "accept-encoding"
    if reply.status != _NO_CONTENT:
        reply.headers["content-length"] = str(len(reply.body))


def start_of(reply: Reply) -> dict[str, Any]:
    """Return the ASGI message that starts an answer."""
    pairs = [
        (name.encode("latin-1"), text.encode("latin-1")) for name, text in reply.headers.items()
    ]
    return {"type": "http.response.start", "status": reply.status, "headers": pairs}


class Outbox:
    """Sends the answers of a worker.

    It bounds the bytes of large answers that clients have not read yet. A client must read each
    piece of a large answer within `timeout_s`.
    """

    def __init__(self, budget: ByteBudget, *, timeout_s: float) -> None:
        self._budget = budget
        self._timeout_s = timeout_s

    async def send(self, start: MutableMapping[str, Any], body: bytes, *, send: Send) -> None:
        """Send the two messages of an answer whose body is complete.

        Raises:
            Unavailable: too many bytes of large answers are in flight. Nothing was sent.
        """
        if len(body) <= WHOLE_MAX_BYTES:
            await send(start)
            await send({"type": "http.response.body", "body": body})
            return
        self._budget.take(len(body))
        try:
            await send(start)
            async with asyncio.timeout(self._timeout_s) as deadline:
                await self._send_pieces(body, send, deadline=deadline)
        except TimeoutError:
            pass  # the body is shorter than its content-length, so Granian closes the connection
        finally:
            self._budget.give_back(len(body))

    async def _send_pieces(self, body: bytes, send: Send, *, deadline: asyncio.Timeout) -> None:
        now_s = asyncio.get_running_loop().time
        # The empty pieces at the end fill Granian's queue, so `send` returns only when the client
        # has read the last piece of the body.
        for at in range(0, len(body) + _QUEUED_PIECES * PIECE_BYTES, PIECE_BYTES):
            piece = body[at : at + PIECE_BYTES]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            deadline.reschedule(now_s() + self._timeout_s)
        await send({"type": "http.response.body", "body": b""})
