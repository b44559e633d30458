"""OAuth calls: an app fetches and invalidates its bearer token (api.md 4.7)."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

import msgspec

from openengagement.auth.bearer_tokens import BearerTokens
from openengagement.http.message import Message
from openengagement.http.reply import JSON, Reply
from openengagement.http.request import ReadBody, Request, read_message
from openengagement.settings import Settings


class OAuthCalls:
    """Handlers of `/oauth2/*`. They may write to the registry, so they run off the event loop."""

    def __init__(self, tokens: BearerTokens, *, settings: Settings, pool: Executor) -> None:
        self._tokens = tokens
        self._body_max_bytes = settings.body_max_bytes
        self._pool = pool

    async def token(self, request: Request, read_body: ReadBody) -> Reply:
        """`POST /oauth2/token`."""
        message = await read_message(request, read_body, limit=self._body_max_bytes)
        token = await self._in_thread(self._tokens.issue, message)
        return _json({"token_type": "bearer", "access_token": token})

    async def invalidate_token(self, request: Request, read_body: ReadBody) -> Reply:
        """`POST /oauth2/invalidate_token`."""
        message = await read_message(request, read_body, limit=self._body_max_bytes)
        token = await self._in_thread(self._tokens.invalidate, message)
        return _json({"access_token": token})

    async def _in_thread(self, work: Callable[[Message], str], message: Message) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, message)


def _json(body: dict[str, str]) -> Reply:
    headers = {"content-type": JSON, "cache-control": "no-store", "pragma": "no-cache"}
    return Reply(200, msgspec.json.encode(body), headers)
