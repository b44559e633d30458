"""The ASGI application of the pages.

Most handlers are plain functions of a `PageRequest`. They read and write the registry, so each runs
in a thread. Concurrency limits keep slow pages from occupying every thread.
"""

import inspect
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from functools import partial
from typing import Final, cast

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Message, Receive, Scope, Send

from openengagement.engagement.permissions import Proof
from openengagement.http import request as http_request
from openengagement.http.encoding import accepts_gzip
from openengagement.http.forms import MalformedParameters, given_once, parse_form_body
from openengagement.http.request import FORM_MAX_BYTES, READ_BODY
from openengagement.http.threads import run_in_pool
from openengagement.language.current import gettext_noop
from openengagement.portal.access import (
    MANAGERS_ONLY,
    SECOND_FACTOR_PATH,
    Access,
    sign_in_first,
)
from openengagement.portal.assets import STATIC_PREFIX
from openengagement.portal.browser_sessions import BrowserSessions
from openengagement.portal.concurrency import SIGN_IN_BUSY, Busy, ConcurrencyLimit, client_networks
from openengagement.portal.failures import describe_failure
from openengagement.portal.form_origins import is_from_here, page_of
from openengagement.portal.kept_forms import KeptForms
from openengagement.portal.language_choice import choose_language, choose_language_by_headers
from openengagement.portal.page_request import PageRequest
from openengagement.portal.rendering import (
    FOREIGN_FORM,
    PageRenderer,
    Refusal,
    add_security_headers,
    encode_page,
    redirect,
)
from openengagement.portal.routes import AsyncHandler, Handler, Load, PageRoute

_MANY_CHARTS: Final = Refusal(
    503,
    gettext_noop("Too many people are loading charts"),
    gettext_noop("Wait a few seconds and reload the page."),
)
_MANY_CALLS: Final = Refusal(
    503,
    gettext_noop("Too many people are sending requests"),
    gettext_noop("Wait a few seconds and send the form again."),
)
_MANY_TESTS: Final = Refusal(
    503,
    gettext_noop("Too many webhooks are being tested"),
    gettext_noop("Wait a few seconds and send the test again."),
)
_MEASURED_BY_MANY: Final = Refusal(
    503,
    gettext_noop("The system is being measured"),
    gettext_noop("Wait a few seconds and reload the page."),
)
# For a person who is signed in. The form of anybody else may have FORM_MAX_BYTES.
_SIGNED_IN_FORM_MAX_BYTES: Final = 65_536
_COMPRESSED: Final = (Load.FIGURES, Load.LONG)
_RETRY_AFTER_S: Final = "2"
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_MISSING: Final = Refusal(
    404,
    gettext_noop("There is no such page"),
    gettext_noop("Check the address, or start from the home page."),
)
_WRONG_METHOD: Final = Refusal(
    405,
    gettext_noop("This address has no page"),
    gettext_noop("It only takes a form from another page. Start from the home page."),
)
_UNREADABLE: Final = Refusal(
    400,
    gettext_noop("The form cannot be read"),
    gettext_noop("Go back, reload the page and try again."),
)


