"""Calls that tell a client about its own credentials: identity and rate limits (api.md 4.7)."""

from concurrent.futures import Executor

from openengagement.api import answers
from openengagement.auth.identity import Identity, VerifyCredentials
from openengagement.auth.rate_limit_status import STATUS_PATH, RateLimits, RateLimitStatus
from openengagement.engagement.types import utc_datetime
from openengagement.http.reply import NO_STORE, Reply, json_reply
from openengagement.http.request import FORM_MAX_BYTES, ReadBody, Request, read_message
from openengagement.http.threads import run_in_pool
from openengagement.limits.contract import RateWindow


class AccountCalls:
    """Handlers of these calls. They use the registry, so they run in the pool."""

    def __init__(
        self,
        credentials: VerifyCredentials,
        status: RateLimitStatus,
        *,
        body_max_bytes: int,
        pool: Executor,
    ) -> None:
        self._credentials = credentials
        self._status = status
        self._form_max_bytes = min(body_max_bytes, FORM_MAX_BYTES)
        self._pool = pool

    async def verify_credentials(self, request: Request, read_body: ReadBody) -> Reply:
        """`GET /1.1/account/verify_credentials.json`."""
        message = await read_message(request, read_body, limit=self._form_max_bytes)
        identity = await run_in_pool(self._pool, self._credentials.identify, message)
        headers = NO_STORE | {"x-access-level": identity.access_level}
        return json_reply(_user_object(identity), headers | _window_headers(identity.window))

    async def rate_limit_status(self, request: Request, read_body: ReadBody) -> Reply:
        """`GET /1.1/application/rate_limit_status.json?resources=account,insights`."""
        message = await read_message(request, read_body, limit=self._form_max_bytes)
        found = await run_in_pool(self._pool, self._status.read, message)
        given = [value for name, value in request.parse_query() if name == "resources"]
        families = {name.strip() for value in given for name in value.split(",")}
        user, app = found.caller.user, found.caller.app
        body: answers.RateLimitStatus = {
            "rate_limit_context": (
                {"access_token": user.token.token} if user else {"application": app.consumer_key}
            ),
            "resources": _resources(found, families if given else None),
        }
        return json_reply(body, NO_STORE | _window_headers(found.windows[STATUS_PATH]))


def _window_headers(window: RateWindow) -> dict[str, str]:
    return {
        "x-rate-limit-limit": str(window.limit),
        "x-rate-limit-remaining": str(window.remaining),
        "x-rate-limit-reset": str(window.reset_s),
    }


def _resources(
    found: RateLimits, families: set[str] | None
) -> dict[str, dict[str, answers.RateLimit]]:
    """Group the windows by family, the first part of a path. None selects all families."""
    resources: dict[str, dict[str, answers.RateLimit]] = {}
    for path, window in sorted(found.windows.items()):
        family = path.split("/")[1]
        if families is None or family in families:
            resources.setdefault(family, {})[path] = {
                "limit": window.limit,
                "remaining": window.remaining,
                "reset": window.reset_s,
            }
    return resources


def _user_object(identity: Identity) -> answers.UserObject:
    account = identity.account
    created_at = utc_datetime(account.created_at_s)
    return {
        "id": account.id,
        "id_str": str(account.id),
        "name": account.screen_name,
        "screen_name": account.screen_name,
        "location": "",
        "description": "",
        "url": None,
        "protected": account.protected,
        "followers_count": None,
        "friends_count": None,
        "statuses_count": None,
        "created_at": created_at.strftime("%a %b %d %H:%M:%S +0000 %Y"),
        "verified": False,
        "lang": None,
        "profile_image_url": None,
        "profile_image_url_https": None,
    }
