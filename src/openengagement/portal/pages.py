"""The pages as one table, and the ASGI application that serves them.

Handlers are plain functions of a visit. They read and write the registry, so they run in a thread;
those that wait for Argon2id run in threads of their own, so that a crowd at the door keeps nobody
else from anything.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Final, TypeVar

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import Message, Receive, Scope, Send

from openengagement.http.encoding import accepts_gzip
from openengagement.http.forms import MalformedParameters, given_once, parse_form_body
from openengagement.portal.desk import Desk, Refusal
from openengagement.portal.handlers import Handlers
from openengagement.portal.rendering import STATIC_PREFIX, encode_page, finish
from openengagement.portal.sign_in import SignIn, network
from openengagement.portal.visits import Visit, Visits

if TYPE_CHECKING:
    from openengagement.portal.oidc import OidcSignIn

Handler = Callable[[Visit], Response]
Answered = TypeVar("Answered", bound=Response | None)
Dialogue = Callable[[Visit], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]
# What of the server's surface is a page's.
PREFIXES: Final = (
    "/oauth/authorize",
    "/oauth/authenticate",
    "/sign-in",
    "/sign-out",
    "/settings/",
    "/portal",
    "/explore",
    "/manage",
    STATIC_PREFIX,
)
_GUESSES_WAITING_MAX: Final = 32
_OF_ONE_PLACE: Final = 4
_DIALOGUES_MAX: Final = 64
_LONG_AT_ONCE: Final = 2
_LONG_WAITING_MAX: Final = 32
_FOREIGN: Final = Refusal(
    403,
    "This form did not come from here",
    "It was sent from elsewhere, or the page was open too long. Go back, reload and try again.",
)
_BUSY: Final = Refusal(503, "Too many people are signing in", "Please try again in a moment.")
_CROWDED: Final = Refusal(503, "Too many people look at charts", "Please try again in a moment.")
_MISSING: Final = Refusal(404, "There is no such page", "Please check the address.")


class Pages:
    """The ASGI application of the pages."""

    def __init__(
        self, desk: Desk, visits: Visits, *, handlers: Handlers, pool: Executor, slow_pool: Executor
    ) -> None:
        self._desk = desk
        self._visits = visits
        self._pool = pool
        self._slow_pool = slow_pool
        self._waiting: Counter[str] = Counter()  # sign-ins by the network they come from
        self._talking = 0
        self._long_turns = asyncio.Semaphore(_LONG_AT_ONCE)
        self._long_waiting = 0
        routes = self._lay_out(handlers)
        if handlers.oidc:
            routes += self._lay_out_oidc(handlers.oidc)
        self._router = Router(routes, redirect_slashes=False, default=self._missing)

    def _lay_out(self, handlers: Handlers) -> list[Route]:
        """The surface; a path must begin with one of PREFIXES to get here."""
        get, post, slow = self._get, self._post, self._slow
        consent, sign_in, apps = handlers.consent, handlers.sign_in, handlers.apps
        return [
            Route("/", get(apps.welcome), methods=["GET"]),
            Route("/oauth/authorize", get(consent.authorize), methods=["GET"]),
            Route("/oauth/authenticate", get(consent.authenticate), methods=["GET"]),
            Route("/oauth/authorize", post(consent.decide), methods=["POST"]),
            Route("/sign-in", get(sign_in.show), methods=["GET"]),
            Route("/sign-in", slow(sign_in), methods=["POST"]),
            Route("/sign-out", post(sign_in.sign_out), methods=["POST"]),
            Route("/settings/apps", get(apps.show), methods=["GET"]),
            Route("/settings/apps/revoke", post(apps.revoke), methods=["POST"]),
            Route("/settings/sessions/revoke", post(apps.end_session), methods=["POST"]),
            *self._lay_out_portal(handlers),
            *self._lay_out_explorer(handlers),
            *self._lay_out_console(handlers),
            Route(STATIC_PREFIX + "{name}", self._static, methods=["GET"]),
        ]

    def _lay_out_portal(self, handlers: Handlers) -> list[Route]:
        get, post = self._get, self._post
        developer, keys = handlers.developer, handlers.keys
        app = "/portal/apps/{app_id}"
        return [
            Route("/portal", get(developer.show_apps), methods=["GET"]),
            Route("/portal/new", get(developer.ask), methods=["GET"]),
            Route("/portal/new", post(developer.create), methods=["POST"]),
            Route(app, get(developer.show_settings), methods=["GET"]),
            Route(app, post(developer.save), methods=["POST"]),
            Route(f"{app}/keys", get(keys.show), methods=["GET"]),
            Route(f"{app}/keys", post(keys.act), methods=["POST"]),
        ]

    def _lay_out_explorer(self, handlers: Handlers) -> list[Route]:
        long = self._long
        explorer, charts = handlers.explorer, handlers.charts
        return [
            Route("/explore", long(explorer.show), methods=["GET"]),
            Route("/explore/compare", long(charts.show), methods=["GET"]),
            Route("/explore/compare.csv", long(charts.export), methods=["GET"]),
        ]

    def _lay_out_console(self, handlers: Handlers) -> list[Route]:
        console = handlers.console
        get, post, guarded = self._get, self._post, console.for_managers
        app = "/manage/apps/{app_id}"
        return [
            Route("/manage", get(guarded(console.overview)), methods=["GET"]),
            Route(app, get(guarded(console.app)), methods=["GET"]),
            Route(app, post(guarded(console.decide)), methods=["POST"]),
            Route("/manage/usage", get(guarded(console.usage)), methods=["GET"]),
            Route("/manage/usage.csv", get(guarded(console.usage_file)), methods=["GET"]),
            Route("/manage/audit", get(guarded(console.audit)), methods=["GET"]),
        ]

    def _lay_out_oidc(self, oidc: "OidcSignIn") -> list[Route]:
        talk = self._talk
        return [
            Route("/sign-in/oidc", talk(oidc.begin), methods=["POST"]),
            Route("/sign-in/oidc/callback", talk(oidc.finish), methods=["GET"]),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request of a browser."""
        secure = scope["scheme"] == "https"

        async def send_finished(message: Message) -> None:
            if message["type"] == "http.response.start":
                finish(MutableHeaders(scope=message), secure=secure)
            await send(message)

        try:
            await self._router(scope, receive, send_finished)
        except HTTPException as error:  # a form that cannot be read
            text = f"{error.detail}\n"
            await PlainTextResponse(text, error.status_code)(scope, receive, send_finished)

    def _get(self, handler: Handler) -> Endpoint:
        async def respond(request: Request) -> Response:
            return await self._run(handler, request)

        return respond

    def _long(self, handler: Handler) -> Endpoint:
        """As `_get`, for pages of many figures: compressed, a few at a time.

        The threads they run in are the API's too.
        """

        async def respond(request: Request) -> Response:
            gzip = accepts_gzip(request.headers.raw)

            def compressed(visit: Visit) -> Response:
                return encode_page(handler(visit), gzip=gzip)

            if self._long_waiting >= _LONG_WAITING_MAX:
                return await self._send_away(request, _CROWDED)
            self._long_waiting += 1
            try:
                async with self._long_turns:
                    return await self._run(compressed, request)
            finally:
                self._long_waiting -= 1

        return respond

    def _post(self, handler: Handler) -> Endpoint:
        async def respond(request: Request) -> Response:
            return await self._run(self._checked(handler), request)

        return respond

    def _slow(self, sign_in: SignIn) -> Endpoint:
        """As `_post`, in the pool for guesses: a few of each address may wait for their turn."""

        async def respond(request: Request) -> Response:
            place = network(request.client.host) if request.client else ""
            crowded = self._waiting.total() >= _GUESSES_WAITING_MAX
            if crowded or self._waiting[place] >= _OF_ONE_PLACE:
                return await self._send_away(request)
            self._waiting[place] += 1
            try:
                refused = await self._run(self._checked(sign_in.knock), request)
                if refused is not None:
                    return refused
                checked = self._checked(sign_in.sign_in)
                return await self._run(checked, request, pool=self._slow_pool)
            finally:
                self._waiting[place] -= 1
                self._waiting += Counter()  # forgets whom nobody waits for

        return respond

    def _talk(self, handler: Dialogue) -> Endpoint:
        """As `_get` and `_post`, for a handler that waits for others; no thread waits with it."""

        async def respond(request: Request) -> Response:
            if self._talking >= _DIALOGUES_MAX:
                return await self._send_away(request)
            self._talking += 1
            try:
                return await self._run_dialogue(handler, request)
            finally:
                self._talking -= 1

        return respond

    async def _send_away(self, request: Request, refusal: Refusal = _BUSY) -> Response:
        response = await self._run(self._refused(refusal), request)
        response.headers["retry-after"] = "2"
        return response

    async def _run_dialogue(self, handler: Dialogue, request: Request) -> Response:
        posted = request.method == "POST"
        fields = await _read_form(request) if posted else {}
        visit = await asyncio.get_running_loop().run_in_executor(
            self._pool, self._visits.open, request, fields
        )
        if posted and not self._visits.came_from_us(visit):
            response = self._desk.refuse(visit, _FOREIGN)
        else:
            response = await handler(visit)
        self._visits.close(visit, response)
        return response

    def _checked(
        self, handler: Callable[[Visit], Answered]
    ) -> Callable[[Visit], Answered | Response]:
        def check(visit: Visit) -> Answered | Response:
            if not self._visits.came_from_us(visit):
                return self._desk.refuse(visit, _FOREIGN)
            return handler(visit)

        return check

    def _refused(self, refusal: Refusal) -> Handler:
        return lambda visit: self._desk.refuse(visit, refusal)

    async def _missing(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._run(self._refused(_MISSING), Request(scope, receive))
        await response(scope, receive, send)

    async def _static(self, request: Request) -> Response:
        gzip = accepts_gzip(request.headers.raw)
        response = self._desk.asset(request.path_params["name"], gzip=gzip)
        if response is not None:
            return response
        return await self._run(self._refused(_MISSING), request)

    async def _run(
        self,
        handler: Callable[[Visit], Answered],
        request: Request,
        *,
        pool: Executor | None = None,
    ) -> Answered:
        """Answer in a thread."""
        fields = await _read_form(request) if request.method == "POST" else {}

        def work() -> Answered:
            visit = self._visits.open(request, fields)
            response = handler(visit)
            if response is not None:
                self._visits.close(visit, response)
            return response

        return await asyncio.get_running_loop().run_in_executor(pool or self._pool, work)


async def _read_form(request: Request) -> dict[str, str]:
    """A form's fields; one that is given twice counts as not given.

    Our forms are of one kind; one of another kind, such as `multipart/form-data`, has no fields.

    Raises:
        HTTPException: it cannot be read.
    """
    try:
        pairs = parse_form_body(request.headers.get("content-type", ""), await request.body())
    except MalformedParameters:
        raise HTTPException(400, "This form cannot be read.") from None
    return given_once(pairs)
