"""One connection to NATS: read messages of a stream through consumers that acknowledge nothing.

A consumer on the server belongs to a connection, and begins after the last message that was
returned. When a message is missing, a consumer is gone or a connection breaks, a new one begins
there. So what the server remembers is never needed.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg

from openengagement.ingest.logs import nats_api
from openengagement.ingest.logs.contract import (
    BATCH_HEADER,
    POLL_BYTES_MAX,
    LogMessage,
    LogUnavailable,
    LogUnusable,
)
from openengagement.ingest.logs.cursors import Cursor, PositionCodec
from openengagement.ingest.logs.nats_members import Members
from openengagement.telemetry import WARNING, log_event

_PULL_MESSAGES: Final = 10_000
_OVERHEAD_BYTES: Final = 4096  # of a message, besides its content
_LINGER_S: Final = 0.05  # messages that come within this time are returned together
_ENDED: Final = {"404", "408"}  # statuses of a request that has ended as it should
_HEARTBEAT: Final = "100"
_FULL: Final = "Message Size Exceeds MaxBytes"


@dataclass(slots=True)
class _Reader:
    """A consumer on the server, and the request for messages that is under way.

    `epoch` is that of the cursor when the consumer was created. `number` is that of its last
    message. `left` messages may still come for the request, 0 if none is under way.
    """

    cursor: Cursor
    name: str
    epoch: int
    number: int = 0
    left: int = 0
    heard_s: float = 0.0


class NatsSession:
    """A connection that reads one stream, until it breaks.

    With `skip_lost`, it continues after messages that the stream removed.
    """

    def __init__(
        self,
        client: Client,
        stream: nats_api.Stream,
        *,
        codec: PositionCodec,
        group: str,
        skip_lost: bool,
    ) -> None:
        self.stream = stream
        self._skip_lost = skip_lost
        self._client = client
        self._codec = codec
        self._inbox = client.new_inbox()
        self._members = Members(client, f"{stream.config.name}.{group}")
        self._readers: dict[str, _Reader] = {}  # by the name of the consumer
        self._filtered: set[str] = set()  # sources with a filter, whose sequences have gaps

    async def begin(self) -> None:
        """Subscribe, and greet the other consumers. Call it once."""
        self._messages = await self._client.subscribe(f"{self._inbox}.*")
        await self._members.join()

    async def divide(self, sources: Sequence[str]) -> list[str]:
        """Return the sources that this process should read."""
        self._verify_open()
        await self._members.announce()
        return self._members.mine(sources)

    async def read(
        self, cursors: Sequence[Cursor], subjects: Sequence[str], *, timeout_s: float
    ) -> list[LogMessage]:
        """Read messages after the cursors, whose sources have these filters.

        Raises:
            LogUnavailable: the connection is broken.
            LogUnusable: messages are missing, or the stream is another one.
        """
        await self._match(cursors, subjects)
        passed: dict[str, int] = {}  # the sequence before the first gap of each source
        messages: list[LogMessage] = []
        size = 0
        until_s = time.monotonic() + timeout_s
        while size < POLL_BYTES_MAX:
            raw = await self._next(until_s - time.monotonic())
            if raw is None:
                break
            message = self._take(raw, passed)
            if message is not None:
                until_s = until_s if messages else time.monotonic() + _LINGER_S
                messages.append(message)
                size += message.weight
            await self._pull_again()
        if passed:
            await self._verify_complete(passed)
        return messages

    async def _verify_complete(
        self, counted_to: Mapping[str, int], *, fresh: Collection[str] = ()
    ) -> None:
        """Verify that the stream did not remove messages after these sequences of its sources.

        Sequences of `fresh` sources are from the store. This process has read the others.

        Raises:
            LogUnusable: it did, or it was created again.
            LogUnavailable
        """
        stream = await nats_api.read_stream(self._client, self.stream.config.name)
        if stream.created != self.stream.created:
            raise LogUnusable(self._codec.mismatch)
        for source, sequence in counted_to.items():
            if sequence > stream.state.last_seq and source not in fresh:
                raise LogUnavailable("the new leader of the stream has not caught up")
            filtered = source in self._filtered
            verify_complete(source, sequence, stream=stream, tolerated=filtered or self._skip_lost)

    async def has_stream_for(self, subject: str) -> bool:
        """Whether some stream has a subject."""
        return await nats_api.has_stream_for(self._client, subject)

    async def publish(self, subject: str, *, message_id: str, body: bytes) -> None:
        """Publish a message, durably."""
        headers = {"Nats-Msg-Id": message_id}
        await nats_api.publish(self._client, subject, body=body, headers=headers)

    async def close(self) -> None:
        """Leave, and close the connection."""
        if not self._client.is_closed:
            await self._members.leave()
            for name in self._readers:
                await nats_api.delete_consumer(self._client, self._path(name))
            await self._client.flush(int(nats_api.TIMEOUT_S))
            await self._client.close()

    @property
    def _all_taken(self) -> bool:
        pending: int = self._messages.pending_msgs
        return not pending

    def _verify_open(self) -> None:
        if self._client.is_closed or not self._client.is_connected:
            raise LogUnavailable("the connection is broken")

    async def _match(self, cursors: Sequence[Cursor], subjects: Sequence[str]) -> None:
        """Have a reader for each cursor, and no others."""
        wanted = {(each.source, each.epoch) for each in cursors}
        # What was received while a commit took long has not been looked at.
        oldest_s = time.monotonic() - 3 * nats_api.HEARTBEAT_S if self._all_taken else 0.0
        for name, reader in list(self._readers.items()):
            silent = reader.heard_s < oldest_s
            if silent or (reader.cursor.source, reader.epoch) not in wanted:
                await self._drop(name)
        present = {reader.cursor.source for reader in self._readers.values()}
        added: dict[str, int] = {}
        for cursor, subject in zip(cursors, subjects, strict=True):
            if cursor.source not in present:
                await self._add(cursor, subject)
                added[cursor.source] = cursor.offset
        if added:  # after they were created, so that they belong to the stream that is verified
            fresh = {cursor.source for cursor in cursors if cursor.fresh}
            await self._verify_complete(added, fresh=fresh)
            for cursor in cursors:
                cursor.fresh = False
        await self._pull_again()

    async def _add(self, cursor: Cursor, subject: str) -> None:
        made = await nats_api.create_consumer(
            self._client, self.stream.config.name, subject=subject, after=cursor.offset
        )
        cursor.lag = made.num_pending
        if subject:
            self._filtered.add(cursor.source)
        self._readers[made.name] = _Reader(
            cursor, made.name, cursor.epoch, heard_s=time.monotonic()
        )

    async def _drop(self, name: str) -> None:
        del self._readers[name]
        await nats_api.delete_consumer(self._client, self._path(name))

    def _path(self, consumer: str) -> str:
        return f"{self.stream.config.name}.{consumer}"

    async def _pull_again(self) -> None:
        """Ask for more messages where no request is under way."""
        share = POLL_BYTES_MAX // max(1, len(self._readers))
        bytes_max = max(share, self._client.max_payload + _OVERHEAD_BYTES)
        for reader in self._readers.values():
            if reader.left == 0:
                await nats_api.pull(
                    self._client,
                    self._path(reader.name),
                    inbox=f"{self._inbox}.{reader.name}",
                    messages=_PULL_MESSAGES,
                    bytes_max=bytes_max,
                )
                reader.left, reader.heard_s = _PULL_MESSAGES, time.monotonic()

    async def _next(self, timeout_s: float) -> Msg | None:
        """Return the next message, or None if there is none within the time."""
        try:
            return await self._messages.next_msg(timeout=max(timeout_s, 0.001))
        except TimeoutError:
            self._verify_open()
            return None
        except nats_api.FAILURES as error:
            raise LogUnavailable(nats_api.explain(error)) from error

    def _take(self, raw: Msg, passed: dict[str, int]) -> LogMessage | None:
        """Return a message that is the next one of its source.

        Note the sequence before it in `passed` if there is a gap between the two.
        """
        if status := nats_api.status_of(raw):
            self._note_status(raw, status)
            return None
        delivered = nats_api.read_delivered(raw.reply)
        reader = self._readers.get(delivered.consumer)
        if reader is None:
            return None  # its consumer was replaced
        reader.heard_s = time.monotonic()
        reader.left -= 1
        if delivered.number != reader.number + 1:
            del self._readers[reader.name]  # a message is missing: the next reader asks for it
            return None
        reader.number = delivered.number
        cursor = reader.cursor
        if delivered.sequence > cursor.offset + 1 and cursor.source not in self._filtered:
            passed.setdefault(cursor.source, cursor.offset)
        after, cursor.position = cursor.position, self._codec.encode(delivered.sequence)
        cursor.offset, cursor.lag = delivered.sequence, delivered.pending
        headers = {name.lower(): value for name, value in (raw.headers or {}).items()}
        return LogMessage(
            source=cursor.source,
            epoch=cursor.epoch,
            after=after,
            position=cursor.position,
            offset=delivered.sequence,
            sent_s=delivered.sent_s,
            body=raw.data,
            content_type=headers.get("content-type", ""),
            encoding=headers.get("content-encoding", ""),
            batch=headers.get(BATCH_HEADER, ""),
        )

    def _note_status(self, raw: Msg, status: str) -> None:
        name = raw.subject.rpartition(".")[2]
        reader = self._readers.get(name)
        if reader is None:
            return
        reader.heard_s = time.monotonic()
        if status in _ENDED or (raw.headers or {}).get("Description") == _FULL:
            reader.left = 0
        elif status != _HEARTBEAT:
            del self._readers[name]  # the consumer is gone, or its leader changed


def verify_complete(
    source: str, counted_to: int, *, stream: nats_api.Stream, tolerated: bool
) -> None:
    """Verify that a stream has the messages of a source after a sequence, 0 for the beginning.

    Removed messages are logged if they are `tolerated`.

    Raises:
        LogUnusable: it removed some of them, or has not even those before.
    """
    name, first, last = stream.config.name, stream.state.first_seq, stream.state.last_seq
    if counted_to > last:
        raise LogUnusable(
            f"{source} was counted up to message {counted_to}, but the stream {name} ends at "
            f"{last}; an older copy of it was restored"
        )
    if not counted_to or first <= counted_to + 1:
        return
    if not tolerated:
        raise LogUnusable(
            f"the stream {name} removed messages {counted_to + 1} to {first - 1} before they were "
            "counted; add --skip-lost to continue without them"
        )
    # With a filter, those may have been messages of other subjects.
    log_event(
        "log_messages_removed", level=WARNING, source=source, counted_to=counted_to, first=first
    )
