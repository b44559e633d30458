"""Publish messages to a stream of NATS JetStream.

With several subjects, a message goes to the one that its id selects, so that consumers can share
the work. The connection is made when it is first needed, and again after it broke.
"""

import threading
import time
import zlib
from collections.abc import Sequence
from typing import Final

from nats.aio.client import Client

from openengagement.ingest.logs import nats_api
from openengagement.ingest.logs.contract import (
    LogUnavailable,
    LogUnusable,
    MessageTooLarge,
    OutgoingMessage,
)
from openengagement.ingest.logs.log_url import LogUrl
from openengagement.ingest.logs.nats_connection import NatsConnection
from openengagement.telemetry import log_event

_RETRY_S: Final = 0.5
_HEADERS_BYTES: Final = 512  # what NATS adds to a message
_WILDCARDS: Final = frozenset("*>")


class NatsPublisher:
    """Publishes to the stream of a URL, in messages of at most `bytes_max` bytes."""

    def __init__(self, url: LogUrl, *, bytes_max: int) -> None:
        self._url = url
        self._wanted_bytes_max = self._bytes_max = bytes_max
        self._connection = NatsConnection(url, name="openengagement serve")
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._subjects: Sequence[str] = ()
        self._retry_at_s = 0.0
        self._failure = ""

    def publish(self, message: OutgoingMessage) -> bool:
        client = self._ensure_client()
        if message.size > self._bytes_max:
            raise MessageTooLarge(self._bytes_max)
        subject = self._subjects[zlib.crc32(message.id.encode()) % len(self._subjects)]
        headers = {
            **message.headers,
            "Nats-Msg-Id": message.id,
            "Nats-Expected-Stream": self._url.name,
        }
        step = nats_api.publish(client, subject, body=message.body, headers=headers)
        return self._connection.run(step).duplicate

    def ping(self) -> None:
        self._connection.run(nats_api.read_stream(self._ensure_client(), self._url.name))

    def close(self) -> None:
        if self._client is not None:
            self._connection.run(self._client.close())
        self._connection.close()

    def _ensure_client(self) -> Client:
        """Return a client that is connected. Connect again at most every _RETRY_S.

        Raises:
            LogUnavailable, LogUnusable
        """
        with self._lock:
            if self._client is not None and self._client.is_connected:
                return self._client
            if time.monotonic() < self._retry_at_s:
                raise LogUnavailable(self._failure)
            try:
                client = self._connection.run(self._connect())
            except (LogUnavailable, LogUnusable) as error:
                self._failure, self._retry_at_s = str(error), time.monotonic() + _RETRY_S
                raise
            if self._client is not None:
                log_event("log_connected", log=self._url.text)
            self._client = client
            return client

    async def _connect(self) -> Client:
        client = await self._connection.connect()
        try:
            config = (await nats_api.read_stream(client, self._url.name)).config
            nats_api.verify_retention(config)
            _verify_durable(config)
            self._subjects = _choose_subjects(config, self._url.every("subject"))
        except BaseException:
            await client.close()
            raise
        limits = [self._wanted_bytes_max, client.max_payload - _HEADERS_BYTES]
        if config.max_msg_size > 0:
            limits.append(config.max_msg_size - _HEADERS_BYTES)
        self._bytes_max = min(limits)
        return client


def _verify_durable(config: nats_api.StreamConfig) -> None:
    """Verify that a stream keeps its messages when its servers restart.

    Raises:
        LogUnusable
    """
    if config.storage != "file":
        raise LogUnusable(
            f"the stream {config.name} keeps its messages in memory, so batches that were "
            "acknowledged could be lost; use file storage"
        )


def _choose_subjects(config: nats_api.StreamConfig, given: Sequence[str]) -> Sequence[str]:
    """Choose the subjects to publish to: those of the URL, or else that of the stream.

    Raises:
        LogUnusable: the stream has them not, or they have wildcards.
    """
    subjects = given or config.subjects
    if wild := [each for each in subjects if _WILDCARDS & set(each)]:
        raise LogUnusable(
            f"events cannot be published to {wild[0]}, which has a wildcard; add the option "
            "subject=NAME to the URL"
        )
    for each in subjects:
        if not any(nats_api.overlap(each, filter_) for filter_ in config.subjects):
            raise LogUnusable(f"the stream {config.name} does not have the subject {each}")
    return subjects
