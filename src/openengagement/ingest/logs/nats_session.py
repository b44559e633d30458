"""One connection to NATS: read messages of a stream through consumers that acknowledge nothing.

A consumer on the server belongs to a connection, and begins after the last message that was
returned. When a message is missing, a consumer is gone or a connection breaks, a new one begins
there. So what the server remembers is never needed.
"""

import time
from collections.abc import Sequence
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
)
from openengagement.ingest.logs.cursors import Cursor, PositionCodec
from openengagement.ingest.logs.nats_members import Members

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
    """A connection that reads one stream, until it breaks."""

    def __init__(
        self, client: Client, stream: nats_api.Stream, *, codec: PositionCodec, group: str
    ) -> None:
        self.stream = stream
        self._client = client
        self._codec = codec
        self._inbox = client.new_inbox()
        self._members = Members(client, f"{stream.config.name}.{group}")
        self._readers: dict[str, _Reader] = {}  # by the name of the consumer

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
        """
        await self._match(cursors, subjects)
        messages: list[LogMessage] = []
        size = 0
        until_s = time.monotonic() + timeout_s
        while size < POLL_BYTES_MAX:
            raw = await self._next(until_s - time.monotonic())
            if raw is None:
                break
            message = self._take(raw)
            if message is not None:
                until_s = until_s if messages else time.monotonic() + _LINGER_S
                messages.append(message)
                size += message.weight
            await self._pull_again()
        return messages

    async def refresh(self) -> nats_api.Stream:
        """Read the state of the stream again."""
        self.stream = await nats_api.read_stream(self._client, self.stream.config.name)
        return self.stream

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
        for cursor, subject in zip(cursors, subjects, strict=True):
            if cursor.source not in present:
                await self._add(cursor, subject)
        await self._pull_again()

    async def _add(self, cursor: Cursor, subject: str) -> None:
        made = await nats_api.create_consumer(
            self._client, self.stream.config.name, subject=subject, after=cursor.offset
        )
        cursor.lag = made.num_pending
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

    def _take(self, raw: Msg) -> LogMessage | None:
        """Return a message that is the next one of its source."""
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
