"""`DELETE /platform/v1/accounts/{id}`: erase an account (api.md 6.8)."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Final

from openengagement.api.authentication import RequestAuthenticator
from openengagement.engagement.types import parse_id
from openengagement.erasure import Erased, Eraser
from openengagement.errors import InvalidField, NotFound, Unavailable
from openengagement.http.reply import Reply, json_reply
from openengagement.http.request import ReadBody, Request
from openengagement.http.threads import run_in_pool
from openengagement.registry.audit import Actor
from openengagement.registry.platform_keys import Scope, key_id_of
from openengagement.tuning import lower_priority

_IN_FLIGHT_MAX: Final = 32


class ErasureCalls:
    """The handler, with threads of its own: an erasure waits for the ones before it."""

    def __init__(self, authenticator: RequestAuthenticator, eraser: Eraser) -> None:
        self._authenticator = authenticator
        self._eraser = eraser
        self._pool = ThreadPoolExecutor(
            _IN_FLIGHT_MAX, thread_name_prefix="erase", initializer=lower_priority
        )
        self._in_flight = 0

    async def delete_account(self, request: Request, _read_body: ReadBody, *, id: str) -> Reply:
        """`DELETE /platform/v1/accounts/{id}`."""
        key_hash = await self._authenticator.require_platform_key(
            request.message(b""), Scope.ACCOUNTS
        )
        try:
            account_id = parse_id(id)
        except ValueError as error:
            raise InvalidField(f"id: {id[:40]!r} {error}") from None
        if self._in_flight >= _IN_FLIGHT_MAX:
            raise Unavailable("too many erasures are under way; send this one again later")
        self._in_flight += 1
        try:
            erased = await run_in_pool(self._pool, self._erase, account_id, key_id_of(key_hash))
        finally:
            self._in_flight -= 1
        if erased is None:
            raise NotFound(f"Account {account_id} is not registered")
        return json_reply(asdict(erased))

    def close(self) -> None:
        """Cancel the erasures that wait. One under way ends when the stores are closed."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _erase(self, account_id: int, key_id: str) -> Erased | None:
        actor = Actor(f"platform key {key_id}")  # no screen name has a space
        erased = self._eraser.begin(account_id, actor=actor)
        if erased is not None:
            self._eraser.complete([account_id])
        return erased
