"""The platform's side: `/platform/v1/*`, under a platform key. Not part of Twitter's wire.

Batches of events, Tweets and accounts come in any of the formats of `ingest.formats`. The key is
checked before a body is read; parsing runs in a thread, and so does whatever touches a database.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from openengagement.api.error_body import JSON
from openengagement.api.http import ReadBody, Reply, Request
from openengagement.auth.authenticate import Authenticator
from openengagement.auth.signature import MalformedParameters, parse_form
from openengagement.clock import Clock
from openengagement.engagement.types import parse_id
from openengagement.errors import InvalidField, NotFound, Unavailable
from openengagement.ingest.compression import decompress
from openengagement.ingest.formats import detect_format
from openengagement.ingest.intake import (
    BatchRefused,
    Intake,
    Outcome,
    describe,
    make_batch,
    read_batch,
    repeat_of,
)
from openengagement.ingest.register import register_accounts, register_tweets
from openengagement.ingest.rows import ACCOUNTS, EVENTS, TWEETS, Kind
from openengagement.ingest.writer import BatchWriter
from openengagement.registry.registry import Registry
from openengagement.settings import Settings
from openengagement.stores.contract import Batch, CounterStore

Result = TypeVar("Result")
KEY_LENGTH_MAX: Final = 255


@dataclass(frozen=True, slots=True)
class _Upload:
    """A batch as it came, with what its headers and query say of it."""

    kind: Kind
    body: bytes
    encoding: str
    content_type: str
    key: bytes | None
    atomic: bool


class Platform:
    """Handlers of the platform API."""

    def __init__(
        self,
        authenticator: Authenticator,
        *,
        stores: tuple[CounterStore, Registry, BatchWriter],
        settings: Settings,
        clock: Clock,
        pool: Executor,
    ) -> None:
        self._authenticator = authenticator
        self._store, self._registry, self._writer = stores
        self._settings = settings
        self._clock = clock
        self._pool = pool
        self._in_flight = 0

    async def events(self, request: Request, read_body: ReadBody) -> Reply:
        """`POST /platform/v1/events`: count a batch, once, durably, wholly or not at all."""
        return await self._take(request, read_body, EVENTS)

    async def tweets(self, request: Request, read_body: ReadBody) -> Reply:
        """`POST /platform/v1/tweets`: register or replace Tweets."""
        return await self._take(request, read_body, TWEETS)

    async def accounts(self, request: Request, read_body: ReadBody) -> Reply:
        """`POST /platform/v1/accounts`: register or replace accounts."""
        return await self._take(request, read_body, ACCOUNTS)

    async def delete_tweet(self, request: Request, tweet_id: str) -> Reply:
        """`DELETE /platform/v1/tweets/{id}`: unavailable from now on; its counters are kept."""
        self._authenticator.require_platform_key(request.message(b""))
        try:
            number = parse_id(tweet_id)
        except ValueError as error:
            raise InvalidField(f"id: {tweet_id[:40]!r} {error}") from None
        if not await self._in_thread(lambda: self._store.delete_tweet(number)):
            raise NotFound(f"Tweet {number} is not registered")
        return Reply(204, b"")

    async def _take(self, request: Request, read_body: ReadBody, kind: Kind) -> Reply:
        self._authenticator.require_platform_key(request.message(b""))
        key, atomic = _parse_key(request), _parse_atomic(request)
        if self._in_flight >= self._settings.batches_in_flight_max:
            raise Unavailable("too many batches are under way; send this one again later")
        self._in_flight += 1
        try:
            upload = _Upload(
                kind=kind,
                body=await read_body(self._settings.batch_max_bytes),
                encoding=request.header(b"content-encoding"),
                content_type=request.header(b"content-type"),
                key=key,
                atomic=atomic,
            )
            try:
                outcome = await self._apply(upload)
            except BatchRefused as refused:
                # Refused, but with the lines handed back like those of any other batch.
                body = {"errors": refused.texts, **msgspec.to_builtins(refused.outcome)}
                headers = {"content-type": JSON, "x-error-code": refused.code}
                return Reply(refused.status, msgspec.json.encode(body), headers)
        finally:
            self._in_flight -= 1
        return Reply(200, msgspec.json.encode(outcome), {"content-type": JSON})

    async def _apply(self, upload: _Upload) -> Outcome:
        if upload.kind is not EVENTS:
            return await self._in_thread(lambda: self._register(upload))
        batch, outcome = await self._in_thread(lambda: self._fold(upload))
        applied = await asyncio.wrap_future(self._writer.submit(batch))
        return repeat_of(applied.outcome) if applied.duplicate else outcome

    def _read(self, upload: _Upload) -> tuple[Intake, bytes]:
        settings = self._settings
        body = decompress(upload.body, upload.encoding, settings.batch_max_decompressed_bytes)
        intake = read_batch(
            body,
            detect_format(upload.content_type, body),
            upload.kind,
            lines_max=settings.batch_max_lines,
            latest_s=self._clock.now_s() + settings.event_future_max_s,
        )
        if upload.atomic and intake.rejected.height:
            raise BatchRefused(self._describe(Intake(intake.rows.clear(), intake.rejected)))
        return intake, body

    def _fold(self, upload: _Upload) -> tuple[Batch, Outcome]:
        intake, body = self._read(upload)
        outcome = self._describe(intake)
        return make_batch(intake, outcome, body=body, key=upload.key), outcome

    def _register(self, upload: _Upload) -> Outcome:
        intake, _ = self._read(upload)
        if upload.kind is ACCOUNTS:
            now_s = int(self._clock.now_s())
            return self._describe(register_accounts(intake, self._registry, now_s=now_s))
        unknown = register_tweets(intake, self._store, self._registry)
        return msgspec.structs.replace(self._describe(intake), unknown_authors=unknown)

    def _describe(self, intake: Intake) -> Outcome:
        return describe(intake, listed_max=self._settings.rejections_listed_max)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def _parse_key(request: Request) -> bytes | None:
    key = request.header(b"idempotency-key")
    if len(key) > KEY_LENGTH_MAX:
        raise InvalidField(f"Idempotency-Key: is longer than {KEY_LENGTH_MAX} characters")
    return b"key:" + key.encode("latin-1") if key else None


def _parse_atomic(request: Request) -> bool:
    try:
        value = dict(parse_form(request.query)).get("atomic", "false")
    except MalformedParameters as error:
        raise InvalidField(f"query: {error}") from None
    if value not in {"true", "false"}:
        raise InvalidField("atomic: write true or false")
    return value == "true"
