"""A stream of NATS JetStream as an event log.

The stream, or each filter of subjects in the URL, is a source.
"""

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from nats.aio.client import Client

from openengagement.ingest.logs import cursors as cursors_of
from openengagement.ingest.logs import nats_api
from openengagement.ingest.logs.contract import (
    LogMessage,
    LogUnavailable,
    LogUnusable,
    ReadPosition,
)
from openengagement.ingest.logs.cursors import Cursor, PositionCodec
from openengagement.ingest.logs.log_url import LogUrl
from openengagement.ingest.logs.nats_connection import NatsConnection
from openengagement.ingest.logs.nats_session import NatsSession
from openengagement.telemetry import WARNING, log_event

_CLOSE_S: Final = 2.0
_RETRY_S: Final = 1.0
_PUBLISHED_AT_ONCE: Final = 100


class NatsLog:
    """Reads a stream. With `skip_lost`, continues after messages that the stream removed.

    Consumers of the same `group` divide the sources among themselves.

    Raises:
        LogUnusable: the stream cannot be consumed; the text says why.
    """

    def __init__(
        self, url: LogUrl, *, read_position: ReadPosition, group: str, skip_lost: bool
    ) -> None:
        self._url = url
        self._group = group
        self._read_position = read_position
        self._skip_lost = skip_lost
        prefix = f"nats:{url.option('name') or url.name}"
        filters = url.every("subject") or ("",)
        _verify_disjoint(filters)
        self._subjects = {f"{prefix}:{each}" if each else prefix: each for each in filters}
        self._cursors = {source: Cursor(source) for source in self._subjects}
        self._mine: list[str] = []
        self._connection = NatsConnection(url, name="openengagement consume")
        self._session: NatsSession | None = None
        self._retry_at_s = 0.0
        try:
            self._session = self._connection.run(self._open())
        except LogUnavailable as error:
            self.close()
            raise LogUnusable(f"{url.text}: {error}") from error
        except LogUnusable as error:
            self.close()
            raise LogUnusable(f"{url.text}: {error}") from error

    def poll(self, timeout_s: float) -> list[LogMessage]:
        try:
            session = self._ensure_session(timeout_s)
            if session is None:
                return []
            mine = self._connection.run(session.divide(list(self._subjects)))
            for source in set(self._mine) - set(mine):
                self._cursors[source].restart(self._cursors[source].epoch)
            self._mine = mine
            owned = {source: self._cursors[source] for source in mine}
            codec = self._codec(session.stream)
            cursors_of.start(owned, codec, read_position=self._read_position)
            started = [cursor for cursor in owned.values() if cursor.started]
            subjects = [self._subjects[cursor.source] for cursor in started]
            return self._connection.run(session.read(started, subjects, timeout_s=timeout_s))
        except LogUnavailable as error:
            self._lose(error)
            return []

    def restart(self, source: str, epoch: int) -> None:
        self._cursors[source].restart(epoch)

    def lag(self) -> int | None:
        if self._session is None:
            return None
        return cursors_of.total_lag({source: self._cursors[source] for source in self._mine})

    def publish(self, name: str, letters: Sequence[tuple[str, bytes]]) -> None:
        session = self._ensure_session(_RETRY_S)
        if session is None:
            raise LogUnavailable("the connection is broken")
        for first in range(0, len(letters), _PUBLISHED_AT_ONCE):
            some = letters[first : first + _PUBLISHED_AT_ONCE]
            steps = [session.publish(name, message_id=each, body=body) for each, body in some]
            self._connection.run(_await_all(steps))

    def verify_dead_letters(self, name: str) -> None:
        """Verify that a stream has a subject for dead letters, and that it is not consumed.

        Raises:
            LogUnusable
        """
        filters = [each for each in self._subjects.values() if each]
        assert self._session is not None
        for each in filters or self._session.stream.config.subjects:
            if nats_api.overlap(name, each):
                raise LogUnusable(
                    f"dead letters for {name} would be consumed again; use a subject of "
                    "another stream, or a file"
                )
        try:
            known = self._connection.run(self._session.has_stream_for(name))
        except LogUnavailable as error:
            raise LogUnusable(f"dead letters for {name}: {error}") from error
        if not known:
            raise LogUnusable(f"dead letters for {name}: no stream has this subject")

    def close(self) -> None:
        session, self._session = self._session, None
        with contextlib.suppress(LogUnavailable, LogUnusable):
            if session is not None:
                self._connection.run(session.close(), timeout_s=_CLOSE_S)
        self._connection.close()

    def _codec(self, stream: nats_api.Stream) -> PositionCodec:
        return PositionCodec(stream.created, described=f"the stream {self._url.name}")

    def _ensure_session(self, timeout_s: float) -> NatsSession | None:
        """Return the session. If it was lost, connect again from time to time.

        Raises:
            LogUnavailable
        """
        if self._session is None:
            if time.monotonic() < self._retry_at_s:
                time.sleep(timeout_s)
                return None
            self._session = self._connection.run(self._open())
            log_event("log_connected", log=self._url.text)
        return self._session

    def _lose(self, error: LogUnavailable) -> None:
        session, self._session = self._session, None
        self._retry_at_s = time.monotonic() + _RETRY_S
        log_event("log_lost", level=WARNING, log=self._url.text, reason=str(error))
        if session is not None:
            with contextlib.suppress(LogUnavailable):
                self._connection.run(session.close(), timeout_s=_CLOSE_S)

    async def _open(self) -> NatsSession:
        return await self._begin(await self._connection.connect())

    async def _begin(self, client: Client) -> NatsSession:
        try:
            stream = await nats_api.read_stream(client, self._url.name)
            nats_api.verify_retention(stream.config)
            session = NatsSession(
                client,
                stream,
                codec=self._codec(stream),
                group=self._group,
                skip_lost=self._skip_lost,
            )
            await session.begin()
        except BaseException:
            await client.close()
            raise
        return session


async def _await_all(steps: Sequence[Coroutine[Any, Any, None]]) -> None:
    for result in await asyncio.gather(*steps, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


def _verify_disjoint(subjects: Sequence[str]) -> None:
    """Verify that no message has two of these filters: it would count twice.

    Raises:
        LogUnusable
    """
    for index, one in enumerate(subjects):
        for other in subjects[:index]:
            if nats_api.overlap(one, other):
                raise LogUnusable(f"the subjects {other} and {one} overlap, so events count twice")
