"""OAuth calls for other people's accounts: request tokens, access tokens, identity (api.md 4)."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import msgspec

from openengagement.auth.identity import Identity, VerifyCredentials
from openengagement.auth.three_legged_flow import ThreeLeggedFlow
from openengagement.engagement.types import utc_datetime
from openengagement.http.message import Message
from openengagement.http.reply import HTML, JSON, Reply
from openengagement.http.request import ReadBody, Request, read_message
from openengagement.settings import Settings

Done = TypeVar("Done")
# No cache may keep what these calls answer.
_PRIVATE: Final = {"cache-control": "no-store", "pragma": "no-cache"}


class ThreeLegCalls:
    """Handlers of the signed calls of the flow. They write to the registry, so off the loop."""

    def __init__(
        self,
        legs: ThreeLeggedFlow,
        credentials: VerifyCredentials,
        *,
        settings: Settings,
        pool: Executor,
    ) -> None:
        self._legs = legs
        self._credentials = credentials
        self._body_max_bytes = settings.body_max_bytes
        self._pool = pool

    async def request_token(self, request: Request, read_body: ReadBody) -> Reply:
        """`POST|GET /oauth/request_token`."""
        token, secret = await self._run(self._legs.request_token, request, read_body=read_body)
        return _form(oauth_token=token, oauth_token_secret=secret, oauth_callback_confirmed="true")

    async def access_token(self, request: Request, read_body: ReadBody) -> Reply:
        """`POST|GET /oauth/access_token`."""
        issued = await self._run(self._legs.access_token, request, read_body=read_body)
        return _form(
            oauth_token=issued.token,
            oauth_token_secret=issued.secret,
            user_id=str(issued.account.id),
            screen_name=issued.account.screen_name,
        )

    async def invalidate_token(self, request: Request, read_body: ReadBody) -> Reply:
        """`POST /1.1/oauth/invalidate_token`."""
        token = await self._run(self._legs.invalidate_token, request, read_body=read_body)
        return _json({"access_token": token})

    async def verify_credentials(self, request: Request, read_body: ReadBody) -> Reply:
        """`GET /1.1/account/verify_credentials.json`."""
        identity = await self._run(self._credentials.identify, request, read_body=read_body)
        reply = _json(_user_object(identity))
        reply.headers |= {
            "x-access-level": identity.access_level,
            "x-rate-limit-limit": str(identity.window.limit),
            "x-rate-limit-remaining": str(identity.window.remaining),
            "x-rate-limit-reset": str(identity.window.reset_s),
        }
        return reply

    async def _run(
        self, work: Callable[[Message], Done], request: Request, *, read_body: ReadBody
    ) -> Done:
        message = await read_message(request, read_body, limit=self._body_max_bytes)
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, message)


def _form(**fields: str) -> Reply:
    # The wire calls it HTML; clients parse a form whatever it is called (api.md 4.4).
    return Reply(200, urlencode(fields).encode(), {"content-type": HTML, **_PRIVATE})


def _json(body: dict[str, Any]) -> Reply:
    return Reply(200, msgspec.json.encode(body), {"content-type": JSON, **_PRIVATE})


def _user_object(identity: Identity) -> dict[str, Any]:
    """What sign-in libraries read of a user (api.md 4.7); null is what we cannot know."""
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
