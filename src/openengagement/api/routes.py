"""Every call of the HTTP API as one table.

Deliberate oddities of the wire, all kept on purpose (api.md section in parentheses):

* Every answer with a body is gzip for a client that accepts gzip, errors and empty bodies too.
  Clients decompress before they look at the status (1.4). The 406 is plain, because its client
  does not accept gzip.
* A wrong path on the data API is a 404 without a body, a wrong method a 405 in plain text (3.4).
* Every answer of the data API has six rate-limit headers, with or without a known app (3.5).
* The OAuth calls answer errors as objects with numeric codes, the data API as strings (3.4, 4.8).
* A body is read as JSON whatever its content type says, because sample code omits it (1.4).
* `/28hr` may cover 29 hours, and the echoed default `end` of `/historical` is not rounded (8.9,
  8.10).
* Hour without day is the hour of the day (8.3). Views of a deleted Tweet still count for its video.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from openengagement.api.account import AccountCalls
from openengagement.api.authentication import Authentication
from openengagement.api.erasure import ErasureCalls
from openengagement.api.health import Health
from openengagement.api.insights import Insights
from openengagement.api.oauth import OAuthCalls
from openengagement.api.platform import Platform
from openengagement.api.reference import DOCUMENT_PATH, Reference
from openengagement.api.usage import UsageCalls
from openengagement.errors import MethodNotAllowed, NotFound
from openengagement.http.reply import Reply
from openengagement.http.request import Receive, Scope, Send

# Called with the request, the reader of its body, and the parameters of the path by name.
Handler = Callable[..., Awaitable[Reply]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
_IDENTITY_PATH: Final = "/1.1/account/verify_credentials.json"
_STATUS_PATH: Final = "/1.1/application/rate_limit_status.json"
_BEARER_PATH: Final = "/oauth2/invalidate_token"
_OTHER: Final = "other"
_PARAMETER: Final = re.compile(r"\\\{(\w+)\\\}")  # {name}, escaped by re.escape


@dataclass(frozen=True, slots=True)
class Route:
    """One call. A name in braces in `path` is a parameter; it takes the rest of the path."""

    method: str
    path: str
    handler: Handler
    authentication: Authentication
    summary: str

    @property
    def pattern(self) -> re.Pattern[str]:
        """The expression that the path of a request matches."""
        return re.compile(_PARAMETER.sub(r"(?P<\1>.*)", re.escape(self.path)), re.DOTALL)


class Routes:
    """The routes of the API, and the application of the pages.

    Paths that begin with one of `page_prefixes` belong to `pages`.
    """

    def __init__(
        self, routes: Sequence[Route], pages: AsgiApp, *, page_prefixes: tuple[str, ...]
    ) -> None:
        self.routes = routes
        self.pages = pages
        self.page_prefixes = page_prefixes
        self._exact = {(route.method, route.path): route.handler for route in routes}
        self._patterns = [(route, route.pattern) for route in routes if "{" in route.path]
        self._paths = {route.path for route in routes}
        self._first_segments = {path.split("/")[1] for path in self._paths}

    def name(self, path: str) -> str:
        """Return the name of a path's route for metrics: one of few, whatever the path is."""
        if path in self._paths or path == "/":
            return path
        for route, pattern in self._patterns:
            if pattern.fullmatch(path):
                return route.path
        prefixes = [prefix for prefix in self.page_prefixes if path.startswith(prefix)]
        return prefixes[0] if prefixes else _OTHER

    def is_unknown(self, path: str) -> bool:
        """Tell whether no call has this path, nor any path with the same first segment."""
        first = path.split("/")[1] if "/" in path else path
        return first not in self._first_segments

    def with_each(self, change: Callable[[Route], Route]) -> "Routes":
        """Return these routes with a change of each."""
        changed = [change(route) for route in self.routes]
        return Routes(changed, self.pages, page_prefixes=self.page_prefixes)

    def find(self, method: str, path: str) -> Handler:
        """Return the handler of a request, bound to the parameters of its path.

        Raises:
            NotFound, MethodNotAllowed
        """
        handler = self._exact.get((method, path))
        if handler is not None:
            return handler
        allowed = [known for known, exact in self._exact if exact == path]
        for route, pattern in self._patterns:
            if match := pattern.fullmatch(path):
                if route.method == method:
                    return partial(route.handler, **match.groupdict())
                allowed.append(route.method)
        if allowed:
            raise MethodNotAllowed("Method not allowed", headers={"allow": ", ".join(allowed)})
        raise NotFound


