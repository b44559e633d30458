"""The ASGI application: check requests, route them, render errors and send answers."""

import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final

from openengagement.api.error_body import Family, render_error
from openengagement.api.refusals import log_error
from openengagement.api.routes import Routes
from openengagement.errors import (
    ApiError,
    GzipRequired,
    InternalError,
    SslRequired,
    StoreDamaged,
)
from openengagement.http.encoding import accepts_gzip
from openengagement.http.reply import Reply, send_reply
from openengagement.http.request import Body, Receive, Request, Scope, Send, check_head, read_head
from openengagement.settings import Settings

Lifespan = Callable[[], Awaitable[None]]
_DATA_PREFIX: Final = "/insights/"
_PLATFORM_PREFIX: Final = "/platform/"


@dataclass(frozen=True, slots=True)
class Hooks:
    """Functions that the application calls: at its start, at its stop, and about damage."""

    start: Lifespan
    stop: Lifespan
    note_damage: Callable[[StoreDamaged], None]


class Api:
    """The ASGI application."""

    def __init__(
        self,
        routes: Routes,
        *,
        settings: Settings,
        pool: Executor,
        default_headers: Callable[[], Mapping[str, str]],
        hooks: Hooks,
    ) -> None:
        self._routes = routes
        self._settings = settings
        self._pool = pool
        self._default_headers = default_headers
        self._hooks = hooks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or the start and the stop of the server."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)

    async def _run_lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            hooks = self._hooks
            await (hooks.start if message["type"] == "lifespan.startup" else hooks.stop)()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = os.urandom(8).hex()
        request = read_head(scope, self._settings)
        family = self._family(request.path)
        body = Body(request, receive, timeout_s=self._settings.body_timeout_s)
        try:
            if family is Family.PAGE:
                page_send = _with_request_id(send, request_id)
                await self._serve_page(scope, request, body=body, send=page_send)
                return
            reply = await self._answer(request, family, body=body)
        except ApiError as error:
            if isinstance(error, StoreDamaged):
                self._hooks.note_damage(error)
            await body.discard()
            reply = render_error(error, family, method=request.method, path=request.path)
            status = reply.status if self._settings.log_refusals else None
            log_error(error, request, request_id=request_id, refused_with=status)
        except Exception as error:
            log_error(error, request, request_id=request_id)
            reply = render_error(InternalError(), family, method=request.method, path=request.path)
        reply.headers["x-request-id"] = request_id
        if family is Family.DATA and "x-per-minute-limit" not in reply.headers:
            reply.headers.update(self._default_headers())
        gzip = accepts_gzip(request.headers)
        await send_reply(reply, send, gzip=gzip, pool=self._pool)

    def _family(self, path: str) -> Family:
        if path.startswith(_DATA_PREFIX):
            return Family.DATA
        if path == "/" or path.startswith(self._routes.page_prefixes):
            return Family.PAGE
        return Family.PLATFORM if path.startswith(_PLATFORM_PREFIX) else Family.OAUTH

    async def _answer(self, request: Request, family: Family, *, body: Body) -> Reply:
        check_head(request, self._settings.header_max_bytes)
        handler = self._routes.find(request.method, request.path)
        if not (request.secure or self._settings.allow_plain_http):
            raise SslRequired
        if (
            family is Family.DATA
            and self._settings.gzip_required
            and not accepts_gzip(request.headers)
        ):
            raise GzipRequired
        return await handler(request, body.read)

    async def _serve_page(self, scope: Scope, request: Request, *, body: Body, send: Send) -> None:
        """Pass a request to the pages, with its whole body, and the host that the browser sees."""
        check_head(request, self._settings.header_max_bytes)
        if not (request.secure or self._settings.allow_plain_http):
            raise SslRequired
        content = await body.read(self._settings.body_max_bytes)
        others = [(name, value) for name, value in scope["headers"] if name != b"host"]
        page_scope = {
            **scope,
            "scheme": request.scheme,
            "client": (request.peer, 0),
            "headers": [(b"host", request.host.encode("latin-1")), *others],
        }

        async def receive_body() -> dict[str, Any]:
            return {"type": "http.request", "body": content, "more_body": False}

        await self._routes.pages(page_scope, receive_body, send)


def _with_request_id(send: Send, request_id: str) -> Send:
    """Wrap `send` to add the request id to the headers of the answer."""
    header = (b"x-request-id", request_id.encode())

    async def send_with_id(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], header]
        await send(message)

    return send_with_id
