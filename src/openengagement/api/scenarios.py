"""Scenarios of the sandbox: a header of a request provokes a refusal, or a slow or broken answer.

`x-sandbox-scenario` is the name of a refusal (api.md 7.1), `slow` or `truncated`. Only a sandbox
builds its API with this module. A refusal takes the usual way of errors, so that its status, text,
headers and log line are the real ones.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import replace
from typing import Any, Final

from openengagement import errors
from openengagement.api.insights import rate_headers
from openengagement.api.routes import Route
from openengagement.errors import ApiError, InvalidField
from openengagement.http.reply import Reply
from openengagement.http.request import ReadBody, Receive, Request, Scope, Send
from openengagement.limits.contract import RateWindow

HEADER: Final = b"x-sandbox-scenario"
SLOW: Final = "slow"
TRUNCATED: Final = "truncated"
SLOW_S: Final = 10.0
_ASKED: Final = "the sandbox was asked for this refusal"
_TWEET: Final = "1"
_NEXT_RESET_S: Final = 60
_REJECTED: Final = {"accepted": 0, "rejected": 1}
# Refusals whose text depends on the request.
_MADE: Final[Mapping[type[ApiError], Callable[[], ApiError]]] = {
    errors.UnsupportedTypes: lambda: errors.UnsupportedTypes(["example"]),
    errors.UnsupportedGroupBys: lambda: errors.UnsupportedGroupBys(["example"]),
    errors.TweetsUnavailable: lambda: errors.TweetsUnavailable([_TWEET]),
    errors.BatchRefused: lambda: errors.BatchRefused(1, details=_REJECTED),
    errors.AllRejected: lambda: errors.AllRejected(1, details=_REJECTED),
    errors.ForbiddenTweets: lambda: errors.ForbiddenTweets(f"Forbidden to access tweets: {_TWEET}"),
    errors.ForbiddenMetrics: lambda: errors.ForbiddenMetrics(["impressions"]),
    errors.InvalidField: lambda: errors.InvalidField(f"field: {_ASKED}"),
    errors.Unavailable: lambda: errors.Unavailable(_ASKED),
    errors.StoreUnavailable: lambda: errors.StoreUnavailable("counters", _ASKED),
    errors.StoreDamaged: lambda: errors.StoreDamaged("counters", "example", reason=_ASKED),
}


def provoke(route: Route, *, now_s: Callable[[], float]) -> Route:
    """Return the route with a handler that performs the scenario of each request."""
    handler = route.handler

    async def perform(request: Request, read_body: ReadBody, **parameters: str) -> Reply:
        name = request.header(HEADER)
        if name == SLOW:
            await asyncio.sleep(SLOW_S)
        elif name and name != TRUNCATED:
            raise _make_refusal(name, now_s=now_s())
        return await handler(request, read_body, **parameters)

    return replace(route, handler=perform)


def _make_refusal(name: str, *, now_s: float) -> ApiError:
    """Make the refusal of this name; for an unknown one, the refusal of the header itself."""
    kinds = {kind.code: kind for kind in _leaves(ApiError)}
    kind = kinds.get(name)
    if kind is None:
        known = ", ".join(sorted([*kinds, SLOW, TRUNCATED]))
        return InvalidField(f"{HEADER.decode()}: {name[:40]!r} is not one of {known}")
    if kind is errors.RateLimited:
        used = RateWindow(1, 2, int(now_s) // _NEXT_RESET_S * _NEXT_RESET_S + _NEXT_RESET_S)
        return errors.RateLimited(headers=rate_headers([used]))
    if kind in _MADE:
        return _MADE[kind]()
    return kind() if kind.text or kind in _WITHOUT_TEXT else kind(_ASKED)


_WITHOUT_TEXT: Final = {errors.AppNotEnabled, errors.NotFound, errors.InternalError}


def _leaves(kind: type[ApiError]) -> list[type[ApiError]]:
    """Return the errors below this class that the server raises."""
    below = kind.__subclasses__()
    found = [leaf for each in below for leaf in _leaves(each)]
    abstract = {errors.RequestError, errors.AuthenticationError, errors.AccessError, ApiError}
    return found if kind in abstract else [kind, *found]


class Truncation:
    """An ASGI application that breaks off half of the body where the scenario says so."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or the start and the stop of the server."""
        asked = any(
            name == HEADER and value == TRUNCATED.encode()
            for name, value in scope.get("headers", ())
        )

        async def send_half(message: MutableMapping[str, Any]) -> None:
            body = message.get("body", b"")
            await send({**message, "body": body[: len(body) // 2]} if body else message)

        await self._app(scope, receive, send_half if asked else send)