@dataclass(frozen=True, slots=True)
class Calls:
    """The handlers of the API, by subject."""

    insights: Insights
    oauth: OAuthCalls
    platform: Platform
    erasure: ErasureCalls
    usage: UsageCalls
    account: AccountCalls
    health: Health
    reference: Reference


def build_routes(calls: Calls, pages: AsgiApp, *, page_prefixes: tuple[str, ...]) -> Routes:
    """Build the table of every call."""
    table = [
        *_insights_routes(calls.insights),
        *_oauth_routes(calls.oauth),
        *_platform_routes(calls),
        *_account_routes(calls.account),
        *_health_routes(calls.health),
        Route("GET", DOCUMENT_PATH, calls.reference.read, Authentication.NONE, "Describe the API"),
    ]
    return Routes(table, pages, page_prefixes=page_prefixes)


def _insights_routes(insights: Insights) -> list[Route]:
    caller, prefix = Authentication.CALLER, "/insights/engagement"
    return [
        Route("POST", f"{prefix}/totals", insights.totals, caller, "Counts since each posting"),
        Route("POST", f"{prefix}/28hr", insights.last_28_hours, caller, "The last 28 hours"),
        Route("POST", f"{prefix}/historical", insights.historical, caller, "Up to 28 days"),
    ]


def _oauth_routes(oauth: OAuthCalls) -> list[Route]:
    user, issue = Authentication.ACCESS_TOKEN, "Issue an access token"
    request_token, ask = oauth.request_token, "Issue a request token"
    access_token, revoke = oauth.access_token, "Revoke an access token"
    basic, invalidate = Authentication.BASIC, oauth.invalidate_access_token
    return [
        *_both("/oauth/request_token", request_token, kind=Authentication.CONSUMER, summary=ask),
        *_both(
            "/oauth/access_token", access_token, kind=Authentication.REQUEST_TOKEN, summary=issue
        ),
        Route("POST", "/1.1/oauth/invalidate_token", invalidate, user, revoke),
        Route("POST", "/1.1/oauth/invalidate_token.json", invalidate, user, revoke),
        Route("POST", "/oauth2/token", oauth.bearer_token, basic, "Issue the bearer token"),
        Route("POST", _BEARER_PATH, oauth.invalidate_bearer_token, basic, "Revoke a bearer token"),
    ]


def _account_routes(account: AccountCalls) -> list[Route]:
    user, caller = Authentication.ACCESS_TOKEN, Authentication.CALLER
    identify, status = "Tell whose access token signs the call", account.rate_limit_status
    return [
        Route("GET", _IDENTITY_PATH, account.verify_credentials, user, identify),
        Route("GET", _STATUS_PATH, status, caller, "Tell the caller's rate limits"),
    ]


def _both(path: str, handler: Handler, *, kind: Authentication, summary: str) -> list[Route]:
    """List a call that accepts POST and GET."""
    return [Route(method, path, handler, kind, summary) for method in ("POST", "GET")]


def _health_routes(health: Health) -> list[Route]:
    nobody = Authentication.NONE
    return [
        Route("GET", "/health", health.read, nobody, "Tell what does not work"),
        Route("GET", "/livez", health.read_live, nobody, "Tell whether the worker answers"),
        Route("GET", "/readyz", health.read_ready, nobody, "Tell whether it can serve requests"),
    ]


def _platform_routes(calls: Calls) -> list[Route]:
    platform, usage, erase = calls.platform, calls.usage, calls.erasure.delete_account
    key, prefix = Authentication.PLATFORM_KEY, "/platform/v1"
    tweet, account = f"{prefix}/tweets/{{id}}", f"{prefix}/accounts/{{id}}"
    return [
        Route("POST", f"{prefix}/events", platform.events, key, "Count a batch of events"),
        Route("POST", f"{prefix}/tweets", platform.tweets, key, "Register or replace Tweets"),
        Route("POST", f"{prefix}/accounts", platform.accounts, key, "Register accounts"),
        Route("DELETE", tweet, platform.delete_tweet, key, "Make a Tweet unavailable"),
        Route("DELETE", account, erase, key, "Erase an account with its Tweets and their counters"),
        Route("GET", f"{prefix}/usage", usage.read, key, "Usage of every app in a month"),
    ]
