"""A topic of Kafka as an event log. Each partition is a source.

The consumer group divides the partitions among the consumers. Offsets are never committed to it:
the position in the store decides where a partition is read.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from openengagement.ingest.logs import cursors as cursors_of
from openengagement.ingest.logs import kafka_api
from openengagement.ingest.logs.contract import (
    BATCH_HEADER,
    POLL_BYTES_MAX,
    LogMessage,
    LogUnavailable,
    LogUnusable,
    ReadPosition,
)
from openengagement.ingest.logs.cursors import Cursor, PositionCodec
from openengagement.ingest.logs.log_url import LogUrl
from openengagement.telemetry import WARNING, log_event

_LINGER_S: Final = 0.05  # messages that come within this time are returned together
_RETRY_S: Final = 1.0
# Settings that exactness, memory or the time until a dead consumer is replaced depend on.
_CONFIG: Final[Mapping[str, Any]] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    "allow.auto.create.topics": False,
    "session.timeout.ms": 6000,
    "heartbeat.interval.ms": 1000,
    "max.poll.interval.ms": 60_000,
    "queued.max.messages.kbytes": POLL_BYTES_MAX // 1024,
    "fetch.max.bytes": POLL_BYTES_MAX,
    "client.id": "openengagement",
}


class KafkaLog:
    """Reads a topic. With `skip_lost`, continues after messages that the topic removed.

    `group` is the consumer group, unless the URL names one.

    Raises:
        LogUnusable: the topic cannot be consumed; the text says why.
    """

    def __init__(
        self, url: LogUrl, *, read_position: ReadPosition, group: str, skip_lost: bool
    ) -> None:
        self._url = url
        self._read_position = read_position
        self._skip_lost = skip_lost
        self._error: KafkaError | None = None
        self._mine: dict[str, int] = {}  # the partition of each source
        self._out_of_range: set[str] = set()
        self._joined = False  # whether the group has divided the partitions
        self._config = kafka_api.read_config(url)
        self._producer: Producer | None = None
        self._waits_until_s = 0.0
        group = url.option("group") or f"openengagement-{group}"
        self._consumer = self._make_consumer(group)
        self._watch = kafka_api.TopicWatch(url.name, self._config)
        cluster_id, self._topic_id, partitions = self._read_topic()
        identity = f"{cluster_id}/{self._topic_id}" if self._topic_id else cluster_id
        described = f"the topic {url.name}"
        self._codec = PositionCodec(identity, described=described, older=cluster_id)
        prefix = f"kafka:{url.option('name') or url.name}"
        self._sources = {partition: f"{prefix}/{partition}" for partition in partitions}
        self._cursors = {source: Cursor(source) for source in self._sources.values()}
        self._consumer.subscribe(
            [url.name], on_assign=self._own, on_revoke=self._disown, on_lost=self._disown
        )

    def poll(self, timeout_s: float) -> list[LogMessage]:
        messages: list[LogMessage] = []
        size = 0
        until_s = time.monotonic() + timeout_s
        self._verify_topic()
        self._start_cursors()
        while size < POLL_BYTES_MAX:
            raw = self._consumer.poll(max(until_s - time.monotonic(), 0))
            if raw is None:
                break
            if (error := raw.error()) is not None:
                self._note_error(error, raw)
                continue
            message = self._take(raw)
            if message is not None:
                until_s = until_s if messages else time.monotonic() + _LINGER_S
                messages.append(message)
                size += message.weight
        return messages

    def restart(self, source: str, epoch: int) -> None:
        self._cursors[source].restart(epoch)

    def lag(self) -> int | None:
        if not self._joined:
            return None
        for source, partition in self._mine.items():
            cursor = self._cursors[source]
            if cursor.lag:  # it is 0 at the end of a partition
                _, high = self._consumer.get_watermark_offsets(self._at(partition), cached=True)
                cursor.lag = max(high - cursor.offset, 1) if high >= 0 else cursor.lag
        return cursors_of.total_lag({source: self._cursors[source] for source in self._mine})

    def publish(self, name: str, letters: Sequence[tuple[str, bytes]]) -> None:
        producer = self._producer = self._producer or self._make_producer()
        failed: list[KafkaError] = []

        def note(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failed.append(error)

        try:
            for key, value in letters:
                producer.produce(name, value, key, on_delivery=note)
                producer.poll(0)
        except (KafkaException, BufferError) as error:
            raise LogUnavailable(f"{name}: {error}") from error
        if producer.flush(kafka_api.TIMEOUT_S) or failed:
            reason = failed[0].str() if failed else "the broker does not answer"
            raise LogUnavailable(f"{name}: {reason}")

    def verify_dead_letters(self, name: str) -> None:
        if name == self._url.name:
            raise LogUnusable(
                f"dead letters for {name} would be consumed again; use another topic, or a file"
            )
        try:
            found = self._consumer.list_topics(name, timeout=kafka_api.TIMEOUT_S)
            kafka_api.verified(found.topics[name])
        except KafkaException as error:
            raise LogUnusable(f"dead letters for {name}: {kafka_api.explain(error)}") from error

    def close(self) -> None:
        self._consumer.close()

    def _make_consumer(self, group: str) -> Consumer:
        config = {**self._config, **_CONFIG, "group.id": group}
        try:
            return Consumer({**config, "error_cb": self._keep_error, "logger": kafka_api.silent()})
        except (KafkaException, ValueError) as error:
            raise LogUnusable(f"{self._url.text}: {kafka_api.explain(error)}") from error

    def _make_producer(self) -> Producer:
        return Producer({**self._config, **kafka_api.PRODUCER_CONFIG, "logger": kafka_api.silent()})

    def _read_topic(self) -> tuple[str, str, list[int]]:
        """Return the ids of the cluster and of the topic, and the partitions of the topic.

        Raises:
            LogUnusable
        """
        try:
            found = self._consumer.list_topics(self._url.name, timeout=kafka_api.TIMEOUT_S)
            topic = kafka_api.verified(found.topics[self._url.name])
            topic_id = self._watch.read_id()
        except KafkaException as error:
            self._consumer.poll(0)  # serves the callback that knows more
            known = KafkaException(self._error) if self._error else error
            reason = kafka_api.explain_silence(known, self._config)
            self._consumer.close()
            raise LogUnusable(f"{self._url.text}: {reason}") from error
        return found.cluster_id or "", topic_id, sorted(topic.partitions)

    def _verify_topic(self) -> None:
        """Verify that the topic was not created again since it was opened.

        Raises:
            LogUnusable: it was. Some messages of the new one may have been counted.
        """
        try:
            if self._watch.find_change(self._topic_id):
                raise LogUnusable(self._codec.mismatch)
        except KafkaException as error:
            if error.args[0].code() in kafka_api.LASTING:
                raise LogUnusable(f"{self._url.text}: {kafka_api.explain(error)}") from error

    def _own(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """Note the partitions of this consumer. They are read once their positions are known."""
        self._mine = {self._source_of(each.partition): each.partition for each in partitions}
        for source in self._mine:
            self._cursors[source].restart(self._cursors[source].epoch)
        self._joined = True
        consumer.assign([])

    def _disown(self, consumer: Consumer, _: Sequence[TopicPartition]) -> None:
        self._mine, self._joined = {}, False
        consumer.unassign()

    def _source_of(self, partition: int) -> str:
        """Return the source of a partition, which may have been added to the topic since."""
        if partition not in self._sources:
            prefix = next(iter(self._sources.values())).rpartition("/")[0]
            source = self._sources[partition] = f"{prefix}/{partition}"
            self._cursors[source] = Cursor(source)
        return self._sources[partition]

    def _start_cursors(self) -> None:
        """Read the partitions from the positions in the store, where that has to begin."""
        if time.monotonic() < self._waits_until_s:
            return
        owned = {source: self._cursors[source] for source in self._mine}
        new = cursors_of.start(owned, self._codec, read_position=self._read_position)
        try:
            for cursor in new:
                self._verify_complete(cursor)
        except KafkaException as error:
            log_event(
                "log_lost", level=WARNING, log=self._url.text, reason=kafka_api.explain(error)
            )
            self._waits_until_s = time.monotonic() + _RETRY_S
            for cursor in new:
                cursor.restart(cursor.epoch)
            return
        if new:
            started = [source for source, cursor in owned.items() if cursor.started]
            self._consumer.assign([self._next_of(source) for source in started])

    def _verify_complete(self, cursor: Cursor) -> None:
        """Verify that the partition has the messages after the cursor.

        Raises:
            LogUnusable: it removed some of them, or has not even those before.
            KafkaException: the broker does not answer.
        """
        partition = self._mine[cursor.source]
        low, high = self._consumer.get_watermark_offsets(
            self._at(partition), timeout=kafka_api.TIMEOUT_S
        )
        cursor.lag = max(high - max(cursor.offset, low), 1)  # until its end is reached
        if cursor.source in self._out_of_range and low <= cursor.offset:
            raise LogUnusable(
                f"{cursor.source} was counted up to offset {cursor.offset}, but the partition ends "
                f"at {high}: the topic was created again; add the option name=NAME to the URL, "
                "with a new name, to count all of it"
            )
        if cursor.position is None or low <= cursor.offset:
            cursor.offset = max(cursor.offset, low)
            return
        if not self._skip_lost:
            raise LogUnusable(
                f"{cursor.source} lost the messages from offset {cursor.offset} to {low - 1} "
                "before they were counted; add --skip-lost to continue without them"
            )
        log_event(
            "log_messages_removed",
            level=WARNING,
            source=cursor.source,
            counted_to=cursor.offset,
            first=low,
        )
        cursor.offset = low

    def _at(self, partition: int) -> TopicPartition:
        return TopicPartition(self._url.name, partition)

    def _next_of(self, source: str) -> TopicPartition:
        offset = self._cursors[source].offset or OFFSET_BEGINNING
        return TopicPartition(self._url.name, self._mine[source], offset)

    def _take(self, raw: Message) -> LogMessage | None:
        cursor = self._cursors.get(self._sources.get(raw.partition(), ""))
        if cursor is None or not cursor.started or raw.offset() < cursor.offset:
            return None
        cursor.offset = raw.offset() + 1
        after, cursor.position = cursor.position, self._codec.encode(cursor.offset)
        cursor.lag = cursor.lag or 1
        kind, sent_ms = raw.timestamp()
        headers = {name.lower(): value or b"" for name, value in raw.headers() or ()}
        return LogMessage(
            source=cursor.source,
            epoch=cursor.epoch,
            after=after,
            position=cursor.position,
            offset=raw.offset(),
            sent_s=None if kind == TIMESTAMP_NOT_AVAILABLE else sent_ms / 1000,
            body=raw.value() or b"",  # none at all is a tombstone
            content_type=headers.get("content-type", b"").decode("latin-1"),
            encoding=headers.get("content-encoding", b"").decode("latin-1"),
            batch=headers.get(BATCH_HEADER, b"").decode("latin-1"),
        )

    def _note_error(self, error: KafkaError, raw: Message) -> None:
        """Handle what the library reports in place of a message.

        Raises:
            LogUnusable
        """
        code = error.code()
        source = self._sources.get(raw.partition() if raw.partition() is not None else -1, "")
        if code == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
            with suppress(KeyError):
                self._cursors[source].lag = 0
        elif code == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
            # The broker does not have the next offset: find out why.
            self._out_of_range.add(source)
            self._cursors[source].restart(self._cursors[source].epoch)
        elif code in kafka_api.LASTING or error.fatal():
            raise LogUnusable(f"{self._url.text}: {kafka_api.LASTING.get(code, error.str())}")
        else:
            log_event("log_lost", level=WARNING, log=self._url.text, reason=error.str())

    def _keep_error(self, error: KafkaError) -> None:
        """Keep what the library reports about a connection, the most telling one."""
        if self._error is None or error.code() in kafka_api.LASTING:
            self._error = error
