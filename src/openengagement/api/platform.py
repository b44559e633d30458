"""The platform API, `/platform/v1/*` (api.md 6), which is not part of Twitter's wire.

Batches of events, Tweets and accounts come in any of the formats of `ingest.formats`. The platform
key is verified before the body is read. A pool with one thread for each concurrent batch handles
them.
"""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from openengagement.api.authentication import RequestAuthenticator
from openengagement.engagement.types import parse_id
from openengagement.errors import InvalidField, NotFound, Unavailable
from openengagement.http.reply import Reply, json_reply
from openengagement.http.request import ReadBody, Request
from openengagement.http.threads import run_in_pool
from openengagement.ingest.rows import ACCOUNTS, EVENTS, TWEETS, Kind
from openengagement.ingest.sources.uploads import Upload, UploadHandler
from openengagement.intake_settings import LOG
from openengagement.metrics.table import BATCHES_IN_FLIGHT
from openengagement.registry.platform_keys import Scope
from openengagement.settings import Settings

KEY_LENGTH_MAX: Final = 255
_OPTIONS: Final = ("atomic", "map")
_OK: Final = 200
_ACCEPTED: Final = 202


class Platform:
    """Handlers of the platform API."""

    def __init__(
        self,
        authenticator: RequestAuthenticator,
        handle_upload: UploadHandler,
        *,
        delete_tweet: Callable[[int], bool],
        settings: Settings,
    ) -> None:
        self._authenticator = authenticator
        self._handle_upload = handle_upload
        self._delete_tweet = delete_tweet
        self._in_flight = 0
        self._in_flight_max = settings.batches_in_flight_max
        self._bytes_max = settings.batch_max_bytes
        # With an event log, events are durable now and counted later.
        self._events_status = _ACCEPTED if settings.intake == LOG else _OK
        self._pool = ThreadPoolExecutor(self._in_flight_max, thread_name_prefix="batch")

    async def events(self, request: Request, read_body: ReadBody) -> Reply:
        """`POST /platform/v1/events`: count a batch of events durably, exactly once."""
        reply = await self._handle(request, read_body, kind=EVENTS)
        return replace(reply, status=self._events_status)

    async def tweets(self, request: Request, read_body: ReadBody) -> Reply:
        """`POST /platform/v1/tweets`: register or replace Tweets."""
        return await self._handle(request, read_body, kind=TWEETS)

    async def accounts(self, request: Request, read_body: ReadBody) -> Reply:
        """`POST /platform/v1/accounts`: register or replace accounts."""
        return await self._handle(request, read_body, kind=ACCOUNTS)

    async def delete_tweet(self, request: Request, _read_body: ReadBody, *, id: str) -> Reply:
        """`DELETE /platform/v1/tweets/{id}`: make a Tweet unavailable; keep its counters."""
        await self._authenticator.require_platform_key(request.message(b""), Scope.EVENTS)
        try:
            number = parse_id(id)
        except ValueError as error:
            raise InvalidField(f"id: {id[:40]!r} {error}") from None
        if not await run_in_pool(self._pool, self._delete_tweet, number):
            raise NotFound(f"Tweet {number} is not registered")
        return Reply(204, b"")

    def close(self) -> None:
        """Wait for the batches under way."""
        self._pool.shutdown()

    async def _handle(self, request: Request, read_body: ReadBody, *, kind: Kind) -> Reply:
        scope = Scope.ACCOUNTS if kind is ACCOUNTS else Scope.EVENTS
        producer = await self._authenticator.require_platform_key(request.message(b""), scope)
        key, options = _parse_key(request, producer), _parse_options(request, kind)
        if self._in_flight >= self._in_flight_max:
            raise Unavailable("too many batches are under way; send this one again later")
        self._in_flight += 1
        BATCHES_IN_FLIGHT.set(self._in_flight)
        try:
            upload = Upload(
                kind=kind,
                body=await read_body(self._bytes_max),
                encoding=request.header(b"content-encoding"),
                content_type=request.header(b"content-type"),
                key=key,
                atomic=options.get("atomic") == "true",
                mapping=options.get("map", ""),
                key_hash=_hash_key(request.header(b"idempotency-key")),
                request_id=request.request_id,
            )
            outcome = await run_in_pool(self._pool, self._handle_upload, upload)
        finally:
            self._in_flight -= 1
            BATCHES_IN_FLIGHT.set(self._in_flight)
        return json_reply(outcome)


def _parse_key(request: Request, producer: bytes) -> bytes | None:
    """Return the idempotency key of a batch; each platform key has its own namespace."""
    keys = [value for name, value in request.headers if name == b"idempotency-key"]
    if len(keys) > 1:
        raise InvalidField("Idempotency-Key: is given twice")
    if not keys:
        return None
    if not keys[0]:
        raise InvalidField("Idempotency-Key: is empty; send a key, or leave the header out")
    if len(keys[0]) > KEY_LENGTH_MAX:
        raise InvalidField(f"Idempotency-Key: is longer than {KEY_LENGTH_MAX} characters")
    return b"key:" + producer + keys[0]


def _parse_options(request: Request, kind: Kind) -> dict[str, str]:
    """Return the parameters `atomic` and, for events, `map`."""
    parameters = request.parse_query()
    options = dict(parameters)
    allowed = _OPTIONS if kind is EVENTS else _OPTIONS[:1]
    if (
        len(options) < len(parameters)
        or not options.keys() <= set(allowed)
        or options.get("atomic", "true") not in {"true", "false"}
    ):
        names = (
            "the only parameter is" if len(allowed) == 1 else "the parameters are map, once, and"
        )
        raise InvalidField(f"query: {names} atomic, once, true or false")
    return options


def _hash_key(key: str) -> str | None:
    """Return 64 bits of the SHA-256 of an idempotency key, in hexadecimal; None for no key."""
    return hashlib.sha256(key.encode("latin-1")).hexdigest()[:16] if key else None
