"""Authentication for handlers, which run on the event loop."""

from collections.abc import Callable
from concurrent.futures import Executor
from enum import Enum
from typing import TypeVar, TypeVarTuple

from openengagement.auth.authenticate import Authenticator, Caller
from openengagement.http.message import Message
from openengagement.http.threads import run_in_pool
from openengagement.limits.contract import RateWindow
from openengagement.registry.platform_keys import Scope

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class Authentication(Enum):
    """The credentials that a call demands (api.md 4.3)."""

    NONE = "none"
    CALLER = "OAuth 1.0a or a bearer token"
    CONSUMER = "OAuth 1.0a with the consumer key alone"
    REQUEST_TOKEN = "OAuth 1.0a with a request token"
    ACCESS_TOKEN = "OAuth 1.0a with an access token"
    BASIC = "Basic, with consumer key and secret"
    PLATFORM_KEY = "a platform key"


class RequestAuthenticator:
    """Makes the calls of an Authenticator: in threads of a pool, or without one at once.

    Each method raises what the method of the same name raises.
    """

    def __init__(self, authenticator: Authenticator, pool: Executor | None) -> None:
        self._authenticator = authenticator
        self._pool = pool

    async def authenticate(self, message: Message) -> Caller:
        """Verify the bearer token or the OAuth 1.0a signature of a request."""
        return await self._call(self._authenticator.authenticate, message)

    async def authenticate_head(self, message: Message) -> Caller | None:
        """Authenticate a request before its body is read. None if only its body can do that."""
        return await self._call(self._authenticator.authenticate_head, message)

    async def enforce_limits(self, caller: Caller) -> list[RateWindow]:
        """Refuse a replay and an app that is not enabled, then count the request."""
        return await self._call(self._authenticator.enforce_limits, caller)

    async def require_platform_key(self, message: Message, scope: Scope) -> bytes:
        """Refuse a platform call without a key with this scope; return the key's stored hash."""
        return await self._call(self._authenticator.require_platform_key, message, scope)

    async def _call(self, work: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        if self._pool is None:
            return work(*arguments)
        return await run_in_pool(self._pool, work, *arguments)