class Pages:
    """Answers every request for a page or a static file."""

    def __init__(
        self,
        renderer: PageRenderer,
        sessions: BrowserSessions,
        *,
        kept_forms: KeptForms,
        routes: Sequence[PageRoute],
        pool: Executor,
        body_max_bytes: int,
    ) -> None:
        self._renderer = renderer
        self._sessions = sessions
        self._kept_forms = kept_forms
        self._body_max_bytes = body_max_bytes
        self._pool = pool
        self._limits = {
            Load.FIGURES: ConcurrencyLimit(32, _MANY_CHARTS, running_max=2),
            Load.MEASURING: ConcurrencyLimit(8, _MEASURED_BY_MANY, running_max=1),
            Load.CALLS: ConcurrencyLimit(32, _MANY_CALLS, running_max=4),
            Load.RECEIVER: ConcurrencyLimit(8, _MANY_TESTS),
            Load.PROVIDER: ConcurrencyLimit(64, SIGN_IN_BUSY),
        }
        methods: dict[str, list[str]] = {}
        for route in routes:
            methods.setdefault(route.path, []).append(route.method)
        table = [
            Route(route.path, partial(self._respond, route), methods=[route.method])
            for route in routes
        ]
        # After them, because the first match wins.
        table += [
            Route(path, partial(self._refuse_method, allowed), methods=_METHODS)
            for path, allowed in methods.items()
        ]
        table.append(Route(STATIC_PREFIX + "{name}", self._static, methods=["GET"]))
        self._router = Router(table, redirect_slashes=False, default=self._missing)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request of a browser."""
        secure = scope["scheme"] == "https"

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                add_security_headers(MutableHeaders(scope=message), secure=secure)
            await send(message)

        try:
            await self._router(scope, receive, send_with_headers)
        except MalformedParameters:
            response = await self._refuse(_UNREADABLE, Request(scope))
            await response(scope, receive, send_with_headers)

    def render_failure(self, status: int, request: http_request.Request) -> str:
        """Render the page of a request that failed before or while a page was made."""
        choose_language_by_headers(request.headers, self._renderer.languages)
        return self._renderer.render_failure(describe_failure(status), request.request_id)

    async def _respond(self, route: PageRoute, request: Request) -> Response:
        """Answer with a page, within its concurrency limit."""
        # Before the limit: a form that arrives slowly must not hold a place.
        fields = await self._read_form(request) if route.method == "POST" else {}
        limit = self._limits.get(route.load)
        networks = client_networks(request.client.host if request.client else "")
        try:
            async with limit.hold(networks) if limit else nullcontext():
                return await self._answer(route, request, fields=fields)
        except Busy as error:
            response = await self._refuse(error.refusal, request)
            response.headers["retry-after"] = _RETRY_AFTER_S
            return response

    async def _answer(
        self, route: PageRoute, request: Request, *, fields: dict[str, str]
    ) -> Response:
        if not inspect.iscoroutinefunction(route.handler):
            work = partial(self._answer_in_thread, route, request, fields=fields)
            return await run_in_pool(self._pool, work)
        page_request = await run_in_pool(self._pool, self._sessions.read, request, fields)
        choose_language(page_request, self._renderer.languages)
        handler = cast("AsyncHandler", route.handler)
        refused = await run_in_pool(self._pool, self._check, route, page_request)
        response = refused or await handler(page_request)
        page_request.send_cookies(response)
        return response

    def _answer_in_thread(
        self, route: PageRoute, request: Request, *, fields: dict[str, str]
    ) -> Response:
        page_request = self._sessions.read(request, fields)
        choose_language(page_request, self._renderer.languages)
        handler = cast("Handler", route.handler)
        response = self._check(route, page_request) or handler(page_request)
        if route.method == "GET":
            self._kept_forms.restore(page_request, response)
        if route.load in _COMPRESSED:
            response = encode_page(response, gzip=accepts_gzip(request.headers.raw))
        page_request.send_cookies(response)
        return response

    async def _read_form(self, request: Request) -> dict[str, str]:
        """Read the fields of a form. A body of any other content type has none.

        Raises:
            MalformedParameters: the form is malformed.
            ApiError: it cannot be read.
        """
        visitor = await run_in_pool(self._pool, self._sessions.read, request, {})
        limit = _SIGNED_IN_FORM_MAX_BYTES if visitor.session else FORM_MAX_BYTES
        body = await request.scope[READ_BODY](min(limit, self._body_max_bytes))
        return given_once(parse_form_body(request.headers.get("content-type", ""), body))

    def _check(self, route: PageRoute, request: PageRequest) -> Response | None:
        """Refuse a form of another site, and a page that this person may not see."""
        if route.method == "POST" and not self._sessions.is_own_form(request):
            return self._answer_late_form(route, request)
        if route.access is Access.ANYONE:
            return None
        if request.session is None:
            return sign_in_first(page_of(request) if route.method == "GET" else request.path)
        if route.access is Access.SIGNED_IN:
            return None
        if not request.session.is_manager:
            return self._renderer.refuse(request, MANAGERS_ONLY)
        if route.access is Access.PROVEN_MANAGER and request.session.proof is Proof.PASSWORD:
            return redirect(SECOND_FACTOR_PATH)
        return None

    def _answer_late_form(self, route: PageRoute, request: PageRequest) -> Response:
        """Answer a form without a valid CSRF token: refuse it, or have it shown again, filled."""
        if route.late is not None and is_from_here(request):
            return route.late(request)
        page = self._kept_forms.keep(request) if route.late is None else None
        if page is None:
            return self._renderer.refuse(request, FOREIGN_FORM)
        return redirect(page) if request.session else sign_in_first(page)

    async def _refuse(self, refusal: Refusal, request: Request) -> Response:
        route = PageRoute("GET", "", lambda asked: self._renderer.refuse(asked, refusal))
        return await self._answer(route, request, fields={})

    async def _refuse_method(self, allowed: Sequence[str], request: Request) -> Response:
        response = await self._refuse(_WRONG_METHOD, request)
        response.headers["allow"] = ", ".join(allowed)
        return response

    async def _missing(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._refuse(_MISSING, Request(scope, receive))
        await response(scope, receive, send)

    async def _static(self, request: Request) -> Response:
        gzip = accepts_gzip(request.headers.raw)
        response = self._renderer.assets.respond(request.path_params["name"], gzip=gzip)
        return response or await self._refuse(_MISSING, request)
