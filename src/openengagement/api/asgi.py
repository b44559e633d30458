"""The ASGI application: check requests, route them, render errors and send answers."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final

from openengagement.api.access_log import AccessLog, Arrival
from openengagement.api.error_body import Family, render_error
from openengagement.api.health import PROBES
from openengagement.api.refusals import log_error
from openengagement.api.routes import Routes
from openengagement.errors import (
    ApiError,
    GzipRequired,
    InternalError,
    SslRequired,
    StoreDamaged,
    StoreUnavailable,
    Unavailable,
)
from openengagement.files import UnusableFile
from openengagement.http.budget import ByteBudget
from openengagement.http.encoding import accepts_gzip
from openengagement.http.reply import Outbox, Reply, encode_reply, start_of
from openengagement.http.request import (
    DISCARDS_MAX,
    READ_BODY,
    Body,
    Receive,
    Request,
    Scope,
    Send,
    check_head,
    read_head,
)
from openengagement.metrics.table import IN_FLIGHT, REQUEST_SECONDS, REQUESTS
from openengagement.settings import Settings

Lifespan = Callable[[], Awaitable[None]]
_Headers = Sequence[tuple[bytes, bytes]]
_DATA_PREFIX: Final = "/insights/"
_PLATFORM_PREFIX: Final = "/platform/"
_HEALTH_PATH: Final = "/health"
_PAGE_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'"
)


@dataclass(frozen=True, slots=True)
class Hooks:
    """Functions that the application calls: at its start, at its stop, and about damage.

    `render_failure` renders the page of a browser's request that failed, from its status and the
    request. Without it, such a page has a heading and a sentence only.
    """

    start: Lifespan
    stop: Lifespan
    note_damage: Callable[[StoreDamaged], None]
    render_failure: Callable[[int, Request], str] | None = None


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
        self._hosts = settings.host_names
        self._bodies = ByteBudget(settings.bodies_in_flight_max_bytes, "request bodies")
        self._discards = asyncio.Semaphore(DISCARDS_MAX)
        responses = ByteBudget(settings.responses_in_flight_max_bytes, "large responses")
        self._outbox = Outbox(responses, timeout_s=settings.response_timeout_s)
        self._access_log = AccessLog(settings.access_log)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or the start and the stop of the server."""
        if scope["type"] == "http":
            IN_FLIGHT.add(1)
            try:
                await self._serve(scope, receive, send)
            finally:
                IN_FLIGHT.add(-1)
        elif scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)

    def route_of(self, path: str) -> str:
        """Return the name of the route of a path, one of few."""
        return self._routes.name(path)

    async def _run_lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            hooks = self._hooks
            await (hooks.start if message["type"] == "lifespan.startup" else hooks.stop)()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                self._access_log.flush()
                return

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = read_head(scope, self._settings)
        request_id = request.request_id
        arrival = self._access_log.begin(request)
        family = self._family(request)
        body = Body(
            request,
            receive,
            timeout_s=self._settings.body_timeout_s,
            budget=self._bodies,
            discards=self._discards,
        )
        try:
            if family is Family.PAGE:
                page_send = self._page_send(send, body, arrival=arrival)
                await self._serve_page(scope, request, body=body, send=page_send)
                return
            reply = await self._answer(request, family, body=body)
        except (ApiError, UnusableFile) as error:
            # Assign the error to no variable: its traceback refers to this frame. Such a cycle
            # keeps `receive` until garbage is collected, and the connection open as long.
            await body.discard()
            reply = self._refuse(_as_refusal(error), request, family=family, request_id=request_id)
        except Exception as error:
            log_error(error, request, request_id=request_id)
            reply = self._render(InternalError(), request, family=family)
        finally:
            body.release()
        reply.headers["x-request-id"] = request_id
        try:
            await self._send(reply, request, family=family, send=send)
        except Unavailable as error:
            error.headers = {**_rate_headers_of(reply), **error.headers}
            reply = self._refuse(error, request, family=family, request_id=request_id)
            reply.headers["x-request-id"] = request_id
            await self._send(reply, request, family=family, send=send)
        code = reply.headers.get("x-error-code")
        self._note(arrival, reply.status, code=code, size=len(reply.body))

    def _note(self, arrival: Arrival, status: int, *, code: str | None, size: int) -> None:
        """Count and log a request that was answered."""
        endpoint = self._routes.name(arrival.request.path)
        REQUESTS.add(1, endpoint, str(status), code or "")
        took_s = time.perf_counter() - arrival.began_s
        REQUEST_SECONDS.observe(took_s, endpoint)
        self._access_log.note(arrival, status, code=code, size=size, took_s=took_s)

    def _refuse(
        self, error: ApiError, request: Request, *, family: Family, request_id: str
    ) -> Reply:
        """Log an error, and render the answer to it."""
        if isinstance(error, StoreDamaged):
            self._hooks.note_damage(error)
        reply = self._render(error, request, family=family)
        status = reply.status if self._settings.log_refusals else None
        log_error(error, request, request_id=request_id, refused_with=status)
        return reply

    def _render(self, error: ApiError, request: Request, *, family: Family) -> Reply:
        """Render the answer to an error: a page for a browser, otherwise as its family has it."""
        reply = render_error(error, family, method=request.method, path=request.path)
        if family is Family.PAGE and self._hooks.render_failure:
            page = self._hooks.render_failure(reply.status, request)
            reply.body = page.encode()
            reply.headers["content-security-policy"] = _PAGE_POLICY
        return reply

    async def _send(self, reply: Reply, request: Request, *, family: Family, send: Send) -> None:
        if family is Family.DATA and "x-per-minute-limit" not in reply.headers:
            reply.headers.update(self._default_headers())
        await encode_reply(reply, gzip=accepts_gzip(request.headers), pool=self._pool)
        await self._outbox.send(start_of(reply), reply.body, send=send)

    def _family(self, request: Request) -> Family:
        path = request.path
        if path.startswith(_DATA_PREFIX):
            return Family.DATA
        if path == "/" or path.startswith(self._routes.page_prefixes):
            return Family.PAGE
        if self._routes.is_unknown(path) and _asks_for_a_page(request):
            return Family.PAGE
        return Family.PLATFORM if path.startswith(_PLATFORM_PREFIX) else Family.OAUTH

    def _check_head(self, request: Request) -> None:
        # Probes often have an address instead of a name.
        probed = request.path == _HEALTH_PATH or request.path in PROBES
        hosts = frozenset() if probed else self._hosts
        check_head(request, self._settings.header_max_bytes, hosts=hosts)

    async def _answer(self, request: Request, family: Family, *, body: Body) -> Reply:
        self._check_head(request)
        handler = self._routes.find(request.method, request.path)
        if not (request.secure or self._settings.allow_plain_http or request.path in PROBES):
            raise SslRequired
        if (
            family is Family.DATA
            and self._settings.gzip_required
            and not accepts_gzip(request.headers)
        ):
            raise GzipRequired
        return await handler(request, body.read)

    async def _serve_page(self, scope: Scope, request: Request, *, body: Body, send: Send) -> None:
        """Pass a request to the pages, with a reader of its body and the host that browsers see."""
        self._check_head(request)
        if not (request.secure or self._settings.allow_plain_http):
            raise SslRequired
        others = [(name, value) for name, value in scope["headers"] if name != b"host"]
        page_scope = {
            **scope,
            "scheme": request.scheme,
            "client": (request.peer, 0),
            "headers": [(b"host", request.host.encode("latin-1")), *others],
            READ_BODY: body.read,
            "extensions": {},  # `_page_send` takes the messages that have a body only
        }
        await self._routes.pages(page_scope, _NoBody().receive, send)

    def _page_send(self, send: Send, body: Body, *, arrival: Arrival) -> Send:
        """Return a `send` for a page. It adds the request id, and sends a body when it is whole."""
        start: MutableMapping[str, Any] = {}
        parts: list[bytes] = []

        async def send_page(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                await body.discard()
                start.update(message)
                return
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                whole = b"".join(parts)
                headers = [*_with_length(start["headers"], whole), request_id_header]
                await self._outbox.send({**start, "headers": headers}, whole, send=send)
                self._note(arrival, start["status"], code=None, size=len(whole))

        request_id_header = (b"x-request-id", arrival.request.request_id.encode())
        return send_page


def _asks_for_a_page(request: Request) -> bool:
    """Tell whether a person opened this address in a browser."""
    return request.method == "GET" and "text/html" in request.header(b"accept")


def _as_refusal(failure: ApiError | UnusableFile) -> ApiError:
    """Return the error that the client gets. The log has the reason."""
    return failure if isinstance(failure, ApiError) else StoreUnavailable("registry", str(failure))


def _rate_headers_of(reply: Reply) -> dict[str, str]:
    return {name: text for name, text in reply.headers.items() if name.startswith("x-per-")}


def _with_length(headers: _Headers, body: bytes) -> _Headers:
    """Add the length of a body that was made in parts, so that a client notices a missing end."""
    if not body or any(name == b"content-length" for name, _ in headers):
        return headers
    return [*headers, (b"content-length", str(len(body)).encode())]


class _NoBody:
    """Stands in for the body, which pages read with `scope[READ_BODY]`.

    Responses in parts call `receive` again and again to hear of a disconnect. They must wait then,
    or they would occupy the event loop.
    """

    def __init__(self) -> None:
        self._received = False

    async def receive(self) -> dict[str, Any]:
        if self._received:
            await asyncio.Event().wait()
        self._received = True
        return {"type": "http.request", "body": b"", "more_body": False}
