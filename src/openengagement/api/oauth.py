"""The OAuth calls: request tokens, access tokens and bearer tokens (api.md 4)."""

from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar
from urllib.parse import urlencode

from openengagement.api import answers
from openengagement.auth.bearer_tokens import BearerTokens
from openengagement.auth.three_legged_flow import ThreeLeggedFlow
from openengagement.http.message import Message
from openengagement.http.reply import HTML, NO_STORE, Reply, json_reply
from openengagement.http.request import FORM_MAX_BYTES, ReadBody, Request, read_message
from openengagement.http.threads import run_in_pool

Result = TypeVar("Result")


class OAuthCalls:
    """Handlers of the OAuth calls. They use the registry, so they run in the pool."""

    def __init__(
        self,
        flow: ThreeLeggedFlow,
        bearer_tokens: BearerTokens,
        *,
        body_max_bytes: int,
        pool: Executor,
    ) -> None:
        self._flow = flow
        self._bearer_tokens = bearer_tokens
        self._form_max_bytes = min(body_max_bytes, FORM_MAX_BYTES)
        self._pool = pool

    async def request_token(self, request: Request, read_body: ReadBody) -> Reply:
        """`POST|GET /oauth/request_token`."""
        token, secret = await self._run(self._flow.request_token, request, read_body=read_body)
        return _form(oauth_token=token, oauth_token_secret=secret, oauth_callback_confirmed="true")

    async def access_token(self, request: Request, read_body: ReadBody) -> Reply:
        """`POST|GET /oauth/access_token`."""
        issued = await self._run(self._flow.access_token, request, read_body=read_body)
        return _form(
            oauth_token=issued.token,
            oauth_token_secret=issued.secret,
            user_id=str(issued.account.id),
            screen_name=issued.account.screen_name,
        )

    async def invalidate_access_token(self, request: Request, read_body: ReadBody) -> Reply:
        """`POST /1.1/oauth/invalidate_token`."""
        token = await self._run(self._flow.invalidate_token, request, read_body=read_body)
        return _revoked(token)

    async def bearer_token(self, request: Request, read_body: ReadBody) -> Reply:
        """`POST /oauth2/token`."""
        token = await self._run(self._bearer_tokens.issue, request, read_body=read_body)
        body: answers.BearerToken = {"token_type": "bearer", "access_token": token}
        return json_reply(body, NO_STORE)

    async def invalidate_bearer_token(self, request: Request, read_body: ReadBody) -> Reply:
        """`POST /oauth2/invalidate_token`."""
        token = await self._run(self._bearer_tokens.invalidate, request, read_body=read_body)
        return _revoked(token)

    async def _run(
        self, work: Callable[[Message], Result], request: Request, *, read_body: ReadBody
    ) -> Result:
        message = await read_message(request, read_body, limit=self._form_max_bytes)
        return await run_in_pool(self._pool, work, message)


def _revoked(token: str) -> Reply:
    body: answers.RevokedToken = {"access_token": token}
    return json_reply(body, NO_STORE)


def _form(**fields: str) -> Reply:
    # The wire calls this HTML. Clients parse a form whatever the content type (api.md 4.4).
    return Reply(200, urlencode(fields).encode(), {"content-type": HTML, **NO_STORE})
