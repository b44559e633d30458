"""The whole surface as one table, and the ASGI application that serves it.

Deliberate quirks of the frozen wire (contract section in parentheses):

* Every answer with a body to a client that accepts gzip is gzip, errors and empty ones too; clients
  unpack before they look at the status (1.4). A client that gets the 406 does not accept it.
* A wrong path on the data API is a 404 without a body, a wrong method a 405 in plain text (3.4).
* Six rate-limit headers on every data API answer, whoever asks and however it ends (3.5).
* The OAuth calls refuse in objects with numeric codes, the data API in strings (3.4, 4.8).
* Bodies are read as JSON whatever their content type says, because samples leave it out (1.4).
* `/28hr` may hold 29 hours, and a `/historical` end that was not given is echoed unrounded (8.9,
  8.10).
* Hour without day is hour of day (8.3). A deleted Tweet's video views still count for its video.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from openengagement.api.error_body import JSON, Family, render_error
from openengagement.api.http import (
    ReadBody,
    Receive,
    Reply,
    Request,
    Scope,
    Send,
    accepts_gzip,
    check_head,
    encode_gzip,
    read_body,
    read_head,
)
from openengagement.api.insights import Insights
from openengagement.api.oauth import OAuthCalls
from openengagement.api.platform import Platform
from openengagement.errors import (
    ApiError,
    GzipRequired,
    InternalError,
    MethodNotAllowed,
    NotFound,
    SslRequired,
    Unavailable,
)
from openengagement.settings import Settings
from openengagement.telemetry import log_failure

Handler = Callable[[Request, ReadBody], Awaitable[Reply]]
Lifespan = Callable[[], Awaitable[None]]
_DATA_PREFIX: Final = "/insights/"
_PLATFORM_PREFIX: Final = "/platform/"
_TWEET_PREFIX: Final = "/platform/v1/tweets/"
# Bodies above this are compressed in a thread; below it the way there costs more.
_GZIP_INLINE_MAX: Final = 65_536


@dataclass(frozen=True, slots=True)
class Routes:
    """The surface: (method, path) -> handler. `delete_tweet` also takes the end of its path."""

    table: Mapping[tuple[str, str], Handler]
    delete_tweet: Callable[[Request, str], Awaitable[Reply]]

    def find(self, method: str, path: str) -> Handler:
        """The handler of a request.

        Raises:
            NotFound, MethodNotAllowed
        """
        handler = self.table.get((method, path))
        if handler is not None:
            return handler
        if path.startswith(_TWEET_PREFIX):
            allowed = ["DELETE"]
            if method == "DELETE":
                tweet_id = path.removeprefix(_TWEET_PREFIX)
                return lambda request, _: self.delete_tweet(request, tweet_id)
        else:
            allowed = [each for each, known in self.table if known == path]
        if allowed:
            raise MethodNotAllowed("Method not allowed", headers={"allow": ", ".join(allowed)})
        raise NotFound


def build_routes(
    insights: Insights,
    oauth: OAuthCalls,
    *,
    platform: Platform,
    is_healthy: Callable[[], bool],
) -> Routes:
    """The table."""
    return Routes(
        table={
            ("POST", "/insights/engagement/totals"): insights.totals,
            ("POST", "/insights/engagement/28hr"): insights.last_28_hours,
            ("POST", "/insights/engagement/historical"): insights.historical,
            ("POST", "/oauth2/token"): oauth.token,
            ("POST", "/oauth2/invalidate_token"): oauth.invalidate_token,
            ("POST", "/platform/v1/events"): platform.events,
            ("POST", "/platform/v1/tweets"): platform.tweets,
            ("POST", "/platform/v1/accounts"): platform.accounts,
            ("GET", "/health"): _health(is_healthy),
        },
        delete_tweet=platform.delete_tweet,
    )


def _health(is_healthy: Callable[[], bool]) -> Handler:
    async def answer(_request: Request, _read_body: ReadBody) -> Reply:
        if not is_healthy():
            raise Unavailable("batches are no longer applied; restart the server")
        return Reply(200, b'{"status":"ok"}', {"content-type": JSON})

    return answer


class Api:
    """The ASGI application. `stop` closes what the server opened."""

    def __init__(
        self,
        routes: Routes,
        *,
        settings: Settings,
        pool: Executor,
        default_headers: Callable[[], Mapping[str, str]],
        lifespan: tuple[Lifespan, Lifespan],
    ) -> None:
        self._routes = routes
        self._settings = settings
        self._pool = pool
        self._default_headers = default_headers
        self._start, self._stop = lifespan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's event, as ASGI defines it."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            await (self._start if message["type"] == "lifespan.startup" else self._stop)()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = os.urandom(8).hex()
        request = read_head(scope, self._settings)
        family = _family(request.path)
        try:
            reply = await self._answer(request, family, receive=receive)
        except ApiError as error:
            reply = render_error(error, family, method=request.method, path=request.path)
        except Exception as error:
            log_failure("request_failed", error, request_id=request_id, path=request.path[:200])
            reply = render_error(InternalError(), family, method=request.method, path=request.path)
        reply.headers["x-request-id"] = request_id
        if family is Family.DATA and "x-per-minute-limit" not in reply.headers:
            reply.headers.update(self._default_headers())
        await self._send(request, reply, send=send)

    async def _answer(self, request: Request, family: Family, *, receive: Receive) -> Reply:
        check_head(request, self._settings.header_max_bytes)
        handler = self._routes.find(request.method, request.path)
        if not (request.secure or self._settings.allow_plain_http):
            raise SslRequired
        if family is Family.DATA and self._settings.gzip_required and not accepts_gzip(request):
            raise GzipRequired
        timeout_s = self._settings.body_timeout_s
        return await handler(
            request,
            lambda limit: read_body(request, receive, limit=limit, timeout_s=timeout_s),
        )

    async def _send(self, request: Request, reply: Reply, *, send: Send) -> None:
        body = reply.body
        if reply.status != 204 and accepts_gzip(request):  # noqa: PLR2004
            if len(body) > _GZIP_INLINE_MAX:
                loop = asyncio.get_running_loop()
                body = await loop.run_in_executor(self._pool, encode_gzip, body)
            else:
                body = encode_gzip(body)
            reply.headers["content-encoding"] = "gzip"
        reply.headers["vary"] = "accept-encoding"
        if reply.status != 204:  # noqa: PLR2004
            reply.headers["content-length"] = str(len(body))
        headers = [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in reply.headers.items()
        ]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _family(path: str) -> Family:
    if path.startswith(_DATA_PREFIX):
        return Family.DATA
    return Family.PLATFORM if path.startswith(_PLATFORM_PREFIX) else Family.OAUTH
