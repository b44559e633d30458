"""The whole surface as one table. api.md 8 lists the deliberate oddities of the wire."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from openengagement.api.insights import Insights
from openengagement.api.oauth import OAuthCalls
from openengagement.api.platform import Platform
from openengagement.api.three_legs import ThreeLegCalls
from openengagement.api.usage import UsageCalls
from openengagement.errors import MethodNotAllowed, NotFound
from openengagement.http.reply import JSON, Reply
from openengagement.http.request import ReadBody, Receive, Request, Scope, Send

Handler = Callable[[Request, ReadBody], Awaitable[Reply]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
_TWEET_PREFIX: Final = "/platform/v1/tweets/"


@dataclass(frozen=True, slots=True)
class Routes:
    """The surface: (method, path) -> handler. `delete_tweet` also takes the end of its path.

    Whatever begins with one of `page_prefixes` is for browsers, and `pages` answers it.
    """

    table: Mapping[tuple[str, str], Handler]
    delete_tweet: Callable[[Request, str], Awaitable[Reply]]
    pages: AsgiApp
    page_prefixes: tuple[str, ...]

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


@dataclass(frozen=True, slots=True)
class Calls:
    """The handlers of the machine's calls, by what they are about."""

    insights: Insights
    bearers: OAuthCalls
    legs: ThreeLegCalls
    platform: Platform
    usage: UsageCalls


def build_routes(
    calls: Calls,
    pages: AsgiApp,
    *,
    page_prefixes: tuple[str, ...],
) -> Routes:
    """The table."""
    insights, bearers, legs, platform = (
        calls.insights,
        calls.bearers,
        calls.legs,
        calls.platform,
    )
    return Routes(
        table={
            ("POST", "/insights/engagement/totals"): insights.totals,
            ("POST", "/insights/engagement/28hr"): insights.last_28_hours,
            ("POST", "/insights/engagement/historical"): insights.historical,
            ("POST", "/oauth/request_token"): legs.request_token,
            ("GET", "/oauth/request_token"): legs.request_token,
            ("POST", "/oauth/access_token"): legs.access_token,
            ("GET", "/oauth/access_token"): legs.access_token,
            ("POST", "/1.1/oauth/invalidate_token"): legs.invalidate_token,
            ("POST", "/1.1/oauth/invalidate_token.json"): legs.invalidate_token,
            ("GET", "/1.1/account/verify_credentials.json"): legs.verify_credentials,
            ("POST", "/oauth2/token"): bearers.token,
            ("POST", "/oauth2/invalidate_token"): bearers.invalidate_token,
            ("POST", "/platform/v1/events"): platform.events,
            ("POST", "/platform/v1/tweets"): platform.tweets,
            ("POST", "/platform/v1/accounts"): platform.accounts,
            ("GET", "/platform/v1/usage"): calls.usage.read,
            ("GET", "/health"): _health,
        },
        delete_tweet=platform.delete_tweet,
        pages=pages,
        page_prefixes=page_prefixes,
    )


async def _health(_request: Request, _read_body: ReadBody) -> Reply:
    return Reply(200, b'{"status":"ok"}', {"content-type": JSON})
