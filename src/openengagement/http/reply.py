"""Answers of the API: build, compress and send them."""

from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

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


@dataclass(slots=True)
class Reply:
    """An answer before its content encoding: status, body, headers (lower-case names)."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def json_reply(body: Any, headers: dict[str, str] | None = None) -> Reply:  # noqa: ANN401
    """Encode a body as JSON and answer 200."""
    return Reply(200, msgspec.json.encode(body), {"content-type": JSON, **(headers or {})})


async def send_reply(reply: Reply, send: Send, *, gzip: bool, pool: Executor) -> None:
    """Send an answer, compressed if the client accepts gzip. A 204 has no body to compress."""
    body, headers = reply.body, reply.headers
    if gzip and reply.status != _NO_CONTENT:
        large = len(body) > _INLINE_MAX
        body = await run_in_pool(pool, compress, body) if large else compress(body)
        headers["content-encoding"] = "gzip"
    headers["vary"] = "accept-encoding"
    if reply.status != _NO_CONTENT:
        headers["content-length"] = str(len(body))
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
